import type { AddressInfo } from 'node:net';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';

/** A mail server on 127.0.0.1 that keeps what it was sent. */
export interface MailServer {
  port: number;
  messages: ReceivedMail[];
  /** User names and passwords that somebody signed in with. */
  signIns: Array<{ username: string; password: string; secure: boolean }>;
  /** Every line that a sender said before TLS, and after it. */
  connections(): number;
  stop(): Promise<void>;
}

export interface ReceivedMail {
  from: string;
  to: string[];
  raw: string;
  secure: boolean;
}

/** Takes the user `waybill` with that password; `options` as smtp-server has them. */
export async function startMail(options: SMTPServerOptions & { password?: string } = {}): Promise<MailServer> {
  const { password = 'correct', ...rest } = options;
  const messages: ReceivedMail[] = [];
  const signIns: MailServer['signIns'] = [];
  let connections = 0;
  const server = new SMTPServer({
    logger: false,
    // Signing in without TLS is for the tests of the line that has none.
    allowInsecureAuth: true,
    onConnect: (_session, callback) => {
      connections++;
      callback();
    },
    onAuth: (auth, session, callback) => {
      signIns.push({ username: auth.username ?? '', password: auth.password ?? '', secure: session.secure });
      if (auth.username === 'waybill' && auth.password === password) callback(null, { user: 'waybill' });
      else callback(new Error(`no such user or password: ${auth.password}`));
    },
    onData: (stream, session, callback) => {
      const parts: Buffer[] = [];
      stream.on('data', (part: Buffer) => parts.push(part));
      stream.on('end', () => {
        const { mailFrom, rcptTo } = session.envelope;
        messages.push({
          from: mailFrom === false ? '' : mailFrom.address,
          to: rcptTo.map(({ address }) => address),
          raw: Buffer.concat(parts).toString('utf8'),
          secure: session.secure,
        });
        callback();
      });
    },
    ...rest,
  });
  server.on('error', () => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const { port } = server.server.address() as AddressInfo;
  return {
    port,
    messages,
    signIns,
    connections: () => connections,
    stop: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
