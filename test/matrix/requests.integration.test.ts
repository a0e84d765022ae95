import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { codeSpans, readPage, tableRows } from '../documents.ts';
import { startTestApi, type TestApi } from '../servers/api.ts';
import { askRaw } from './asking.ts';

const rows = tableRows(readPage('docs/wall.md'), 'request', 'answer');
const query = JSON.stringify({ query: '{ viewer { tenant } }' });
const json = 'Content-Type: application/json';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi(null);
});
afterAll(() => api?.close());

interface Raw {
  start?: string;
  /** Those of the connection, the host and the length of the body are added, but for what a line of them names itself. */
  headers: string[];
  body?: string | Buffer;
  without?: string;
}

/** The requests of the page, by the words it has for them. `a` and `b` are keys of the two tenants. */
const requests: Record<string, (keys: TestApi['keys']) => Raw> = {
  'header names and `bearer` in another case': ({ a }) => ({
    headers: [`aUTHORIZATION: bEARER ${a}`, 'content-TYPE: application/json'],
  }),
  'two `Authorization` headers': ({ a, b }) => ({
    headers: [json, `Authorization: Bearer ${a}`, `Authorization: Bearer ${b}`],
  }),
  'two credentials in one header': ({ a, b }) => ({ headers: [json, `Authorization: Bearer ${a}, Bearer ${b}`] }),
  'a credential folded over two lines': ({ a }) => ({ headers: [json, `Authorization: Bearer\r\n ${a}`] }),
  'a space before the colon': ({ a }) => ({ headers: [json, `Authorization : Bearer ${a}`] }),
  'a NUL in a header': ({ a }) => ({ headers: [json, `Authorization: Bearer ${a}\0`] }),
  'the credential in the URL, in a cookie or in `X-Api-Key`': ({ a }) => ({
    start: `POST /graphql?key=${a}&access_token=${a} HTTP/1.1`,
    headers: [json, `Cookie: key=${a}; authorization=${a}`, `X-Api-Key: ${a}`],
  }),
  '`X-Forwarded-For`, `-Host` and `-Proto`, `Forwarded`, `X-Tenant` that name another tenant': ({ a }) => ({
    headers: [
      ...[json, `Authorization: Bearer ${a}`, 'X-Forwarded-For: 192.0.2.1', 'X-Forwarded-Host: tenant-b'],
      ...['X-Forwarded-Proto: https', 'Forwarded: for=192.0.2.1;host=tenant-b', 'X-Tenant: tenant-b'],
    ],
  }),
  '`X-HTTP-Method-Override`': ({ a }) => ({
    headers: [json, `Authorization: Bearer ${a}`, 'X-HTTP-Method-Override: DELETE'],
  }),
  'two `Host` headers': ({ a }) => ({ headers: [json, `Authorization: Bearer ${a}`, 'Host: tenant-b'] }),
  'two `Host` headers and no credential': () => ({ headers: [json, 'Host: tenant-b'] }),
  'no `Host` header': ({ a }) => ({ headers: [json, `Authorization: Bearer ${a}`], without: 'Host' }),
  '`Content-Length` beside `Transfer-Encoding`': ({ a }) => ({
    headers: [json, `Authorization: Bearer ${a}`, 'Transfer-Encoding: chunked'],
  }),
  'two `Content-Length` that differ': ({ a }) => ({
    headers: [json, `Authorization: Bearer ${a}`, 'Content-Length: 5'],
  }),
  'a body with `Content-Encoding: gzip`': ({ a }) => ({
    headers: [json, `Authorization: Bearer ${a}`, 'Content-Encoding: gzip'],
    body: gzipSync(query),
  }),
  'a body that is a form': ({ a }) => ({
    headers: ['Content-Type: application/x-www-form-urlencoded', `Authorization: Bearer ${a}`],
    body: 'query={viewer{tenant}}',
  }),
  'a body with a NUL behind the JSON': ({ a }) => ({
    headers: [json, `Authorization: Bearer ${a}`],
    body: `${query}\0`,
  }),
  'a body that is no UTF-8': ({ a }) => ({
    headers: [json, `Authorization: Bearer ${a}`],
    body: Buffer.concat([
      Buffer.from('{"query":"{ viewer { tenant } }", "x'),
      Buffer.of(0xc3, 0x28),
      Buffer.from('":1}'),
    ]),
  }),
  'a NUL escaped in a GraphQL text': ({ a }) => ({
    headers: [json, `Authorization: Bearer ${a}`],
    body: JSON.stringify({ query: '{ pipeline(name: "a\\u0000b") { name } }' }),
  }),
  'headers of 20 KiB': ({ a }) => ({
    headers: [json, `Authorization: Bearer ${a}`, `X-Long: ${'x'.repeat(20 * 1_024)}`],
  }),
  'a whole URL in the request line': ({ a }) => ({
    start: 'POST http://tenant-b/t/tenant-b/graphql HTTP/1.1',
    headers: [json, `Authorization: Bearer ${a}`],
  }),
  'dots in the path': ({ a }) => ({
    start: 'POST /t/tenant-b/../tenant-a/graphql HTTP/1.1',
    headers: [json, `Authorization: Bearer ${a}`],
  }),
  'an escaped letter in the path': ({ a }) => ({
    start: 'POST /t/tenant-a/%67raphql HTTP/1.1',
    headers: [json, `Authorization: Bearer ${a}`],
  }),
  '`OPTIONS`': ({ a }) => ({ start: 'OPTIONS /graphql HTTP/1.1', headers: [json, `Authorization: Bearer ${a}`] }),
  '`OPTIONS` and no credential': () => ({
    start: 'OPTIONS /graphql HTTP/1.1',
    headers: ['Origin: https://evil.example', 'Access-Control-Request-Method: POST'],
  }),
};

test('the page and the test know the same requests', () => {
  expect(rows.map(([name]) => name)).toEqual(Object.keys(requests));
});

test.each(rows.map(([name, answer]) => [name!, codeSpans(answer!)[0]!] as const))('%s: %s', async (name, answer) => {
  const before = api.errors.length;
  const { status, code, body } = await askRaw(api.url, bytesOf(requests[name]!(api.keys)));
  expect(code === null ? `${status}` : `${status} ${code}`, JSON.stringify(body)).toBe(answer);
  // Whatever else was said, the tenant is that of the credential.
  if (status === 200) expect(body.data.viewer ?? { tenant: 'tenant-a' }).toEqual({ tenant: 'tenant-a' });
  expect(api.errors.slice(before)).toEqual([]);
});

function bytesOf({ start = 'POST /graphql HTTP/1.1', headers, body = query, without }: Raw): Buffer {
  const bytes = Buffer.from(body);
  const own = [
    `Host: ${new URL(api.url).host}`,
    'Accept: application/json',
    'Connection: close',
    `Content-Length: ${bytes.length}`,
  ];
  const sent = [start, ...own.filter((line) => without === undefined || !line.startsWith(without)), ...headers];
  return Buffer.concat([Buffer.from(`${sent.join('\r\n')}\r\n\r\n`, 'latin1'), bytes]);
}
