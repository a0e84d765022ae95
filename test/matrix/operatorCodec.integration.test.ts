import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { routes } from '../../api/routes.ts';
import { encodePayloads } from '../../identity/keys/payloadCodec.ts';
import { installationId } from '../../identity/keys/tenantKeys.ts';
import { codeSpans, readPage, tableRows } from '../documents.ts';
import { post, startTestApi, type TestApi } from '../servers/api.ts';

/** The route that a token in the path opens, for a Temporal UI that has no sign-in to hand on. */
const rows = tableRows(readPage('docs/wall.md'), 'asked with a token', 'answer');
const token = 'operator-Token_0123456789-of-the-installation';
const uiUrl = 'http://temporal.example:8080';

let api: TestApi;
let withoutToken: TestApi;
let origin: string;
let body: string;
const payload = (value: unknown) => ({
  metadata: { encoding: Buffer.from('json/plain') },
  data: Buffer.from(JSON.stringify(value)),
});
const wire = ({ metadata, data }: Awaited<ReturnType<typeof encodePayloads>>[number]) => ({
  metadata: Object.fromEntries(
    Object.entries(metadata!).map(([name, bytes]) => [name, Buffer.from(bytes).toString('base64')]),
  ),
  data: Buffer.from(data!).toString('base64'),
});

beforeAll(async () => {
  const temporal = { address: '127.0.0.1:1', uiUrl };
  [api, withoutToken] = await Promise.all([
    startTestApi({ ...temporal, codecToken: token }),
    startTestApi({ ...temporal }),
  ]);
  origin = new URL(api.url).origin;
  const { a, b } = api.database.tenants;
  const sealed = await Promise.all(
    [a.tenantId, b.tenantId, installationId].map((id) => encodePayloads(api.tenantKeys, id, [payload(id)])),
  );
  body = JSON.stringify({ payloads: sealed.flat().map(wire) });
});
afterAll(async () => {
  await api?.close();
  await withoutToken?.close();
});

interface Asked {
  url?: string;
  key?: string;
  headers?: Record<string, string>;
}
/** What is asked, by the words that the page has for it. */
const asked: Record<string, () => Asked> = {
  'the right one': () => ({}),
  'the right one, by a page of the UI': () => ({ headers: { origin: uiUrl } }),
  'the right one, by a page of another origin': () => ({ headers: { origin: 'http://evil.example' } }),
  'one character changed': () => ({ url: `/codec/${token.replace('0', '1')}/decode` }),
  'one character missing': () => ({ url: `/codec/${token.slice(0, -1)}/decode` }),
  'one character more': () => ({ url: `/codec/${token}x/decode` }),
  'an empty one': () => ({ url: '/codec//decode' }),
  'a good API key in its place': () => ({ url: `/codec/${api.keys.a}/decode` }),
  'a wrong one beside a good API key in the header': () => ({ url: '/codec/wrong/decode', key: api.keys.a }),
  'the right one as a credential in the header': () => ({ url: '/codec/decode', key: token }),
  'the right one, below `/t/<site>/`': () => ({ url: `/t/tenant-a/codec/${token}/decode` }),
  'the right one, to encode': () => ({ url: `/codec/${token}/encode` }),
  'any, where the setting has none': () => ({ url: new URL(`/codec/${token}/decode`, withoutToken.url).href }),
  'any, where the setting has none, beside a good API key': () => ({
    url: new URL(`/codec/null/decode`, withoutToken.url).href,
    key: withoutToken.keys.a,
  }),
};
const ask = ({ url = `/codec/${token}/decode`, key, headers }: Asked) =>
  post(new URL(url, origin).href, key ?? null, body, headers);

test('every route of a token is in this matrix, and the page has a row for each request', () => {
  expect(routes.filter(({ rule }) => rule === 'token').map(({ path }) => path)).toEqual(['/codec/{token}/decode']);
  expect(rows.map(([row]) => row).sort()).toEqual(Object.keys(asked).sort());
});

test.each(rows.map(([row, answer]) => [row!, codeSpans(answer!)[0]!] as const))('%s: %s', async (row, answer) => {
  const { status, body: answered, headers } = await ask(asked[row]!());
  expect(status === 200 ? '200' : `${status} ${answered.errors[0].extensions.code}`).toBe(answer);
  const shown = JSON.stringify(answered);
  expect(shown.includes(token)).toBe(false);
  if (status !== 200) return expect(headers.get('access-control-allow-origin')).toBeNull();
});

describe('who has the token', () => {
  test('reads the payloads of every tenant and of the installation, and gets the rest back as it was', async () => {
    const [ofA] = await encodePayloads(api.tenantKeys, api.database.tenants.a.tenantId, [payload('mine')]);
    const others = [
      { ...ofA!, data: Buffer.from('x') },
      { ...ofA!, metadata: { ...ofA!.metadata, 'waybill-key': Buffer.from('nobody') } },
      // Of a tenant that was deleted: the page of Temporal shows its workflows for a while.
      { ...ofA!, metadata: { ...ofA!.metadata, 'waybill-key': Buffer.from(`${randomUUID()}/1`) } },
      payload('plain'),
    ].map(wire);
    const sent = JSON.stringify({ payloads: [...JSON.parse(body).payloads, ...others] });
    const { body: answered } = await post(`${origin}/codec/${token}/decode`, null, sent, { 'x-namespace': 'default' });
    const read = answered.payloads.slice(0, 3).map(({ data }: { data: string }) => JSON.parse(atob(data)));
    const { a, b } = api.database.tenants;
    expect(read).toEqual([a.tenantId, b.tenantId, installationId]);
    expect(answered.payloads.slice(3)).toEqual(others);
    expect((await ask({ headers: { 'x-namespace': 'other' } })).status).toBe(404);
  });

  test('is asked first by the browser of the UI, which alone gets the answer of that question', async () => {
    const preflight = (path: string, from: string) =>
      fetch(`${origin}${path}`, { method: 'OPTIONS', headers: { origin: from } });
    const allowed = await preflight(`/codec/${token}/decode`, uiUrl);
    expect([allowed.status, allowed.headers.get('access-control-allow-origin')]).toEqual([204, uiUrl]);
    for (const [path, from] of [
      [`/codec/${token}/decode`, 'http://evil.example'],
      ['/codec/wrong/decode', uiUrl],
    ] as const) {
      const refused = await preflight(path, from);
      expect([refused.status, refused.headers.get('access-control-allow-origin')]).toEqual([404, null]);
    }
  });

  test('is not slowed by who guesses: wrong ones are counted as failed authentications, right ones are not', async () => {
    const guess = () => ask({ url: '/codec/guessed/decode' });
    const statuses = [];
    for (let tried = 0; tried < 40; tried++) statuses.push((await guess()).status);
    expect(statuses.at(-1)).toBe(429);
    expect((await guess()).body.errors[0].extensions.code).toBe('UNAUTHENTICATED_TOO_OFTEN');
    expect((await ask({})).status).toBe(200);
  });
});
