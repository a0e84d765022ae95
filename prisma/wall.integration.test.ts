import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase, type TestTenant } from '../test/servers/database.ts';

/** What a row of each tenant table needs besides its tenant, in an order that satisfies the foreign keys. */
const rowOf: Record<string, (tenant: TestTenant) => Record<string, unknown>> = {
  principal: () => ({ id: fixed(1), kind: 'user', name: 'someone', role: 'operator' }),
  principal_password: (tenant) => ({ principal_id: tenant.principalId, hash: 'h' }),
  application: () => ({ id: 1001, name: 'portal' }),
  integration: () => ({ id: fixed(13), name: 'acme', site: 'files.acme.example' }),
  integration_key: () => ({ integration_id: fixed(13), kid: 'k', ciphertext: '\\x06' }),
  ticket_use: () => ({ hash: '\\x07', expires_at: 'tomorrow' }),
  tenant_host: () => ({ host: 'files.acme.example' }),
  tenant_key: () => ({ version: 99, wrapped: '\\x08', master_key_id: 'm' }),
  credential_index: () => ({ hash: '\\x01', kind: 'api_key', credential_id: fixed(2) }),
  principal_grant: (tenant) => ({
    principal_id: tenant.principalId,
    action: 'use',
    target: 'acme',
    created_by: tenant.principalId,
  }),
  api_key: (tenant) => ({
    principal_id: tenant.principalId,
    name: 'key',
    key_id: 'k',
    hash: '\\x02',
    expires_at: 'tomorrow',
  }),
  session: (tenant) => ({
    id: fixed(3),
    principal_id: tenant.principalId,
    application_id: 10,
    kind: 'concurrent',
    expires_at: 'tomorrow',
  }),
  connector_endpoint: () => ({ id: fixed(11), name: 'acme', connector: 'sftp', config: '{}', content_hash: 'h' }),
  endpoint_lease: () => ({ endpoint_id: fixed(11), owner: fixed(12), lease_until: 'tomorrow' }),
  endpoint_breaker: () => ({ endpoint_id: fixed(11), credential: 'c', error_kind: 'timeout', error_message: 'm' }),
  endpoint_check: () => ({ endpoint_id: fixed(11), ok: true, report: '{}' }),
  secret: () => ({ name: 'acme', ciphertext: '\\x03', digest: 'd' }),
  pipeline: () => ({ id: fixed(4), name: 'orders', live_version_hash: 'h' }),
  pipeline_version: () => ({
    id: fixed(5),
    pipeline_id: fixed(4),
    hash: 'h',
    source: '',
    plan: '{}',
    published_by: fixed(1),
  }),
  run: () => ({
    id: fixed(6),
    version_id: fixed(5),
    session_id: fixed(3),
    pipeline_name: 'orders',
    status: 'running',
    ...runFacts,
  }),
  run_hold: () => ({ run_id: fixed(6), endpoint_id: fixed(11), reason: 'paused' }),
  step_write: () => ({ run_id: fixed(6), step_key: 's', endpoint_id: fixed(11), folder: '/a' }),
  file_set_item: () => ({ set_id: fixed(7), ordinal: 1, run_id: fixed(6), endpoint: 'acme', path: '/a', size: 1 }),
  transfer: () => ({
    id: fixed(8),
    run_id: fixed(6),
    step: 's',
    step_key: 's',
    options: '{}',
    status: 'running',
    ...ends,
  }),
  delivery: () => ({
    transfer_id: fixed(8),
    run_id: fixed(6),
    batch: 0,
    delivery_key: '\\x04',
    state: 'planned',
    ...ends,
    ...paths,
  }),
  delivery_claim: () => ({ delivery_key: '\\x04', delivery_id: fixed(9), owner: 'w', lease_until: 'tomorrow' }),
  webhook: () => ({ id: fixed(10), name: 'hook', url: 'https://x.example', secret_ref: 's', content_hash: 'h' }),
  webhook_delivery: () => ({
    webhook_id: fixed(10),
    message_id: 'm',
    type: 't',
    body: 'secret body',
    state: 'pending',
  }),
  audit_event: () => ({ type: 'run.started', outcome: 'success', data: '{}', run_id: fixed(6) }),
  idempotency_key: () => ({ operation: 'startRun', key: 'k', request_hash: '\\x05', answer: '{}' }),
};
const runFacts = { trigger: 'manual', workflow_id: 'w', created_by: fixed(1) };
const ends = { source_endpoint: 'acme', target_endpoint: 'landing' };
const paths = { source_path: '/a', source_size: 1, target_path: '/b' };
/** Tables whose every column that names another row must hold the tenant of that row. */
const children = [
  'principal_grant',
  'principal_password',
  'integration_key',
  'api_key',
  'session',
  'pipeline_version',
  'run',
  'transfer',
  'delivery',
  'webhook_delivery',
  'audit_event',
];
const tables = Object.keys(rowOf);

/** Every table has one row of tenant B, and none of tenant A but its owner. No attack below may change that. */
let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
  for (const table of tables) await insert(table, database.tenants.b, database.asOwner);
});
afterAll(() => database.drop());

test('every table with a tenant is tried here', async () => {
  const found = await database.asOwner<{ name: string }>(
    `select table_name as name from information_schema.columns where table_schema = 'public' and column_name = 'tenant_id' order by 1`,
  );
  expect(found.map(({ name }) => name)).toEqual([...tables].sort());
});

describe.each(tables)('%s', (table) => {
  test("tenant A sees and counts nothing of tenant B's", async () => {
    const { a, b } = database.tenants;
    const count = (tenant: TestTenant) =>
      database.store.sql(tenant.tenantId, (sql) =>
        sql.query<{ rows: number }>(`select count(*)::int as rows from ${table} where tenant_id = $1::uuid`, [
          b.tenantId,
        ]),
      );
    expect((await count(b))[0]!.rows).toBeGreaterThan(0);
    expect((await count(a))[0]!.rows).toBe(0);
  });

  test('a connection without a tenant sees nothing, whether it never had one or had one before', async () => {
    const client = new pg.Client({ connectionString: database.applicationUrl });
    await client.connect();
    const seen = async () => (await client.query(`select from ${table}`)).rowCount;
    expect(await seen()).toBe(0);
    await client.query(`begin; select set_config('app.tenant_id', '${database.tenants.b.tenantId}', true)`);
    expect(await seen()).toBeGreaterThan(0);
    await client.query('commit');
    expect(await seen()).toBe(0);
    await client.end();
  });

  test("tenant A cannot change, move or delete tenant B's rows", async () => {
    const { a, b } = database.tenants;
    const before = await contents(table, b);
    for (const attack of [
      `update ${table} set tenant_id = '${a.tenantId}'`,
      `update ${table} set tenant_id = tenant_id`,
      `delete from ${table} where tenant_id = '${b.tenantId}'`,
    ]) {
      const answer = await database.store
        .sql(a.tenantId, (sql) => sql.query(`${attack} returning 1`))
        .catch((error: unknown) => error);
      // Either the privilege is missing, or there is no row to see; A's own owner may touch itself.
      if (Array.isArray(answer)) expect(answer.length).toBeLessThanOrEqual(table === 'principal' ? 1 : 0);
      else expect(answer).toMatchObject({ kind: 'forbidden' });
    }
    expect(await contents(table, b)).toEqual(before);
  });

  test("tenant A cannot write a row into tenant B's part", async () => {
    const { a, b } = database.tenants;
    const before = await contents(table, b);
    const attempt = database.store.sql(a.tenantId, (sql) =>
      insert(table, b, (statement, values) => sql.query(statement, values)),
    );
    await expect(attempt).rejects.toMatchObject({ kind: 'forbidden' });
    expect(await contents(table, b)).toEqual(before);
  });
});

test.each(children)('a row of tenant A in %s cannot name a row of tenant B', async (table) => {
  const { a, b } = database.tenants;
  // Everything that the row names exists, but for tenant B only.
  const row = { ...rowOf[table]!(b) };
  delete row.id;
  const attempt = database.store.sql(a.tenantId, (sql) =>
    insertRow(table, a, row, (statement, values) => sql.query(statement, values)),
  );
  await expect(attempt).rejects.toMatchObject({ kind: 'conflict' });
});

describe('the keys of the tables', () => {
  test('hold the tenant first, in every table that has one: what is of two tenants never meets', async () => {
    const keys = await database.asOwner<{ key: string; first: string | null }>(`
      select i.indexrelid::regclass::text as key,
        (select a.attname from pg_attribute a where a.attrelid = i.indrelid and a.attnum = i.indkey[0]) as first
      from pg_index i join pg_attribute t on t.attrelid = i.indrelid and t.attname = 'tenant_id'
      join pg_class c on c.oid = i.indrelid and c.relnamespace = 'public'::regnamespace
      where i.indisunique`);
    expect(keys.length).toBeGreaterThanOrEqual(tables.length);
    // The hash of a credential is looked up before a tenant is known.
    expect(keys.filter(({ first }) => first !== 'tenant_id').map(({ key }) => key)).toEqual(['credential_index_pkey']);
  });

  test('lead from a row to rows of its own tenant alone', async () => {
    const references = await database.asOwner<{ name: string; columns: string[]; referenced: string[] }>(`
      select c.conname::text as name,
        array(select a.attname::text from unnest(c.conkey) k join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k) as columns,
        array(select a.attname::text from unnest(c.confkey) k join pg_attribute a on a.attrelid = c.confrelid and a.attnum = k) as referenced
      from pg_constraint c where c.contype = 'f' and c.connamespace = 'public'::regnamespace`);
    expect(references.length).toBeGreaterThan(10);
    for (const { name, columns, referenced } of references)
      expect([columns.indexOf('tenant_id'), referenced.indexOf('tenant_id')], name).toEqual([0, 0]);
  });

  test('are asked for in every table but those that are of no tenant', async () => {
    const others = await database.asOwner<{ name: string }>(`
      select table_name as name from information_schema.tables t where table_schema = 'public' and table_type = 'BASE TABLE'
        and not exists (select from information_schema.columns c
          where c.table_schema = 'public' and c.table_name = t.table_name and c.column_name = 'tenant_id') order by 1`);
    expect(others.map(({ name }) => name)).toEqual(['_prisma_migrations', 'tenant']);
  });
});

test('only the index of credentials shows the application a row of another tenant, and the role has no other right', async () => {
  const policies = await database.asOwner<{ table: string }>(`
    select polrelid::regclass::text as table from pg_policy
    where polname <> 'tenant_wall' and not polroles = array[to_regrole('waybill_system')::oid]`);
  expect(policies).toEqual([{ table: 'credential_index' }]);
  const rights = await database.asOwner<{ right: string }>(`
    select distinct privilege_type as right from information_schema.role_table_grants
    where grantee in ('waybill_app', 'PUBLIC') and table_schema = 'public' order by 1`);
  expect(rights.map(({ right }) => right)).toEqual(['DELETE', 'INSERT', 'SELECT', 'UPDATE']);
});

test('a tenant that is none shows nothing: the empty one no row, and what is no id fails', async () => {
  const client = new pg.Client({ connectionString: database.applicationUrl });
  await client.connect();
  for (const setting of ['', '00000000-0000-0000-0000-000000000000']) {
    await client.query(`select set_config('app.tenant_id', $1, false)`, [setting]);
    for (const table of tables) expect((await client.query(`select from ${table}`)).rowCount, table).toBe(0);
  }
  await client.query(`select set_config('app.tenant_id', $1, false)`, [`' or true --`]);
  for (const table of tables) await expect(client.query(`select from ${table}`), table).rejects.toThrow(/uuid/);
  await client.end();
});

test('tenant A sees its own name only, and cannot found a tenant', async () => {
  const { a } = database.tenants;
  const seen = await database.store.sql(a.tenantId, (sql) => sql.query('select id from tenant'));
  expect(seen).toEqual([{ id: a.tenantId }]);
  const found = database.store.sql(a.tenantId, (sql) => sql.query(`insert into tenant (name) values ('intruder')`));
  await expect(found).rejects.toMatchObject({ kind: 'forbidden' });
});

test('what is evidence can be added to, but not changed or deleted', async () => {
  const { b } = database.tenants;
  for (const statement of [
    `update audit_event set outcome = 'failure'`,
    'delete from audit_event',
    'truncate audit_event',
    `update pipeline_version set source = 'x'`,
    'delete from pipeline_version',
    'delete from delivery',
    'delete from run',
  ]) {
    const attempt = database.store.sql(b.tenantId, (sql) => sql.query(statement));
    await expect(attempt, statement).rejects.toMatchObject({ kind: 'forbidden' });
  }
});

test('a credential is found across tenants by its whole hash, and by nothing else', async () => {
  const { b: owner, a: other } = database.tenants;
  const [row] = await database.store.sql(owner.tenantId, (sql) =>
    sql.query<{ hash: Buffer }>(`select hash from credential_index where kind = 'api_key'`),
  );
  expect(await database.store.findCredential('api_key', row!.hash)).toMatchObject({ tenantId: owner.tenantId });
  expect(await database.store.findCredential('session', row!.hash)).toBeUndefined();
  expect(await database.store.findCredential('api_key', row!.hash.subarray(0, -1))).toBeUndefined();
  const seen = await database.store.sql(other.tenantId, async (sql) => {
    await sql.query(`select set_config('app.credential', '', true)`);
    return sql.query('select from credential_index where hash = $1::bytea', [row!.hash]);
  });
  expect(seen).toHaveLength(0);
});

test('the system role reads what the outbox and the sweeps need, and no secret, plan, input or ledger', async () => {
  const system = (statement: string) => database.store.system((sql) => sql.query(statement));
  expect(await system('select tenant_id, body from webhook_delivery')).toHaveLength(1);
  expect(await system('select tenant_id, id, status from run')).toHaveLength(1);
  for (const statement of [
    'select from secret',
    'select inputs from run',
    'select plan from pipeline_version',
    'select from delivery',
    'select from audit_event',
    'select from api_key',
    'select from credential_index',
    'select from principal',
    `update run set status = 'failed'`,
    `update webhook_delivery set body = 'forged'`,
    `update webhook set url = 'https://evil.example'`,
    'delete from webhook_delivery',
    'delete from credential_index',
    `update tenant set name = 'x'`,
  ]) {
    await expect(system(statement), statement).rejects.toMatchObject({ kind: 'forbidden' });
  }
  expect(await system('delete from idempotency_key returning 1'), 'a key of today').toHaveLength(0);
});

type Execute = (statement: string, values: unknown[]) => Promise<unknown>;

function insert(table: string, tenant: TestTenant, execute: Execute): Promise<unknown> {
  return insertRow(table, tenant, rowOf[table]!(tenant), execute);
}

async function insertRow(
  table: string,
  tenant: TestTenant,
  row: Record<string, unknown>,
  execute: Execute,
): Promise<unknown> {
  const columns = ['tenant_id', ...Object.keys(row)];
  const parameters = columns.map((_, index) => `$${index + 1}`).join(', ');
  return execute(`insert into ${table} (${columns.join(', ')}) values (${parameters})`, [
    tenant.tenantId,
    ...Object.values(row),
  ]);
}

function contents(table: string, tenant: TestTenant): Promise<unknown[]> {
  return database.asOwner(`select * from ${table} t where tenant_id = $1 order by t::text`, [tenant.tenantId]);
}

function fixed(ordinal: number): string {
  return `01900000-0000-7000-8000-${String(ordinal).padStart(12, '0')}`;
}
