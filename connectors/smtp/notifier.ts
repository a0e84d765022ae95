import { createHash } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import MailComposer from 'nodemailer/lib/mail-composer';
import SMTPConnection from 'nodemailer/lib/smtp-connection';
import { cancellation, throwIfCancelled } from '../../network/cancellation.ts';
import { tlsOptions } from '../../network/dialler.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { ConnectorContext, Health, Notifier, OutgoingMessage, SendReceipt } from '../contract.ts';
import { createRedactor } from '../redaction.ts';
import { smtpError } from './failures.ts';

export interface SmtpSettings {
  host: string;
  port: number;
  tls: 'starttls' | 'implicit' | 'none';
  username: string | null;
  from: string;
  fromName: string | null;
  /** Who is told when a message names nobody. */
  to: readonly string[];
}

const connectTimeoutMs = 15_000;
/** One message, from dialling to the server's last word. */
const totalTimeoutMs = 60_000;
const maxResponseBytes = 64 * 1024;
const mailAddress = /^[^\s@<>,;"]{1,64}@[A-Za-z0-9.-]{1,253}$/;

/** A connection for each message: messages are few, and servers close idle connections. Throws invalid when the authority cannot be read. */
export function openSmtp(settings: SmtpSettings, secrets: Record<string, string>, context: ConnectorContext): Notifier {
  const password = secrets.password?.trim();
  const tls = tlsOptions(secrets.ca === undefined ? {} : { ca: secrets.ca });
  const redact = createRedactor(
    password === undefined ? [] : [password, `\u0000${settings.username}\u0000${password}`],
  );
  const signedIn = <Result>(signal: AbortSignal, work: (connection: SMTPConnection) => Promise<Result>) =>
    withConnection({ settings, password, tls, redact, context }, signal, work);
  return {
    check: (signal) => check(signedIn, signal),
    async send(message, signal) {
      const recipients = checkedRecipients(message.to.length > 0 ? message.to : settings.to);
      const raw = await compose(settings, message, recipients);
      return signedIn(signal, (connection) => deliver(connection, settings.from, recipients, raw));
    },
    close: async () => {},
  };
}

interface Session {
  settings: SmtpSettings;
  password: string | undefined;
  tls: { ca?: string };
  redact(text: string): string;
  context: ConnectorContext;
}

async function withConnection<Result>(
  session: Session,
  signal: AbortSignal,
  work: (connection: SMTPConnection) => Promise<Result>,
): Promise<Result> {
  const { settings, password, context } = session;
  const { host, port } = settings;
  throwIfCancelled(signal);
  const socket = await context.dialler.connect(host, port, { timeoutMs: connectTimeoutMs, signal });
  const connection = new SMTPConnection({
    connection: socket,
    host,
    port,
    secure: settings.tls === 'implicit',
    requireTLS: settings.tls === 'starttls',
    ignoreTLS: settings.tls === 'none',
    tls: session.tls,
    // The name of the machine is nobody's business; a server may look at the domain.
    name: settings.from.slice(settings.from.indexOf('@') + 1),
    greetingTimeout: connectTimeoutMs,
    connectionTimeout: connectTimeoutMs,
    socketTimeout: totalTimeoutMs,
    maxResponseSize: maxResponseBytes,
    logger: false,
  });
  const deadline = AbortSignal.timeout(totalTimeoutMs);
  const both = AbortSignal.any([signal, deadline]);
  const ended = endOf(connection, both);
  try {
    await Promise.race([ended, answered((done) => connection.connect(done))]);
    if (settings.username !== null) await Promise.race([ended, signIn(connection, settings.username, password ?? '')]);
    const result = await Promise.race([ended, work(connection)]);
    connection.quit();
    return result;
  } catch (error) {
    connection.close();
    socket.destroy();
    if (signal.aborted) throw cancellation(signal);
    const server = `${host}:${port}`;
    if (deadline.aborted)
      throw new WaybillError('timeout', `${server} took more than ${totalTimeoutMs / 1000} s`, {
        host,
        port,
        cause: error,
      });
    throw smtpError(error, { server, host, username: settings.username, redact: session.redact });
  }
}

/** Rejects when the connection breaks, or the signal is aborted: the library would call back only for the command in hand. */
function endOf(connection: SMTPConnection, signal: AbortSignal): Promise<never> {
  const ended = new Promise<never>((_, reject) => {
    connection.on('error', reject);
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    connection.once('end', () => signal.removeEventListener('abort', onAbort));
  });
  ended.catch(() => undefined);
  return ended;
}

function answered(ask: (done: (error?: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => ask((error) => (error ? reject(error) : resolve())));
}

function signIn(connection: SMTPConnection, user: string, pass: string): Promise<void> {
  if (!connection.allowsAuth)
    throw new WaybillError(
      'unsupported',
      'the mail server offers no way to sign in on this line; leave out username, or use TLS',
      {
        field: 'username',
      },
    );
  return answered((done) => connection.login({ user, pass }, done));
}

async function check(
  signedIn: (signal: AbortSignal, work: (connection: SMTPConnection) => Promise<Health>) => Promise<Health>,
  signal: AbortSignal,
): Promise<Health> {
  const startedAt = performance.now();
  return signedIn(signal, async (connection) => {
    const socket = connection._socket as TLSSocket | null;
    const certificate = connection.secure ? socket?.getPeerCertificate()?.raw : undefined;
    const digest = certificate && createHash('sha256').update(certificate).digest('base64').replace(/=+$/, '');
    return {
      server: `SMTP${connection.secure ? ` over ${socket?.getProtocol() ?? 'TLS'}` : ' without TLS'}`,
      roundTripMs: Math.round(performance.now() - startedAt),
      identity: digest === undefined ? null : `SHA256:${digest}`,
    };
  });
}

function checkedRecipients(to: readonly string[]): readonly string[] {
  if (to.length === 0)
    throw new WaybillError('invalid', 'the message has no recipient: give `to` in the step, or in the endpoint', {
      field: 'to',
    });
  const strange = to.find((address) => !mailAddress.test(address));
  if (strange !== undefined)
    throw new WaybillError('invalid', `${JSON.stringify(strange.slice(0, 320))} is not a mail address`, {
      field: 'to',
    });
  return [...new Set(to)];
}

function compose(settings: SmtpSettings, message: OutgoingMessage, to: readonly string[]): Promise<Buffer> {
  const { from, fromName } = settings;
  const { id, subject, text, format } = message;
  if (format === 'markdown')
    throw new WaybillError('unsupported', 'an e-mail does not show markdown; use text or html', { field: 'format' });
  const mail = new MailComposer({
    from: fromName === null ? from : { name: fromName, address: from },
    to: [...to],
    subject: (subject ?? 'Message of Waybill').replace(/[\r\n]+/g, ' '),
    // The same in every attempt: a mailbox, or the person before it, tells a repetition by it.
    messageId: `<waybill.${id}@${from.slice(from.indexOf('@') + 1)}>`,
    headers: { 'Auto-Submitted': 'auto-generated' },
    [format]: text,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  return mail.compile().build();
}

function deliver(connection: SMTPConnection, from: string, to: readonly string[], raw: Buffer): Promise<SendReceipt> {
  return new Promise((resolve, reject) => {
    connection.send({ from, to: [...to], size: raw.length }, raw, (error, info) => {
      if (error) reject(error);
      else resolve({ accepted: info!.accepted.length, rejected: [...info!.rejected] });
    });
  });
}
