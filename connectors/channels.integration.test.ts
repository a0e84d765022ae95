import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { createDialler } from '../network/dialler.ts';
import { makeCertificates } from '../test/servers/certificates.ts';
import { startWeb, type WebServer } from '../test/servers/web.ts';
import type { Notifier, OutgoingMessage } from './contract.ts';
import { createRegistry } from './registry.ts';

const log = { debug() {}, info() {}, warn() {}, error() {} };
const dialler = createDialler({ loopback: true, allow: [] });
const guarded = createDialler({ loopback: false, allow: [] });
const never = new AbortController().signal;
const closings: Array<() => Promise<unknown>> = [];
const secretPath = '/services/T0000/B0000/canary-of-the-address';

afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
});
afterAll(async () => {
  await dialler.close();
  await guarded.close();
});

async function serve(
  answer: Parameters<typeof startWeb>[0] = (_, response) => void response.end('ok'),
): Promise<WebServer> {
  const web = await startWeb(answer);
  closings.push(() => web.stop());
  return web;
}

function open(kind: string, url: string, config: object = { allowPlain: true }, way = dialler, ca?: string): Notifier {
  const secrets = { url, ...(ca !== undefined && { ca }) };
  const opened = createRegistry().open(kind, config, secrets, { dialler: way, localRoots: [], log });
  if (opened.serves !== 'messages') throw new Error('not a notifier');
  closings.push(() => opened.endpoint.close());
  return opened.endpoint;
}

function message(changes: Partial<OutgoingMessage> = {}): OutgoingMessage {
  return { id: '0'.repeat(32), to: [], subject: null, text: 'Orders failed', format: 'text', ...changes };
}

test('Slack gets the subject and the text, in which nothing calls anybody', async () => {
  const web = await serve();
  const slack = open('slack', `${web.url}${secretPath}`);
  expect(await slack.send(message({ subject: '<!channel>', text: 'a & *b* <@U1>' }), never)).toEqual({
    accepted: 1,
    rejected: [],
  });
  await slack.send(message({ subject: 'Orders', text: '*b* <https://acme.example|run>', format: 'markdown' }), never);
  expect(web.asked).toMatchObject([
    { method: 'POST', path: secretPath, headers: { 'content-type': 'application/json; charset=utf-8' } },
    {},
  ]);
  expect(web.asked.map(({ body }) => JSON.parse(body))).toEqual([
    { text: '&lt;!channel&gt;\na &amp; *b* &lt;@U1&gt;', mrkdwn: false },
    { text: '*Orders*\n*b* <https://acme.example|run>', mrkdwn: true },
  ]);
});

test('Teams gets an adaptive card, in which a text stays a text', async () => {
  const web = await serve((_, response) => response.writeHead(202).end());
  const teams = open('teams', `${web.url}${secretPath}?sig=canary`);
  await teams.send(message({ subject: 'Orders', text: 'ORD_1.csv [x](y)\nnext' }), never);
  await teams.send(message({ text: '**bold**', format: 'markdown' }), never);
  const cards = web.asked.map(({ body }) => JSON.parse(body).attachments[0]);
  expect(cards[0].contentType).toBe('application/vnd.microsoft.card.adaptive');
  expect(cards[0].content).toMatchObject({
    type: 'AdaptiveCard',
    body: [
      { type: 'TextBlock', text: 'Orders', weight: 'Bolder' },
      { type: 'TextBlock', text: 'ORD\\_1.csv \\[x\\](y)\n\nnext', wrap: true },
    ],
  });
  expect(cards[1].content.body).toMatchObject([{ text: '**bold**' }]);
  expect(web.asked[0]!.path).toBe(`${secretPath}?sig=canary`);
});

describe.each(['slack', 'teams'])('%s', (kind) => {
  test.each([
    [400, 'invalid'],
    [403, 'forbidden'],
    [404, 'not-found'],
    [410, 'not-found'],
    [429, 'rate-limited'],
    [500, 'unavailable'],
    [302, 'protocol'],
  ] as const)(
    'a message that is answered with %i is %s, and the address is in no word of it',
    async (status, errorKind) => {
      const web = await serve((request, response) =>
        response.writeHead(status, { 'retry-after': '7', location: request.path }).end(`no_service at ${request.path}`),
      );
      const error = await open(kind, `${web.url}${secretPath}`)
        .send(message(), never)
        .catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ kind: errorKind, context: { retryAfterMs: 7000 } });
      expect(JSON.stringify([error, (error as Error).message, (error as { context: unknown }).context])).not.toContain(
        'canary',
      );
    },
  );

  test('has a fixed channel and shows no html', async () => {
    const web = await serve();
    const channel = open(kind, web.url);
    await expect(channel.send(message({ to: ['ops@acme.example'] }), never)).rejects.toMatchObject({
      kind: 'unsupported',
    });
    await expect(channel.send(message({ format: 'html' }), never)).rejects.toMatchObject({ kind: 'unsupported' });
    expect(web.asked).toEqual([]);
  });

  test('needs an address, with https unless plain is allowed, and never quotes it', () => {
    expect(() => open(kind, 'canary')).toThrow(/^(?!.*canary).*not an address/);
    expect(() => open(kind, 'http://a.example/canary', {})).toThrow(/^(?!.*canary).*use https/);
    expect(() => createRegistry().open(kind, {}, {}, { dialler, localRoots: [], log })).toThrow(/has no url/);
  });

  test('is called through the egress guard', async () => {
    const web = await serve();
    const channel = open(kind, `http://localhost:${web.port}${secretPath}`, { allowPlain: true }, guarded);
    await expect(channel.send(message(), never)).rejects.toMatchObject({ kind: 'egress-denied' });
    await expect(channel.check(never)).rejects.toMatchObject({ kind: 'egress-denied' });
    expect(web.asked).toEqual([]);
  });

  test('trusts an authority of its own', async () => {
    const { ca, server } = await makeCertificates();
    const web = await startWeb((_, response) => void response.end(), { cert: server.certificate, key: server.key });
    closings.push(() => web.stop());
    expect(await open(kind, web.url, {}, dialler, ca).send(message(), never)).toMatchObject({ accepted: 1 });
    await expect(open(kind, web.url, {}).send(message(), never)).rejects.toMatchObject({ kind: 'unauthenticated' });
  });
});

test('a check posts nothing: Slack is asked to refuse an empty message, Teams is only reached', async () => {
  const web = await serve((request, response) =>
    response.writeHead(request.method === 'POST' ? 400 : 405).end('no_text'),
  );
  expect(await open('slack', web.url).check(never)).toMatchObject({ server: expect.stringMatching(/Slack webhook/) });
  expect(await open('teams', web.url).check(never)).toMatchObject({ server: expect.stringMatching(/Teams webhook/) });
  expect(web.asked).toMatchObject([
    { method: 'POST', body: '{}' },
    { method: 'HEAD', body: '' },
  ]);
  const gone = await serve((_, response) => response.writeHead(404).end('no_service'));
  await expect(open('slack', gone.url).check(never)).rejects.toMatchObject({ kind: 'not-found' });
});
