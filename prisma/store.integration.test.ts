import { inspect } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, silentLog, type TestDatabase } from '../test/servers/database.ts';
import type { Sql } from './contract.ts';
import { openStore } from './store.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

const insertSecret = `insert into secret (tenant_id, name, ciphertext, digest) values ($1::uuid, $2::text, 'x'::bytea, 'd')`;
const names = async (sql: Sql): Promise<string[]> =>
  (await sql.query<{ name: string }>('select name from secret order by name')).map(({ name }) => name);

test('Prisma and SQL of one withTenant share its transaction', async () => {
  const { tenantId } = database.tenants.a;
  const seen = await database.store.withTenant(tenantId, async ({ db, sql }) => {
    await db.pipeline.create({ data: { tenantId, name: 'shared', liveVersionHash: 'h' } });
    const [row] = await sql.query<{ name: string }>(`select name from pipeline where name = 'shared'`);
    await sql.query(`update pipeline set live_version_hash = 'g' where name = 'shared'`);
    const found = await db.pipeline.findUniqueOrThrow({ where: { tenantId_name: { tenantId, name: 'shared' } } });
    return [row!.name, found.liveVersionHash];
  });
  expect(seen).toEqual(['shared', 'g']);
});

test('a look sees what its tenant sees, takes any text for a value, and changes nothing', async () => {
  const { a, b } = database.tenants;
  const odd = `it's; rollback; drop table secret; --\\ $1`;
  await database.store.sql(a.tenantId, (sql) => sql.query(insertSecret, [a.tenantId, odd]));
  const named = (tenantId: string) =>
    database.store.look(tenantId, 'select name from secret where name = $1::text', [odd]);
  expect(await named(a.tenantId)).toEqual([{ name: odd }]);
  expect(await named(b.tenantId)).toEqual([]);
  const forget = database.store.look(a.tenantId, 'delete from secret where name = $1::text returning name', [odd]);
  await expect(forget).rejects.toMatchObject({ kind: 'unavailable' });
  await expect(database.store.look(a.tenantId, 'select $1::uuid', ['no id'])).rejects.toMatchObject({
    kind: 'invalid',
  });
  expect(await named(a.tenantId)).toEqual([{ name: odd }]);
});

test('what fails leaves nothing, whether through Prisma or SQL', async () => {
  const { tenantId } = database.tenants.a;
  const failure = new Error('no');
  await expect(
    database.store.withTenant(tenantId, async ({ db, sql }) => {
      await db.pipeline.create({ data: { tenantId, name: 'half', liveVersionHash: 'h' } });
      await sql.query(insertSecret, [tenantId, 'half']);
      throw failure;
    }),
  ).rejects.toBe(failure);
  await expect(
    database.store.sql(tenantId, async (sql) => {
      await sql.query(insertSecret, [tenantId, 'half']);
      throw failure;
    }),
  ).rejects.toBe(failure);
  expect(await database.store.sql(tenantId, names)).not.toContain('half');
  expect(await database.store.withTenant(tenantId, ({ db }) => db.pipeline.count({ where: { name: 'half' } }))).toBe(0);
});

test('two hundred transactions of two tenants at once, over few connections, each see their own tenant only', async () => {
  const { a, b } = database.tenants;
  for (const { tenantId } of [a, b])
    await database.store.sql(tenantId, (sql) => sql.query(insertSecret, [tenantId, tenantId]));
  const look = async (index: number): Promise<void> => {
    const { tenantId } = index % 2 === 0 ? a : b;
    const foreign = tenantId === a.tenantId ? b.tenantId : a.tenantId;
    const seen =
      index % 3 === 0
        ? (await database.store.withTenant(tenantId, ({ db }) => db.secret.findMany())).map(({ name }) => name)
        : await database.store.sql(tenantId, names);
    expect(seen).toContain(tenantId);
    expect(seen).not.toContain(foreign);
    if (index % 5 === 0)
      await database.store.sql(tenantId, () => Promise.reject(new Error('no'))).catch(() => undefined);
  };
  await Promise.all(Array.from({ length: 200 }, (_, index) => look(index)));
});

test('a tenant id that is not a UUID never reaches the database', async () => {
  for (const bad of [
    '',
    "x'; drop table secret; --",
    `${database.tenants.a.tenantId} `,
    database.tenants.a.tenantId.toUpperCase(),
  ]) {
    await expect(database.store.sql(bad, names)).rejects.toMatchObject({ kind: 'invalid' });
    await expect(database.store.withTenant(bad, async () => 1)).rejects.toMatchObject({ kind: 'invalid' });
  }
});

test('errors of the database have a kind, the same through Prisma and SQL, and show no value', async () => {
  const { tenantId } = database.tenants.a;
  const { store } = database;
  await store.sql(tenantId, (sql) => sql.query(insertSecret, [tenantId, 'canary-value']));
  const cases: [string, unknown[], string][] = [
    [insertSecret, [tenantId, 'canary-value'], 'exists'],
    [
      `insert into pipeline_version (tenant_id, pipeline_id, hash, source, plan, published_by) values ($1, $1, '', '', '{}', $1)`,
      [tenantId],
      'conflict',
    ],
    [
      `insert into run (tenant_id, pipeline_name, status, trigger, workflow_id, created_by) values ($1, 'p', 'canary-value', 'manual', 'w', $1)`,
      [tenantId],
      'invalid',
    ],
    ['select $1::uuid', ['no uuid'], 'invalid'],
    ['select * from _prisma_migrations', [], 'forbidden'],
  ];
  for (const [statement, values, kind] of cases) {
    const plain = await store.sql(tenantId, (sql) => sql.query(statement, values)).catch((error: unknown) => error);
    const within = await store
      .withTenant(tenantId, ({ sql }) => sql.query(statement, values))
      .catch((error: unknown) => error);
    for (const error of [plain, within]) {
      expect(error, statement).toMatchObject({ name: 'WaybillError', kind });
      expect(inspect(error, { depth: 10 }), statement).not.toContain('canary-value');
    }
  }
  const prisma = store.withTenant(tenantId, ({ db }) =>
    db.secret.create({ data: { tenantId, name: 'canary-value', ciphertext: new Uint8Array(1), digest: 'd' } }),
  );
  const error = await prisma.catch((reason: unknown) => reason);
  expect(error).toMatchObject({ kind: 'exists', context: { table: 'secret' } });
  expect(inspect(error, { depth: 10 })).not.toContain('canary-value');
  const missing = store.withTenant(tenantId, ({ db }) => db.secret.findFirstOrThrow({ where: { name: 'nobody' } }));
  await expect(missing).rejects.toMatchObject({ kind: 'not-found' });
});

test('a database that does not answer is unavailable', async () => {
  const nowhere = 'postgresql://waybill_app:x@127.0.0.1:1/waybill';
  const store = openStore({ applicationUrl: nowhere, systemUrl: nowhere, log: silentLog });
  const { tenantId } = database.tenants.a;
  await expect(store.sql(tenantId, names)).rejects.toMatchObject({ kind: 'unavailable' });
  await expect(store.withTenant(tenantId, ({ db }) => db.secret.count())).rejects.toMatchObject({
    kind: 'unavailable',
  });
  await expect(store.system(names)).rejects.toMatchObject({ kind: 'unavailable' });
  await expect(store.listen('outbox', () => undefined)).rejects.toMatchObject({ kind: 'unavailable' });
  await expect(store.selfCheck()).rejects.toMatchObject({ kind: 'unavailable' });
  await store.close();
});

test('a wrong password is unauthenticated', async () => {
  const url = new URL(database.applicationUrl);
  url.password = 'wrong';
  const store = openStore({ applicationUrl: url.toString(), log: silentLog });
  await expect(store.sql(database.tenants.a.tenantId, names)).rejects.toMatchObject({ kind: 'unauthenticated' });
  await store.close();
});

test('a process without the system role says so', async () => {
  const store = openStore({ applicationUrl: database.applicationUrl, log: silentLog });
  await expect(store.system(names)).rejects.toMatchObject({ kind: 'unsupported' });
  await store.close();
});

test('a listener hears what is committed, and nothing once it is stopped', async () => {
  const { store } = database;
  let heard = 0;
  const stop = await store.listen('outbox', () => {
    heard += 1;
  });
  const tell = () => store.system((sql) => sql.query(`select pg_notify('outbox', '')`));
  await tell();
  await expect.poll(() => heard).toBe(1);
  await store
    .system(async (sql) => {
      await sql.query(`select pg_notify('outbox', '')`);
      throw new Error('no');
    })
    .catch(() => undefined);
  await tell();
  await expect.poll(() => heard).toBe(2);
  await stop();
  await tell();
  expect(heard).toBe(2);
});

test('a listener whose connection is killed comes back, and calls once because it may have missed something', async () => {
  const { store } = database;
  let heard = 0;
  const stop = await store.listen('elsewhere', () => {
    heard += 1;
  });
  await database.asOwner(
    `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'waybill listener' and datname = current_database()`,
  );
  await expect.poll(() => heard, { timeout: 10_000 }).toBe(1);
  await store.system((sql) => sql.query(`select pg_notify('elsewhere', '')`));
  await expect.poll(() => heard).toBe(2);
  await stop();
});
