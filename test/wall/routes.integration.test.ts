import { afterAll, beforeAll, expect, test } from 'vitest';
import { routes } from '../../api/routes.ts';
import { ask } from '../matrix/asking.ts';
import { startTestApi, type TestApi } from '../servers/api.ts';
import { digestsOf, type FilledTenant, fillTenant } from './filledTenant.ts';

let api: TestApi;
let origin: string;
let ofA: FilledTenant;
beforeAll(async () => {
  api = await startTestApi(null);
  origin = new URL(api.url).origin;
  ofA = await fillTenant(api, api.database.tenants.a, api.keys.a, `${origin}/t/tenant-a/graphql`);
});
afterAll(() => api?.close());

const methods = ['GET', 'POST'] as const;
const query = '{ viewer { tenant } pipelines { edges { node { id name } } } }';

test.each(routes)(
  '$path shows tenant B nothing of tenant A, at its own place and at the site of A',
  async ({ path, rule, ofSite }) => {
    const before = await digestsOf(api.database, ofA.tenant.tenantId);
    for (const method of methods) {
      const own = await ask(`${origin}${path}`, { method, query, credential: api.keys.b });
      const text = JSON.stringify(own.body);
      expect(
        ofA.canaries.filter((canary) => text.includes(canary)),
        `${method} ${path}`,
      ).toEqual([]);
      expect(text, `${method} ${path}`).not.toContain('tenant-a');
      const atA = await ask(`${origin}/t/tenant-a${path}`, { method, query, credential: api.keys.b });
      expect(atA, `${method} /t/tenant-a${path}`).toMatchObject(
        ofSite ? { status: 401, code: 'UNAUTHENTICATED' } : { status: 404 },
      );
    }
    expect(rule === 'anybody' || rule === 'token', 'what is anybody’s, or the operator’s, is of no site').toBe(!ofSite);
    expect(await digestsOf(api.database, ofA.tenant.tenantId)).toEqual(before);
  },
);

test('a site that is none and the site of another tenant are one answer to who holds a good credential', async () => {
  for (const { path } of routes.filter(({ ofSite }) => ofSite)) {
    const [other, none] = await Promise.all(
      ['tenant-a', 'tenant-z'].map((site) =>
        ask(`${origin}/t/${site}${path}`, { method: 'GET', credential: api.keys.b }),
      ),
    );
    expect(other, path).toEqual(none);
  }
});
