import { request as httpRequest } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newSessionText } from '../identity/sessions/sessionText.ts';
import { registerSite } from '../identity/sites.ts';
import { post } from '../test/servers/api.ts';
import { password, type SignIns, startSignIns } from '../test/servers/signIns.ts';

let signIns: SignIns;
beforeAll(async () => {
  signIns = await startSignIns();
});
afterAll(() => signIns?.api.close());

describe('without a credential', () => {
  const ask = (query: string, url = signIns.api.url) => post(url, null, JSON.stringify({ query }));
  const way = `open(userName: "anna", password: ${JSON.stringify(password)}, applicationId: 1001) { __typename }`;

  test('nothing but the seven mutations is reached, however it is written', async () => {
    // Each costs a point of the address: not so many that its limit is met.
    for (const query of [
      '{ viewer { tenant } }',
      '{ __schema { types { name } } }',
      `mutation { ${way} createApiKey(input: { name: "x" }) { __typename } }`,
      `mutation { ${way} ...more } fragment more on Mutation { startRun(input: { pipeline: "x", idempotencyKey: "x" }) { __typename } }`,
      `mutation { ${way} ... on Mutation { __typename } }`,
      `query a { viewer { tenant } } mutation b { ${way} }`,
      'mutation {',
      'type Query { x: Int }',
    ]) {
      const { status, body } = await ask(query);
      expect([status, body.errors[0].extensions.code], query).toEqual([401, 'UNAUTHENTICATED']);
      expect(body.data).toBeUndefined();
    }
    expect((await ask(`mutation { ${way} }`)).body.data.open.__typename).toBe('SessionData');
  });

  test('a bad credential does not become none: the ways in are shut to it', async () => {
    const { status } = await post(signIns.api.url, 'garbage', JSON.stringify({ query: `mutation { ${way} }` }));
    expect(status).toBe(401);
  });

  test('the site is that of the path, else of the host name, else the first', async () => {
    const { origin } = new URL(signIns.api.url);
    await signIns.createUser('bea', 'operator', signIns.api.keys.b);
    await signIns.api.database.store.sql(signIns.api.database.tenants.b.tenantId, (sql) =>
      registerSite(sql, signIns.api.database.tenants.b.tenantId, 'files.beta.example'),
    );
    const signIn = (userName: string) =>
      `mutation { open(userName: "${userName}", password: ${JSON.stringify(password)}, applicationId: 20) { __typename ... on SessionData { sessionId } } }`;
    const at = async (url: string, userName: string, headers: Record<string, string | string[]> = {}) => {
      const { status, body } = await send(url, JSON.stringify({ query: signIn(userName) }), headers);
      return status === 200 ? body.data.open.__typename : status;
    };
    expect(await at(`${origin}/t/tenant-b/graphql`, 'bea')).toBe('SessionData');
    expect(await at(`${origin}/t/Tenant-B/graphql`, 'bea')).toBe('SessionData');
    expect(await at(`${origin}/t/tenant-a/graphql`, 'bea')).toBe('SignInRefusedError');
    expect(await at(signIns.api.url, 'bea')).toBe('SignInRefusedError');
    expect(await at(signIns.api.url, 'bea', { host: 'FILES.beta.example:443' })).toBe('SessionData');
    expect(await at(`${origin}/t/tenant-a/graphql`, 'anna', { host: 'files.beta.example' })).toBe('SessionData');
    expect(await at(signIns.api.url, 'anna', { 'x-forwarded-host': 'files.beta.example' })).toBe('SessionData');
    expect(await at(`${origin}/t/no-such-site/graphql`, 'bea')).toBe(404);
    expect(await at(signIns.api.url, 'anna', { host: 'files.beta.example, x' })).toBe(400);
    for (const path of ['/t//graphql', '/t/tenant-b', '/t/tenant-b/health', '/t/a%2fb/graphql', '/t/a/b/graphql'])
      expect(await at(`${origin}${path}`, 'bea'), path).toBe(404);
  });

  test('a credential is good for its own site alone', async () => {
    const { origin } = new URL(signIns.api.url);
    const { sessionId } = await signIns.openImmutable();
    for (const credential of [sessionId, signIns.api.keys.a]) {
      expect((await signIns.viewer(credential, `${origin}/t/tenant-a/graphql`)).status).toBe(200);
      for (const site of ['tenant-b', 'no-such-site'])
        expect((await signIns.viewer(credential, `${origin}/t/${site}/graphql`)).status).toBe(401);
    }
  });
});

describe('GET /auth/validate', () => {
  const validate = async (credential: string | null, query = '', prefix = '') => {
    const headers: Record<string, string> = credential === null ? {} : { authorization: `Bearer ${credential}` };
    const response = await fetch(`${new URL(signIns.api.url).origin}${prefix}/auth/validate${query}`, { headers });
    // biome-ignore lint/suspicious/noExplicitAny: answers of any shape
    const body = (await response.json()) as any;
    return { status: response.status, body, cached: response.headers.get('cache-control') };
  };

  test('says who a credential is, 401 for none that is good, 403 for what it may not do', async () => {
    const { sessionId, expiresAt } = await signIns.openImmutable({ userName: 'ben' });
    expect(await validate(sessionId)).toEqual({
      status: 200,
      cached: 'no-store',
      body: {
        tenant: 'tenant-a',
        principal: 'ben',
        userId: signIns.userIds.ben,
        role: 'operator',
        scopes: ['*'],
        sessionId: expect.stringMatching(/^ses_/),
        apiKeyId: null,
        expiresAt,
      },
    });
    const key = await validate(
      await signIns.api.key(signIns.api.database.tenants.a, ['run:read']),
      '?permission=run:read',
      '/t/tenant-a',
    );
    expect(key.body).toMatchObject({ scopes: ['run:read'], sessionId: null, apiKeyId: expect.stringMatching(/^key_/) });
    expect(Date.parse(key.body.expiresAt)).toBeGreaterThan(Date.now());
    for (const bad of [null, 'garbage', newSessionText()])
      expect(await validate(bad)).toMatchObject({
        status: 401,
        body: { errors: [{ extensions: { code: 'UNAUTHENTICATED' } }] },
      });
    expect((await validate(sessionId, '', '/t/tenant-b')).status).toBe(401);
    expect((await validate(sessionId, '?permission=run:start')).status).toBe(200);
    expect((await validate(sessionId, '?permission=key:create')).status).toBe(403);
    expect((await validate(sessionId, '?permission=nonsense')).status).toBe(400);
    await signIns.close(sessionId);
    expect((await validate(sessionId)).body.errors[0].extensions.code).toBe('SESSION_ENDED');
  });
});

/** A POST whose Host can be chosen, which fetch does not let one do. */
async function send(url: string, body: string, headers: Record<string, string | string[]>) {
  // biome-ignore lint/suspicious/noExplicitAny: answers of any shape
  return new Promise<{ status: number; body: any }>((resolve, reject) => {
    const sent = httpRequest(
      url,
      { method: 'POST', headers: { 'content-type': 'application/json', ...headers } },
      (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => {
          text += chunk.toString();
        });
        response.on('end', () => resolve({ status: response.statusCode!, body: JSON.parse(text) }));
      },
    );
    sent.on('error', reject);
    sent.end(body);
  });
}
