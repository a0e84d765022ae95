import { request as httpRequest } from 'node:http';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createApiKey, revokeApiKey } from '../identity/apiKeys.ts';
import { post, startTestApi, type TestApi } from '../test/servers/api.ts';
import { createFailureCount } from './failedAuthentication.ts';
import { limits } from './limits.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi(null);
});
afterAll(async () => {
  await api.close();
});

const viewer = JSON.stringify({ query: '{ viewer { tenant } }' });

describe('a request without a good key', () => {
  test('is answered 401, with one message for a missing, broken, unknown, expired and revoked key', async () => {
    const { store, tenants, asOwner } = api.database;
    const expired = await createApiKey(store, { ...tenants.a, name: 'expired', scopes: ['*'] });
    await asOwner("update api_key set expires_at = now() - interval '1 second' where id = $1", [expired.id]);
    const revoked = await createApiKey(store, { ...tenants.a, name: 'revoked', scopes: ['*'] });
    await revokeApiKey(store, { tenantId: tenants.a.tenantId, id: revoked.id });
    const other = await startTestApi(null);
    const unknown = other.keys.a;
    await other.close();

    const keys = [
      null,
      '',
      'garbage',
      `${api.keys.a}x`,
      api.keys.a.slice(0, -1),
      unknown,
      expired.secret,
      revoked.secret,
    ];
    const answers = await Promise.all(keys.map((key) => post(api.url, key, viewer)));
    for (const { status, headers } of answers) {
      expect(status).toBe(401);
      expect(headers.get('www-authenticate')).toContain('Bearer');
    }
    expect(new Set(answers.map(({ body }) => JSON.stringify(body))).size).toBe(1);
    expect(answers[0]!.body.errors[0]).toMatchObject({ extensions: { code: 'UNAUTHENTICATED' } });
    expect(answers[0]!.body.errors[0].message).toContain('API key');
  });

  test('is answered like any of these with a good key at a foreign address, whatever headers say of it', async () => {
    const { store, tenants } = api.database;
    const key = { ...tenants.a, name: 'elsewhere', scopes: ['*'], allowedCidrs: ['127.0.0.2/32'] };
    const { secret } = await createApiKey(store, key);
    const { body: unknown } = await post(api.url, 'garbage', viewer);
    const before = api.warnings.length;
    const named = ['x-forwarded-for', 'x-real-ip', 'client-ip'].map((name) => ({ [name]: '127.0.0.2' }));
    for (const headers of [{}, ...named, { forwarded: 'for=127.0.0.2' }])
      expect(await post(api.url, secret, viewer, headers)).toMatchObject({ status: 401, body: unknown });
    expect(api.warnings.slice(before)).toEqual(
      Array.from({ length: 5 }, () => ({
        keyId: secret.split('_')[2],
        address: '127.0.0.1',
        message: expect.stringContaining('an address that it is not allowed from'),
      })),
    );
    expect(await statusFrom('127.0.0.2', api.url, secret)).toBe(200);
    expect(api.warnings).toHaveLength(before + 5);
  });

  test('is answered 401 for other schemes and for introspection', async () => {
    const basic = { authorization: `Basic ${Buffer.from(`x:${api.keys.a}`).toString('base64')}` };
    expect((await post(api.url, null, viewer, basic)).status).toBe(401);
    expect((await post(api.url, null, viewer, { authorization: api.keys.a })).status).toBe(401);
    expect((await post(api.url, null, JSON.stringify({ query: '{ __schema { types { name } } }' }))).status).toBe(401);
    expect((await post(api.url, null, viewer, { cookie: `key=${api.keys.a}`, 'x-api-key': api.keys.a })).status).toBe(
      401,
    );
  });

  test('is answered 401 when two Authorization headers leave open which one counts', async () => {
    const status = await new Promise<number>((resolve, reject) => {
      const sent = httpRequest(api.url, { method: 'POST' }, (response) => {
        response.resume();
        resolve(response.statusCode!);
      });
      sent.on('error', reject);
      sent.setHeader('content-type', 'application/json');
      sent.setHeader('authorization', [`Bearer ${api.keys.a}`, `Bearer ${api.keys.b}`]);
      sent.end(viewer);
    });
    expect(status).toBe(401);
  });
});

describe('an address whose requests fail too often', () => {
  test('is answered 429 with the time to wait, whatever it presents, while a good key of that address still works', async () => {
    const other = await startTestApi(null);
    try {
      const statusOf = async (key: string | null) => (await post(other.url, key, viewer)).status;
      for (let failed = 0; failed < limits.failedAuthentications; failed++)
        expect(await statusOf(failed % 2 === 0 ? 'garbage' : api.keys.a)).toBe(401);
      for (const key of ['garbage', null, api.keys.a]) {
        const { status, headers, body } = await post(other.url, key, viewer);
        expect(status).toBe(429);
        const seconds = Number(headers.get('retry-after'));
        expect(seconds).toBeGreaterThan(0);
        expect(seconds).toBeLessThanOrEqual(limits.failedAuthenticationWindowSeconds);
        expect(body.errors[0]).toMatchObject({ extensions: { code: 'UNAUTHENTICATED_TOO_OFTEN', retryable: true } });
      }
      for (let good = 0; good < 3; good++) expect(await statusOf(other.keys.a)).toBe(200);
      // Another address has a bucket of its own.
      expect(await statusFrom('127.0.0.2', other.url)).toBe(401);
    } finally {
      await other.close();
    }
  });

  test('is one with its neighbours when it is of IPv6, and with its IPv4 form', async () => {
    const count = createFailureCount();
    for (let failed = 0; failed < limits.failedAuthentications; failed++) await count(`2001:db8:1:2::${failed}`);
    await expect(count('2001:db8:1:2:ffff::1')).rejects.toMatchObject({ kind: 'rate-limited' });
    await count('2001:db8:1:3::1');
    for (let failed = 0; failed < limits.failedAuthentications; failed++) await count('::ffff:192.0.2.1');
    await expect(count('192.0.2.1')).rejects.toMatchObject({ kind: 'rate-limited' });
    await count('192.0.2.2');
  });
});

describe('a request with a key', () => {
  test('is answered for the tenant of the key, whatever other headers say', async () => {
    const forged = { 'x-forwarded-host': 'tenant-b', 'x-tenant': 'tenant-b', host: 'tenant-b' };
    const { status, body } = await post(api.url, api.keys.a, viewer, forged);
    expect({ status, body }).toMatchObject({ status: 200, body: { data: { viewer: { tenant: 'tenant-a' } } } });
    expect((await api.graphql(api.keys.b, '{ viewer { tenant } }')).body.data.viewer.tenant).toBe('tenant-b');
  });

  test('gets its cost with the answer', async () => {
    const { body } = await api.graphql(api.keys.a, '{ viewer { tenant } }');
    expect(body.extensions.cost).toEqual({ requested: 2, limit: limits.cost });
  });

  test('that a web page could forge is refused: forms, plain text, GET', async () => {
    for (const type of ['application/x-www-form-urlencoded', 'text/plain', 'multipart/form-data; boundary=x', ''])
      expect((await post(api.url, api.keys.a, viewer, { 'content-type': type })).status).toBe(415);
    const headers = { authorization: `Bearer ${api.keys.a}`, accept: 'application/json' };
    expect((await fetch(`${api.url}?query={viewer{tenant}}`, { headers })).status).toBe(405);
  });

  test('is answered 400 for a body that is no JSON or no GraphQL request, and nothing breaks', async () => {
    const before = api.errors.length;
    for (const body of [
      '',
      '{',
      'null',
      '[]',
      '5',
      '{}',
      '{"query":5}',
      '{"query":"{"}',
      '{"query":"{ viewer { nothing } }"}',
    ]) {
      const answer = await post(api.url, api.keys.a, body);
      expect(answer.body.errors[0].message, body).toBeTypeOf('string');
      expect(answer.status, body).toBeLessThan(500);
    }
    expect(api.errors.slice(before)).toEqual([]);
  });
});

describe('limits', () => {
  const refused = async (query: string, variables?: Record<string, unknown>) => {
    const { body } = await api.graphql(api.keys.a, query, variables);
    expect(body.data ?? null).toBeNull();
    return body.errors[0].message as string;
  };

  test('a body beyond the limit is refused, announced or not', async () => {
    const large = JSON.stringify({ query: '{ viewer { tenant } }', variables: { x: 'x'.repeat(limits.bodyBytes) } });
    const announced = await post(api.url, api.keys.a, large);
    expect(announced.status).toBe(413);
    expect(announced.body.errors[0].message).toContain(String(limits.bodyBytes));
    const stream = new ReadableStream({
      start: (controller) => {
        controller.enqueue(new TextEncoder().encode(large));
        controller.close();
      },
    });
    const headers = { authorization: `Bearer ${api.keys.a}`, 'content-type': 'application/json' };
    const chunked = await fetch(api.url, { method: 'POST', headers, body: stream, duplex: 'half' } as RequestInit);
    expect(chunked.status).toBe(413);
  });

  test('a compressed body is refused', async () => {
    for (const encoding of ['gzip', 'deflate', 'br']) {
      const answer = await post(api.url, api.keys.a, Uint8Array.from(gzipSync(viewer)), {
        'content-encoding': encoding,
      });
      expect(answer.status).toBe(415);
    }
  });

  test('depth, aliases, directives and tokens have a maximum', async () => {
    const nested = 'liveVersion { pipeline { '.repeat(limits.depth / 2 + 1);
    const deep = `{ pipeline(name: "x") { ${nested} name ${'} }'.repeat(limits.depth / 2 + 1)} } }`;
    expect(await refused(deep)).toMatch(/depth/i);
    const aliases = Array.from({ length: limits.aliases + 1 }, (_, index) => `a${index}: viewer { tenant }`);
    expect(await refused(`{ ${aliases.join(' ')} }`)).toMatch(/alias/i);
    expect(await refused(`{ viewer { tenant ${'@include(if: true) '.repeat(limits.directives + 1)} } }`)).toMatch(
      /directive/i,
    );
    expect(await refused(`{ viewer { ${'tenant '.repeat(limits.tokens)} } }`)).toMatch(/token/i);
  });

  test('an operation that costs too much is refused, also when a variable asks for the rows', async () => {
    const query =
      'query($n: Int) { runs(first: $n) { edges { node { deliveries(first: $n) { edges { node { id } } } } } } }';
    const { body } = await api.graphql(api.keys.a, query, { n: 100 });
    expect(body.errors[0].extensions.code).toBe('COST_LIMIT');
    expect(body.extensions.cost.requested).toBeGreaterThan(limits.cost);
    expect((await api.graphql(api.keys.a, query, { n: 10 })).body.errors).toBeUndefined();
  });

  test('a page has 1 to 100 rows and begins at a cursor that was given', async () => {
    for (const first of [0, -1, 101, 2_000_000_000])
      expect(await refused(`{ runs(first: ${first}) { edges { cursor } } }`)).toContain('1 to 100');
    for (const after of [
      '',
      'x',
      Buffer.from('["a","b"]').toString('base64url'),
      Buffer.from('["2026-01-01","\u0000"]').toString('base64url'),
      'A'.repeat(5000),
    ])
      expect(await refused('query($after: String) { runs(after: $after) { edges { cursor } } }', { after })).toContain(
        'cursor',
      );
    expect((await api.graphql(api.keys.a, '{ runs(first: 100) { edges { cursor } } }')).body.errors).toBeUndefined();
  });

  test('several operations in one request are refused', async () => {
    const { status } = await post(api.url, api.keys.a, `[${viewer},${viewer}]`);
    expect(status).toBe(400);
  });
});

describe('without a key', () => {
  test('/health answers, /ready says what is away, other paths are nothing', async () => {
    const at = (path: string) => new URL(path, api.url);
    const health = await fetch(at('/health'));
    expect([health.status, await health.json()]).toEqual([200, { status: 'ok', version: 'test' }]);
    const ready = await fetch(at('/ready'));
    expect([ready.status, await ready.json()]).toEqual([503, { ready: false, database: true, temporal: false }]);
    expect((await fetch(at('/'))).status).toBe(404);
    expect((await fetch(at('/graphql/../ready/x'))).status).toBe(404);
  });

  test('the GraphiQL page is served, says that it needs a key, and loads nothing from elsewhere', async () => {
    const page = await fetch(api.url, { headers: { accept: 'text/html' } });
    const text = await page.text();
    expect(page.status).toBe(200);
    expect(text).toContain('can do nothing without an API key');
    expect(page.headers.get('content-security-policy')).toContain("connect-src 'self'");
    expect(text).not.toMatch(/<script[^>]+src="http/);
  });
});

/** Status of a request that comes from an address of the loopback network. */
async function statusFrom(localAddress: string, url: string, key = ''): Promise<number> {
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${key}` };
  return new Promise((resolve, reject) => {
    const sent = httpRequest(url, { method: 'POST', localAddress, headers }, (response) => {
      response.resume();
      resolve(response.statusCode!);
    });
    sent.on('error', reject);
    sent.end(viewer);
  });
}
