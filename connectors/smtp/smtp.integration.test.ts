import { createServer, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createDialler } from '../../network/dialler.ts';
import { type Certificates, makeCertificates } from '../../test/servers/certificates.ts';
import { type MailServer, startMail } from '../../test/servers/mail.ts';
import type { Notifier, OutgoingMessage } from '../contract.ts';
import { createRegistry } from '../registry.ts';

const log = { debug() {}, info() {}, warn() {}, error() {} };
const dialler = createDialler({ loopback: true, allow: [] });
const guarded = createDialler({ loopback: false, allow: [] });
const never = new AbortController().signal;
const closings: Array<() => Promise<unknown>> = [];
let certificates: Certificates;
let tls: { key: string; cert: string };

beforeAll(async () => {
  certificates = await makeCertificates();
  tls = { key: certificates.server.key, cert: certificates.server.certificate };
});
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
});
afterAll(async () => {
  await dialler.close();
  await guarded.close();
});

async function serve(options: Parameters<typeof startMail>[0] = {}): Promise<MailServer> {
  const mail = await startMail({ ...tls, ...options });
  closings.push(() => mail.stop());
  return mail;
}

function open(
  port: number,
  config: Record<string, unknown> = {},
  secrets: Record<string, string> = { password: 'correct', ca: certificates.ca },
  way = dialler,
): Notifier {
  const whole = { host: '127.0.0.1', port, username: 'waybill', from: 'waybill@acme.example', ...config };
  const opened = createRegistry().open('smtp', whole, secrets, { dialler: way, localRoots: [], log });
  if (opened.serves !== 'messages') throw new Error('not a notifier');
  closings.push(() => opened.endpoint.close());
  return opened.endpoint;
}

function message(changes: Partial<OutgoingMessage> = {}): OutgoingMessage {
  const to = ['ops@acme.example'];
  return { id: '0'.repeat(32), to, subject: 'Orders failed', text: 'Look at run 7.', format: 'text', ...changes };
}

describe('an e-mail', () => {
  test.each([
    ['starttls', {}],
    ['implicit', { secure: true }],
  ])('goes out over %s, signed in, from the address of the endpoint', async (way, options) => {
    const mail = await serve(options);
    const receipt = await open(mail.port, { tls: way, fromName: 'Waybill' }).send(message(), never);
    expect(receipt).toEqual({ accepted: 1, rejected: [] });
    expect(mail.signIns).toEqual([{ username: 'waybill', password: 'correct', secure: true }]);
    expect(mail.messages).toMatchObject([{ from: 'waybill@acme.example', to: ['ops@acme.example'], secure: true }]);
    expect(mail.messages[0]!.raw).toMatch(/^From: Waybill <waybill@acme.example>\r$/m);
    expect(mail.messages[0]!.raw).toMatch(/^Subject: Orders failed\r$/m);
    expect(mail.messages[0]!.raw).toContain('Look at run 7.');
  });

  test('bears the same Message-ID in every attempt', async () => {
    const mail = await serve();
    const notifier = open(mail.port);
    await notifier.send(message(), never);
    await notifier.send(message(), never);
    const ids = mail.messages.map(({ raw }) => /^Message-ID: (.*)\r$/im.exec(raw)?.[1]);
    expect(ids).toEqual(Array(2).fill(`<waybill.${'0'.repeat(32)}@acme.example>`));
  });

  test('goes to those of the endpoint when the step names nobody, and to each once', async () => {
    const mail = await serve();
    await open(mail.port, { to: ['night@acme.example'] }).send(message({ to: [] }), never);
    await open(mail.port).send(message({ to: ['a@acme.example', 'b@acme.example', 'a@acme.example'] }), never);
    expect(mail.messages.map(({ to }) => to)).toEqual([['night@acme.example'], ['a@acme.example', 'b@acme.example']]);
    await expect(open(mail.port).send(message({ to: [] }), never)).rejects.toMatchObject({ kind: 'invalid' });
  });

  test('cannot be given headers or commands through its texts', async () => {
    const mail = await serve();
    const text = 'a\r\n.\r\nMAIL FROM:<evil@acme.example>\r\n';
    await open(mail.port).send(message({ subject: 'a\r\nBcc: evil@acme.example', text }), never);
    expect(mail.messages).toHaveLength(1);
    expect(mail.messages[0]!.raw).not.toMatch(/^Bcc:/im);
    expect(mail.messages[0]!.to).toEqual(['ops@acme.example']);
    for (const to of ['a@b\r\nRCPT TO:<c@d>', 'a@b>,<c@d', 'nobody', 'a b@c.example'])
      await expect(open(mail.port).send(message({ to: [to] }), never)).rejects.toMatchObject({ kind: 'invalid' });
    expect(mail.messages).toHaveLength(1);
  });

  test('shows html, and no markdown', async () => {
    const mail = await serve();
    await open(mail.port).send(
      message({ text: '<b>bold</b> <img src="file:///etc/hostname">', format: 'html' }),
      never,
    );
    expect(mail.messages[0]!.raw).toMatch(/^Content-Type: text\/html/im);
    expect(mail.messages[0]!.raw).toContain('file:///etc/hostname');
    await expect(open(mail.port).send(message({ format: 'markdown' }), never)).rejects.toMatchObject({
      kind: 'unsupported',
    });
  });

  test('of which one recipient is refused says so, and of which all are is invalid', async () => {
    const mail = await serve({
      onRcptTo: ({ address }, _session, callback) => {
        callback(
          address.startsWith('no') ? Object.assign(new Error('no such mailbox'), { responseCode: 550 }) : undefined,
        );
      },
    });
    const notifier = open(mail.port);
    expect(await notifier.send(message({ to: ['no@acme.example', 'yes@acme.example'] }), never)).toEqual({
      accepted: 1,
      rejected: ['no@acme.example'],
    });
    await expect(notifier.send(message({ to: ['no@acme.example'] }), never)).rejects.toMatchObject({
      kind: 'invalid',
      message: /refuses the recipients: 550 no such mailbox/,
    });
  });
});

describe('what goes wrong', () => {
  test('a wrong password is unauthenticated, and nothing that is told holds it', async () => {
    const mail = await serve();
    const error = await open(mail.port, {}, { password: 'canary-password', ca: certificates.ca })
      .send(message(), never)
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ kind: 'unauthenticated', message: /refuses the sign-in of waybill/ });
    const told = JSON.stringify([
      error,
      (error as Error).message,
      (error as { context: unknown }).context,
      (error as Error).cause,
    ]);
    expect(told).not.toMatch(/canary|Y2FuYXJ5|AGNhbmFyeS/);
    expect(mail.messages).toEqual([]);
  });

  test('a line that is not encrypted gets no word when it has to be', async () => {
    const mail = await serve({ hideSTARTTLS: true, disabledCommands: ['STARTTLS'] });
    await expect(open(mail.port).send(message(), never)).rejects.toMatchObject({
      kind: 'unsupported',
      message: /does not encrypt the line/,
    });
    expect(mail.signIns).toEqual([]);
    const plain = open(mail.port, { tls: 'none', allowPlain: true }, { password: 'correct' });
    expect(await plain.send(message(), never)).toMatchObject({ accepted: 1 });
    expect(mail.messages).toMatchObject([{ secure: false }]);
  });

  test('a certificate of an unknown authority, or for another name, is not trusted, and no password goes out', async () => {
    const mail = await serve();
    await expect(open(mail.port, {}, { password: 'correct' }).send(message(), never)).rejects.toMatchObject({
      kind: 'unauthenticated',
      message: /certificate .* not to be trusted/,
    });
    const { key, certificate: cert } = certificates.stranger;
    const stranger = await serve({ key, cert, secure: true });
    await expect(open(stranger.port, { tls: 'implicit' }).send(message(), never)).rejects.toMatchObject({
      kind: 'unauthenticated',
    });
    expect([...mail.signIns, ...stranger.signIns]).toEqual([]);
  });

  test.each([
    [451, 'unavailable'],
    [452, 'unavailable'],
    [530, 'unauthenticated'],
    [554, 'invalid'],
  ] as const)('a message that is answered with %i is %s', async (responseCode, kind) => {
    const refuse = (callback: (error: Error) => void) =>
      callback(Object.assign(new Error('not now'), { responseCode }));
    const atSender = await serve({ onMailFrom: (_address, _session, callback) => refuse(callback) });
    await expect(open(atSender.port).send(message(), never)).rejects.toMatchObject({ kind });
    const atData = await serve({
      onData: (stream, _session, callback) => void stream.resume().on('end', () => refuse(callback)),
    });
    await expect(open(atData.port).send(message(), never)).rejects.toMatchObject({ kind });
  });

  test('a server that is away is unavailable, one that breaks off too, and one that does not speak SMTP breaks the protocol', async () => {
    const mail = await serve();
    await mail.stop();
    await expect(open(mail.port).send(message(), never)).rejects.toMatchObject({ kind: 'unavailable' });
    const greet = async (words: string, end: boolean) => {
      const sockets = new Set<Socket>();
      const server = createServer((socket) => {
        sockets.add(socket.on('error', () => undefined));
        socket.write(words);
        if (end) socket.end();
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      closings.push(async () => {
        for (const socket of sockets) socket.destroy();
        server.close();
      });
      return (server.address() as { port: number }).port;
    };
    await expect(open(await greet('', true)).send(message(), never)).rejects.toMatchObject({ kind: 'unavailable' });
    await expect(open(await greet('HTTP/1.1 400 Bad Request\r\n', false)).send(message(), never)).rejects.toMatchObject(
      { kind: 'protocol' },
    );
    await expect(open(await greet('554 too many connections\r\n', false)).send(message(), never)).rejects.toMatchObject(
      { kind: 'unavailable' },
    );
  });

  test('a cancelled message ends at once, and is not sent later', async () => {
    const controller = new AbortController();
    let release = () => {};
    const mail = await serve({
      onRcptTo: (_address, _session, callback) => {
        release = () => callback();
        controller.abort();
      },
    });
    await expect(open(mail.port).send(message(), controller.signal)).rejects.toMatchObject({ kind: 'cancelled' });
    release();
    expect(mail.messages).toEqual([]);
  });

  test.each(['127.0.0.1', 'localhost', '2130706433'])(
    'the egress guard refuses %s, and nobody is called',
    async (host) => {
      const mail = await serve();
      const notifier = open(mail.port, { host }, undefined, guarded);
      await expect(notifier.send(message(), never)).rejects.toMatchObject({ kind: 'egress-denied' });
      await expect(notifier.check(never)).rejects.toMatchObject({ kind: 'egress-denied' });
      expect(mail.connections()).toBe(0);
    },
  );
});

test('a check signs in, shows the certificate and sends nothing', async () => {
  const mail = await serve();
  expect(await open(mail.port).check(never)).toMatchObject({
    server: expect.stringMatching(/^SMTP over TLSv1/),
    identity: expect.stringMatching(/^SHA256:[A-Za-z0-9+/]{43}$/),
  });
  expect(mail.signIns).toHaveLength(1);
  expect(mail.messages).toEqual([]);
  await expect(open(mail.port, {}, { password: 'wrong', ca: certificates.ca }).check(never)).rejects.toMatchObject({
    kind: 'unauthenticated',
  });
});

test.each([
  [{}, {}, /no password for the user waybill/],
  [{ username: undefined }, { password: 'x' }, /belongs to nobody/],
  [{ tls: 'none' }, { password: 'x' }, /show the password to everybody/],
  [{ from: 'nobody' }, { password: 'x' }, /config\/from/],
  [{ to: ['a@b', 'c d@e'] }, { password: 'x' }, /config\/to\/1/],
  [{}, { password: 'x', ca: 'canary' }, /^(?!.*canary).*no certificate/],
])('the configuration %j with secrets %j is refused', (config, secrets, words) => {
  const given = Object.fromEntries(
    Object.entries({ username: 'waybill', ...config }).filter(([, value]) => value !== undefined),
  );
  const whole = { host: 'a.example', from: 'waybill@acme.example', ...given };
  expect(() =>
    createRegistry().open('smtp', whole, secrets as Record<string, string>, { dialler, localRoots: [], log }),
  ).toThrow(words);
});
