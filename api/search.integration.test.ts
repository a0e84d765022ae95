import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { rowId } from '../schema/names.ts';
import { startTestApi, type TestApi } from '../test/servers/api.ts';
import type { TestTenant } from '../test/servers/database.ts';
import { writeHistory } from '../test/servers/history.ts';
import { limits } from './limits.ts';
import { candidateStatement } from './operations/deliverySearch.ts';

const rowsPerTenant = 20_000;

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi(null);
  for (const tenant of [api.database.tenants.a, api.database.tenants.b]) await writeDeliveries(tenant);
  await api.database.asOwner('analyze delivery');
});
afterAll(async () => {
  await api.close();
});

/** ORD_1.csv is the oldest; names go on over days, as a partner's do. */
async function writeDeliveries(tenant: TestTenant): Promise<void> {
  const history = await writeHistory(api.database.store, tenant);
  await api.database.store.sql(tenant.tenantId, (sql) =>
    sql.query(
      `insert into delivery (tenant_id, transfer_id, run_id, batch, delivery_key, state, source_endpoint, source_path, source_size, target_endpoint, target_path, created_at)
        select $1::uuid, $2::uuid, $3::uuid, 0, '\\x02', 'settled', 'partner', '/out/ORD_' || n || '.csv', 1, 'landing', '/in/2026/' || n % 28 || '/ORD_' || n || '.csv', now() - make_interval(secs => 30000 - n)
        from generate_series(1, $4::int) n`,
      [tenant.tenantId, rowId('transfer', history.transfer), rowId('run', history.run), rowsPerTenant],
    ),
  );
}

async function find(glob: string): Promise<string[]> {
  const { body } = await api.graphql(
    api.keys.a,
    'query($glob: String) { deliveries(filter: { glob: $glob }) { edges { node { source { path } } } } }',
    { glob },
  );
  expect(body.errors).toBeUndefined();
  return body.data.deliveries.edges.map(({ node }: { node: { source: { path: string } } }) => node.source.path);
}

/** The indexes of the plan that PostgreSQL chooses for the application's role, within the wall between tenants. */
async function indexesFor(prefix: string): Promise<string[]> {
  const { tenantId } = api.database.tenants.a;
  const values = [tenantId, prefix, ...Array<null>(8).fill(null), limits.globBatch];
  const rows = await api.database.store.sql(tenantId, (sql) =>
    sql.query<{ 'QUERY PLAN': string }>(`explain ${candidateStatement}`, values),
  );
  const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
  return [...plan.matchAll(/Index (?:Only )?Scan.*? (?:on|using) (delivery_\w+)/g)].map((match) => match[1]!).sort();
}

describe('"where is ORD_1?" among many deliveries', () => {
  test('is answered by its name in any folder, although it is the oldest', async () => {
    for (const glob of ['**/ORD_1.csv', 'ORD_1.csv', '/out/ORD_1.csv', '/in/**/ORD_1.csv', '*RD_1.*'])
      expect(await find(glob), glob).toEqual(['/out/ORD_1.csv']);
  });

  test('is answered by the beginning of its name, newest first', async () => {
    expect((await find('/out/ORD_*')).slice(0, 2)).toEqual(['/out/ORD_20000.csv', '/out/ORD_19999.csv']);
    expect(await find('/out/ORD_123?.csv')).toHaveLength(10);
    expect(await find('/out/ord_1*')).toEqual([]);
  });
});

describe('a search under row-level security', () => {
  test('looks up what the glob begins with in the indexes of both paths', async () => {
    for (const prefix of ['/out/ORD_1234', '/in/2026/7/ORD_7', '/nothing/of/the/kind'])
      expect(await indexesFor(prefix), prefix).toEqual(
        // Beside them the planner may take one that begins with the tenant.
        expect.arrayContaining(['delivery_source_path_idx', 'delivery_target_path_idx']),
      );
  });

  test('walks through time from the newest when the glob begins with nothing', async () => {
    expect(await indexesFor('/')).toEqual(['delivery_tenant_id_created_at_id_idx']);
  });
});
