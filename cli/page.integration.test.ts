import { afterAll, beforeAll, expect, test } from 'vitest';
import { limits } from '../api/limits.ts';
import { rowId } from '../schema/names.ts';
import { startTestApi, type TestApi } from '../test/servers/api.ts';
import { writeHistory } from '../test/servers/history.ts';
import { type ApiClient, createClient } from './client.ts';
import { type DeliveryView, deliveriesQuery } from './commands/transfers.ts';
import { readPage, searchPage } from './page.ts';

let api: TestApi;
let client: ApiClient;
/** The oldest delivery, behind more rows than one page of a search looks at. */
const oldest = '/out/ORD_1.csv';

beforeAll(async () => {
  api = await startTestApi(null);
  client = createClient(api.url, api.keys.a);
  const { tenantId } = api.database.tenants.a;
  const history = await writeHistory(api.database.store, api.database.tenants.a, { path: oldest });
  await api.database.store.sql(tenantId, (sql) =>
    sql.query(
      `insert into delivery (tenant_id, transfer_id, run_id, batch, delivery_key, state, source_endpoint, source_path, source_size, target_endpoint, target_path)
        select $1::uuid, $2::uuid, $3::uuid, 1, '\\x00', 'planned', 'a', '/many/' || n || '.csv', 1, 'b', '/many/' || n || '.csv' from generate_series(1, $4::int) n`,
      [tenantId, rowId('transfer', history.transfer), rowId('run', history.run), limits.globRows + 2_000],
    ),
  );
});
afterAll(async () => {
  await api.close();
});

const requestOf = (glob: string) => ({ query: deliveriesQuery, variables: { filter: { glob } } });

test('a search goes on over pages that hold nothing until it finds what is far behind', async () => {
  const one = await readPage<DeliveryView>(client, { first: 20 }, requestOf('**/ORD_1.csv'));
  expect(one).toMatchObject({ items: [], next: expect.any(String) });
  const found = await searchPage<DeliveryView>(client, { first: 20 }, requestOf('**/ORD_1.csv'));
  expect(found.items.map(({ source }) => source.path)).toEqual([oldest]);
  expect(found.next).toBeNull();
});

test('a search gives as many as asked for, and goes on behind them', async () => {
  const first = await searchPage<DeliveryView>(client, { first: 30 }, requestOf('*777.csv'));
  expect(first.items).toHaveLength(30);
  const rest = await searchPage<DeliveryView>(client, { first: 100, after: first.next! }, requestOf('*777.csv'));
  expect(rest.next).toBeNull();
  const ids = new Set([...first.items, ...rest.items].map(({ id }) => id));
  expect(ids.size).toBe((limits.globRows + 2_000) / 1_000);
});
