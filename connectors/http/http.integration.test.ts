import { createServer } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createDialler } from '../../network/dialler.ts';
import { type Certificates, makeCertificates } from '../../test/servers/certificates.ts';
import { type AskedRequest, startWeb, type WebServer } from '../../test/servers/web.ts';
import type { OutgoingRequest, Requester } from '../contract.ts';
import { createRegistry } from '../registry.ts';

const log = { debug() {}, info() {}, warn() {}, error() {} };
const dialler = createDialler({ loopback: true, allow: [] });
const guarded = createDialler({ loopback: false, allow: [] });
const never = new AbortController().signal;
const closings: Array<() => Promise<void>> = [];
let certificates: Certificates;

beforeAll(async () => {
  certificates = await makeCertificates();
});
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
});
afterAll(async () => {
  await dialler.close();
  await guarded.close();
});

async function serve(answer: Parameters<typeof startWeb>[0], tls?: Parameters<typeof startWeb>[1]): Promise<WebServer> {
  const web = await startWeb(answer, tls);
  closings.push(() => web.stop());
  return web;
}

function open(config: Record<string, unknown>, secrets: Record<string, string> = {}, way = dialler): Requester {
  const opened = createRegistry().open('http', config, secrets, { dialler: way, localRoots: [], log });
  if (opened.serves !== 'requests') throw new Error('not a requester');
  closings.push(() => opened.endpoint.close());
  return opened.endpoint;
}

function ask(path: string, changes: Partial<OutgoingRequest> = {}): OutgoingRequest {
  return { method: 'GET', path, query: [], headers: {}, body: null, maxAnswerBytes: 64 * 1024, ...changes };
}

const hello = (_: AskedRequest, response: import('node:http').ServerResponse) =>
  void response.writeHead(200, { 'content-type': 'text/plain' }).end('hello');

describe('a request', () => {
  test('goes below the base address, with query, headers and body, and gives the answer whatever its status', async () => {
    const web = await serve((_, response) =>
      response
        .writeHead(418, { 'content-type': 'application/json', 'set-cookie': 'session=1', 'x-id': '7' })
        .end('{"a":1}'),
    );
    const requester = open({ baseUrl: `${web.url}/v2/`, headers: { 'X-Team': 'integration' } });
    const answer = await requester.request(
      ask('/orders/a b%2Fc', {
        method: 'POST',
        query: [
          ['state', 'open & new'],
          ['id', '1'],
          ['id', '2'],
        ],
        headers: { 'Content-Type': 'text/plain' },
        body: 'grüß',
      }),
      never,
    );
    expect(answer).toMatchObject({ status: 418, text: '{"a":1}', headers: { 'x-id': '7' } });
    expect(answer.headers).not.toHaveProperty('set-cookie');
    expect(web.asked).toMatchObject([
      {
        method: 'POST',
        path: '/v2/orders/a%20b%2Fc?state=open+%26+new&id=1&id=2',
        headers: { 'x-team': 'integration', 'content-type': 'text/plain', 'user-agent': 'waybill' },
        body: 'grüß',
      },
    ]);
  });

  test.each([
    '/../admin',
    '/a/../../admin',
    '/%2e%2e/admin',
    '/%252e%252e/admin',
    '/a/..%2fadmin',
    '/a\\..\\b',
    '/a?b',
    '/a#b',
    'a',
    '/a\nb',
    '/.',
  ])('to %j does not leave the base address: it is refused before anything is sent', async (path) => {
    const web = await serve(hello);
    await expect(open({ baseUrl: `${web.url}/v2` }).request(ask(path), never)).rejects.toMatchObject({
      kind: 'invalid',
    });
    expect(web.asked).toEqual([]);
  });

  test.each([
    ['bearer', { auth: 'bearer' }, { token: 'canary-token\n' }, { authorization: 'Bearer canary-token' }],
    [
      'basic',
      { auth: 'basic', username: 'acme' },
      { password: 'canary' },
      { authorization: `Basic ${btoa('acme:canary')}` },
    ],
    ['header', { auth: 'header', authHeader: 'X-Api-Key' }, { token: 'canary' }, { 'x-api-key': 'canary' }],
  ] as const)('signs in by %s, and a step cannot set that header itself', async (_, config, secrets, headers) => {
    const web = await serve(hello);
    const requester = open({ baseUrl: web.url, allowPlain: true, ...config }, { ...secrets });
    await requester.request(ask('/'), never);
    expect(web.asked[0]!.headers).toMatchObject(headers);
    for (const name of [...Object.keys(headers), 'Authorization', 'Host', 'Cookie', 'Content-Length'])
      await expect(requester.request(ask('/', { headers: { [name]: 'x' } }), never)).rejects.toMatchObject({
        kind: 'invalid',
      });
    await expect(requester.request(ask('/', { headers: { 'x-a': 'b\r\nx-c: d' } }), never)).rejects.toMatchObject({
      kind: 'invalid',
    });
    expect(web.asked).toHaveLength(1);
  });

  test('gives back nothing of the credentials, however the server repeats them', async () => {
    const secret = 'canary "token"/+?';
    const forms = [secret, encodeURIComponent(secret), btoa(secret), JSON.stringify(secret)];
    const web = await serve((_, response) => response.writeHead(200, { 'x-echo': btoa(secret) }).end(forms.join('\n')));
    const answer = await open({ baseUrl: web.url, auth: 'bearer', allowPlain: true }, { token: secret }).request(
      ask('/'),
      never,
    );
    const told = JSON.stringify(answer);
    for (const form of forms) expect(answer.text).not.toContain(form);
    expect(told).not.toMatch(/canary|Y2FuYXJ5/);
    expect(answer.text).toContain('***');
  });

  test('follows a redirect on its server, and none to another one or of a POST', async () => {
    const other = await serve(hello);
    const web = await serve((request, response) => {
      if (request.path === '/here') response.writeHead(302, { location: '/there' }).end();
      else if (request.path === '/away') response.writeHead(307, { location: `${other.url}/stolen` }).end();
      else response.end('arrived');
    });
    const requester = open({ baseUrl: web.url, auth: 'bearer', allowPlain: true }, { token: 'canary' });
    expect(await requester.request(ask('/here'), never)).toMatchObject({ status: 200, text: 'arrived' });
    expect(await requester.request(ask('/away'), never)).toMatchObject({ status: 307 });
    expect(await requester.request(ask('/here', { method: 'POST', body: 'x' }), never)).toMatchObject({ status: 302 });
    expect(other.asked).toEqual([]);
  });

  test('takes answers that are small, text, and not compressed', async () => {
    const web = await serve((request, response) => {
      if (request.path === '/large') response.end('x'.repeat(1025));
      else if (request.path === '/binary') response.end(Buffer.from([0xff, 0xfe, 0x80]));
      else if (request.path === '/latin')
        response.writeHead(200, { 'content-type': 'text/plain; charset=latin1' }).end(Buffer.from([0xfc]));
      else response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync('x'));
    });
    const requester = open({ baseUrl: web.url });
    const of = (path: string) => requester.request(ask(path, { maxAnswerBytes: 1024 }), never);
    await expect(of('/large')).rejects.toMatchObject({ kind: 'invalid', message: /more than 1024 bytes/ });
    await expect(of('/binary')).rejects.toMatchObject({ kind: 'protocol', message: /no text in utf-8/ });
    await expect(of('/gzip')).rejects.toMatchObject({ kind: 'protocol', message: /gzip/ });
    expect(await of('/latin')).toMatchObject({ text: 'ü' });
  });
});

describe('what goes wrong', () => {
  test('a server that is away is unavailable, one that is silent is a timeout, one that speaks something else breaks the protocol', async () => {
    const web = await serve(hello);
    await web.stop();
    await expect(open({ baseUrl: web.url }).request(ask('/'), never)).rejects.toMatchObject({
      kind: 'unavailable',
      message: /refuses connections/,
    });
    const silent = await serve(() => undefined);
    await expect(open({ baseUrl: silent.url, timeoutSeconds: 1 }).request(ask('/'), never)).rejects.toMatchObject({
      kind: 'timeout',
    });
    const strange = createServer((socket) =>
      socket
        .on('error', () => undefined)
        .resume()
        .write('SSH-2.0-OpenSSH_9.2\r\n'),
    );
    await new Promise<void>((resolve) => strange.listen(0, '127.0.0.1', resolve));
    closings.push(() => new Promise((resolve) => strange.close(() => resolve())));
    const { port } = strange.address() as import('node:net').AddressInfo;
    await expect(open({ baseUrl: `http://127.0.0.1:${port}` }).request(ask('/'), never)).rejects.toMatchObject({
      kind: 'protocol',
    });
    await expect(open({ baseUrl: `https://127.0.0.1:${web.port}` }).request(ask('/'), never)).rejects.toMatchObject({
      kind: 'unavailable',
    });
  });

  test('a connection that breaks in the middle of the answer is unavailable', async () => {
    const web = await serve((_, response) => {
      response.writeHead(200, { 'content-length': '100' }).write('half');
      setImmediate(() => response.destroy());
    });
    await expect(open({ baseUrl: web.url }).request(ask('/'), never)).rejects.toMatchObject({ kind: 'unavailable' });
  });

  test('a cancelled request ends at once', async () => {
    const controller = new AbortController();
    const web = await serve(() => controller.abort());
    await expect(open({ baseUrl: web.url }).request(ask('/'), controller.signal)).rejects.toMatchObject({
      kind: 'cancelled',
    });
    await expect(open({ baseUrl: web.url }).request(ask('/'), AbortSignal.abort())).rejects.toMatchObject({
      kind: 'cancelled',
    });
    expect(web.asked).toHaveLength(1);
  });

  test.each(['127.0.0.1', 'localhost', '2130706433', '0x7f.1', '[::ffff:127.0.0.1]'])(
    'the egress guard refuses %s, and nothing arrives',
    async (host) => {
      const web = await serve(hello);
      const requester = open({ baseUrl: `http://${host}:${web.port}` }, {}, guarded);
      await expect(requester.request(ask('/'), never)).rejects.toMatchObject({ kind: 'egress-denied' });
      await expect(requester.check(never)).rejects.toMatchObject({ kind: 'egress-denied' });
      const withAuthority = open({ baseUrl: `https://${host}:${web.port}` }, { ca: certificates.ca }, guarded);
      await expect(withAuthority.request(ask('/'), never)).rejects.toMatchObject({ kind: 'egress-denied' });
      expect(web.asked).toEqual([]);
    },
  );
});

describe('TLS', () => {
  const identityOf = ({ certificate, key }: { certificate: string; key: string }) => ({ cert: certificate, key });

  test('an authority of the endpoint is trusted, and only for names that the certificate bears', async () => {
    const web = await serve(hello, identityOf(certificates.server));
    const { ca } = certificates;
    expect(await open({ baseUrl: web.url }, { ca }).request(ask('/'), never)).toMatchObject({ status: 200 });
    const unknown = open({ baseUrl: web.url }).request(ask('/'), never);
    await expect(unknown).rejects.toMatchObject({
      kind: 'unauthenticated',
      message: /certificate .* not to be trusted/,
    });
    const stranger = await serve(hello, identityOf(certificates.stranger));
    await expect(open({ baseUrl: stranger.url }, { ca }).request(ask('/'), never)).rejects.toMatchObject({
      kind: 'unauthenticated',
    });
    expect(stranger.asked).toEqual([]);
  });

  test('a client certificate is shown to a server that wants one', async () => {
    const { ca, client, server } = certificates;
    const web = await serve(hello, { ...identityOf(server), ca, requestCert: true, rejectUnauthorized: true });
    const secrets = { ca, clientCertificate: client.certificate, clientKey: client.key };
    expect(await open({ baseUrl: web.url }, secrets).request(ask('/'), never)).toMatchObject({ status: 200 });
    await expect(open({ baseUrl: web.url }, { ca }).request(ask('/'), never)).rejects.toMatchObject({
      kind: 'unavailable',
    });
  });

  test('what is no certificate or key is invalid, and is not quoted', () => {
    const { client } = certificates;
    expect(() => open({ baseUrl: 'https://a.example' }, { ca: 'canary' })).toThrow(/^(?!.*canary).*no certificate/);
    expect(() =>
      open({ baseUrl: 'https://a.example' }, { clientCertificate: client.certificate, clientKey: 'canary' }),
    ).toThrow(/^(?!.*canary).*cannot be read/);
  });
});

describe('a check', () => {
  test.each([
    [200, null],
    [404, null],
    [401, 'unauthenticated'],
    [403, 'forbidden'],
    [429, 'rate-limited'],
    [503, 'unavailable'],
  ] as const)('that is answered with %i gives %s', async (status, kind) => {
    const web = await serve((_, response) => response.writeHead(status, { server: 'acme/1' }).end());
    const checked = open({ baseUrl: `${web.url}/v2`, checkPath: '/me' }).check(never);
    if (kind === null) await expect(checked).resolves.toMatchObject({ server: `acme/1, HTTP ${status}` });
    else await expect(checked).rejects.toMatchObject({ kind });
    expect(web.asked).toMatchObject([{ method: 'GET', path: '/v2/me', body: '' }]);
  });
});

describe('the configuration', () => {
  test.each([
    [{ baseUrl: 'ftp://a.example' }, {}, /baseUrl/],
    [{ baseUrl: 'https://user:canary@a.example' }, {}, /^(?!.*canary).*holds credentials/],
    [{ baseUrl: 'https://a.example/?x=1' }, {}, /no \? and no #/],
    [{ baseUrl: 'http://a.example', auth: 'bearer' }, { token: 'x' }, /use https/],
    [{ baseUrl: 'https://a.example', auth: 'bearer' }, {}, /no token/],
    [{ baseUrl: 'https://a.example' }, { token: 'x' }, /does not use/],
    [{ baseUrl: 'https://a.example', auth: 'basic' }, { password: 'x' }, /username/],
    [{ baseUrl: 'https://a.example', auth: 'header' }, { token: 'x' }, /authHeader/],
    [{ baseUrl: 'https://a.example' }, { clientKey: 'x' }, /both clientCertificate and clientKey/],
    [{ baseUrl: 'https://a.example', auth: 'bearer' }, { token: 'ä' }, /no header can carry/],
  ])('%j with secrets %j is refused', (config, secrets, message) => {
    expect(() => open(config, secrets)).toThrow(message);
  });
});
