import { readdirSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { roles } from '../identity/permissions.ts';
import { deliveryStates, runStatuses, transferStatuses } from '../schema/plan.ts';
import { createTestDatabase, silentLog, type TestDatabase } from '../test/servers/database.ts';
import { type LoginRole, migrate, schemaScript } from './migrate.ts';
import { openStore } from './store.ts';

/** Roles of their own, so that the shared ones of the test run keep their passwords. */
const applicationRole: LoginRole = { name: 'migrate_test_app', password: "first 'quoted' \\ pässword" };
const systemRole: LoginRole = { name: 'migrate_test_system', password: 'first' };

const migrations = readdirSync(new URL('migrations', import.meta.url), { withFileTypes: true }).filter((entry) =>
  entry.isDirectory(),
).length;

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  for (const { name } of [applicationRole, systemRole]) await database.asOwner(`drop role if exists ${name}`);
  await database.drop();
});

const emptied = () => database.asOwner('drop schema public cascade; create schema public');
const run = () => migrate({ ownerUrl: database.ownerUrl, applicationRole, systemRole });
const storeWith = (application: LoginRole, system: LoginRole) => {
  const url = (role: LoginRole): string => {
    const changed = new URL(database.ownerUrl);
    changed.username = role.name;
    changed.password = encodeURIComponent(role.password);
    return changed.toString();
  };
  return openStore({ applicationUrl: url(application), systemUrl: url(system), log: silentLog });
};

test('the migrations and schema.prisma make the same tables, keys and indexes', async () => {
  const migrated = await shape();
  await emptied();
  await database.asOwner(await schemaScript(database.ownerUrl, null));
  const described = await shape();
  expect(described.length).toBeGreaterThan(100);
  expect(migrated).toEqual(described);
});

test('a migration that PostgreSQL refuses is named with its reason', async () => {
  await emptied();
  await database.asOwner('create table tenant (id int)');
  // Prisma itself refuses to begin in a database that holds tables of somebody else.
  await expect(run()).rejects.toMatchObject({ message: expect.stringMatching(/not empty|already exists/) });
});

test('an empty database is migrated once, the second time nothing is done', async () => {
  await emptied();
  expect(await run()).toHaveLength(migrations);
  const before = await database.asOwner('select * from _prisma_migrations');
  expect(await run()).toEqual([]);
  expect(await database.asOwner('select * from _prisma_migrations')).toEqual(before);
});

test('four at once on an empty database all succeed, and one of them does it', async () => {
  await emptied();
  const answers = await Promise.all([run(), run(), run(), run()]);
  expect(answers.flat()).toHaveLength(migrations);
});

test('login roles of any name work, pass the self-check, and get a new password the next time', async () => {
  await emptied();
  await run();
  const store = storeWith(applicationRole, systemRole);
  await store.selfCheck();
  await store.close();
  const next = { ...applicationRole, password: 'second' };
  await migrate({ ownerUrl: database.ownerUrl, applicationRole: next, systemRole });
  const changed = storeWith(next, systemRole);
  await changed.selfCheck();
  await changed.close();
  const old = storeWith(applicationRole, systemRole);
  await expect(old.selfCheck()).rejects.toMatchObject({ kind: 'unauthenticated' });
  await old.close();
});

test('a history that is not ours is refused before anything is changed', async () => {
  await emptied();
  await run();
  const damage: [string, RegExp][] = [
    [`update _prisma_migrations set checksum = 'x'`, /was edited after it was applied/],
    [
      `insert into _prisma_migrations (id, checksum, migration_name, finished_at, applied_steps_count) values ('x', 'x', '99990101000000_later', now(), 1)`,
      /99990101000000_later is unknown/,
    ],
    [`update _prisma_migrations set finished_at = null`, /failed before/],
  ];
  for (const [statement, message] of damage) {
    await emptied();
    await run();
    await database.asOwner(statement);
    await expect(run()).rejects.toMatchObject({ kind: 'conflict', message: expect.stringMatching(message) });
  }
});

test('an owner who is none is refused, and a database that is not there is unavailable', async () => {
  await emptied();
  const nowhere = migrate({ ownerUrl: 'postgresql://x:x@127.0.0.1:1/x', applicationRole, systemRole });
  await expect(nowhere).rejects.toMatchObject({ kind: 'unavailable' });
  const guess = new URL(database.ownerUrl);
  guess.password = 'wrong';
  await expect(migrate({ ownerUrl: guess.toString(), applicationRole, systemRole })).rejects.toMatchObject({
    kind: 'unauthenticated',
  });
});

test('the states that the database allows are the words of schema/', async () => {
  await emptied();
  await run();
  const allowed = async (constraint: string): Promise<string[]> => {
    const [row] = await database.asOwner<{ text: string }>(
      `select pg_get_constraintdef(oid) as text from pg_constraint where conname = $1`,
      [constraint],
    );
    return [...row!.text.matchAll(/'([^']+)'::text/g)].map((match) => match[1]!);
  };
  expect(await allowed('run_status')).toEqual([...runStatuses]);
  expect(await allowed('transfer_status')).toEqual([...transferStatuses]);
  expect(await allowed('delivery_state')).toEqual([...deliveryStates]);
  expect(await allowed('principal_role')).toEqual([...roles]);
});

/** Columns, keys and indexes, as PostgreSQL describes them; what only the migrations can say (checks, policies) left out. */
/** Without the indexes of a part of the rows or of an expression: schema.prisma cannot describe those. */
async function shape(): Promise<string[]> {
  const rows = await database.asOwner<{ line: string }>(`
    select concat_ws(' ', table_name, column_name, udt_name, datetime_precision, is_nullable, column_default) as line
    from information_schema.columns where table_schema = 'public' and table_name <> '_prisma_migrations'
    union all select pg_get_indexdef(indexrelid) from pg_index where indrelid::regclass::text <> '_prisma_migrations'
    and indpred is null and indexprs is null and indrelid in (select oid from pg_class where relnamespace = 'public'::regnamespace)
    union all select concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid)) from pg_constraint
    where contype in ('p', 'f', 'u') and connamespace = 'public'::regnamespace and conrelid::regclass::text <> '_prisma_migrations'
    order by line`);
  return rows.map(({ line }) => line);
}
