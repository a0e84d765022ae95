import { afterEach, beforeEach, expect, test } from 'vitest';
import { waybill } from '../test/commandLine.ts';
import { createTestDatabase, silentLog, type TestDatabase } from '../test/servers/database.ts';
import { openStore } from './store.ts';

let database: TestDatabase;
beforeEach(async () => {
  database = await createTestDatabase();
});
afterEach(() => database.drop());

const opened = `create policy generous on run for select using (true)`;
const gaps: [string, string, RegExp][] = [
  [
    'has row-level security switched off',
    'alter table run disable row level security',
    /table run has no row-level security/,
  ],
  ['spares its owner', 'alter table run no force row level security', /table run does not force row-level security/],
  ['has no policy', 'drop policy tenant_wall on run', /table run has no policy on its tenant/],
  ['has another policy that opens it', opened, /table run has a policy that opens it: generous/],
  [
    'checks nothing on writing',
    'alter policy tenant_wall on run with check (true)',
    /table run has no policy on its tenant/,
  ],
  ['is new and was forgotten', 'create table extra (tenant_id uuid, id uuid)', /table extra has no row-level security/],
  [
    'is the list of tenants itself',
    'alter table tenant disable row level security',
    /table tenant has no row-level security/,
  ],
  [
    'is shown by a view with the rights of its owner',
    'create view all_runs as select * from run; grant select on all_runs to waybill_app',
    /view all_runs shows rows of every tenant/,
  ],
  [
    'was copied into a materialized view',
    'create materialized view old_runs as select tenant_id from run; grant select on old_runs to waybill_app',
    /view old_runs shows rows of every tenant/,
  ],
];

test('a migrated database passes', async () => {
  await database.store.selfCheck();
});

test.each(gaps)('a table that %s is named', async (_, breakIt, message) => {
  await database.asOwner(breakIt);
  await expect(database.store.selfCheck()).rejects.toMatchObject({
    kind: 'forbidden',
    message: expect.stringMatching(message),
  });
});

test('every gap is named at once', async () => {
  await database.asOwner('alter table run disable row level security; alter table secret no force row level security');
  await expect(database.store.selfCheck()).rejects.toThrow(/table run .*; table secret /);
});

test('a policy of the system role for one table does not open it to the application, and passes', async () => {
  await database.asOwner('create policy another on run for update to waybill_system using (true)');
  await database.store.selfCheck();
});

test('views that the wall holds for, or that the application may not read, pass', async () => {
  await database.asOwner('create view own_runs with (security_invoker = true) as select * from run');
  await database.asOwner('grant select on own_runs to waybill_app; create view of_owner as select * from run');
  await database.store.selfCheck();
});

test('the owner is refused as the application role', async () => {
  const store = openStore({ applicationUrl: database.ownerUrl, log: silentLog });
  await expect(store.selfCheck()).rejects.toThrow(/role waybill_owner is a superuser/);
  await store.close();
});

test.each([
  ['BYPASSRLS', 'create role sly login bypassrls password $$x$$', /role sly has BYPASSRLS/],
  [
    'membership in an owner',
    'create role sly login password $$x$$; create role landlord; grant landlord to sly; alter table run owner to landlord',
    /role sly owns run/,
  ],
  [
    'membership in one that has BYPASSRLS',
    'create role sly login noinherit password $$x$$; create role landlord bypassrls; grant landlord to sly',
    /role sly may become landlord/,
  ],
  [
    'membership in a superuser',
    'create role sly login noinherit password $$x$$; create role landlord superuser; grant landlord to sly',
    /role sly may become landlord/,
  ],
  [
    'the rights of the system role',
    'create role sly login password $$x$$; grant waybill_app, waybill_system to sly',
    /role sly has the rights of waybill_system/,
  ],
])('a role with %s is refused', async (_, make, message) => {
  await database.asOwner(make);
  const url = new URL(database.applicationUrl);
  url.username = 'sly';
  url.password = 'x';
  const store = openStore({ applicationUrl: url.toString(), log: silentLog });
  try {
    await expect(store.selfCheck()).rejects.toThrow(message);
  } finally {
    await store.close();
    await database.asOwner('alter table run owner to waybill_owner');
    await database.asOwner('drop role if exists sly');
    await database.asOwner('drop role if exists landlord');
  }
});

test('a database without tables is refused', async () => {
  await database.asOwner('drop schema public cascade; create schema public');
  await expect(database.store.selfCheck()).rejects.toThrow(/there are no tables/);
});

test('the system role is refused as the application role', async () => {
  const store = openStore({ applicationUrl: database.systemUrl, log: silentLog });
  await expect(store.selfCheck()).rejects.toThrow(/role waybill_system has the rights of waybill_system/);
  await store.close();
});

test.each(['api', 'worker'])(
  '`waybill %s` does not start on a gap, and says which, and what to do',
  async (service) => {
    const environment = {
      DATABASE_URL: database.ownerUrl,
      DATABASE_SYSTEM_URL: database.systemUrl,
      TEMPORAL_ADDRESS: '127.0.0.1:1',
      WAYBILL_MASTER_KEY: Buffer.alloc(32, 1).toString('base64'),
    };
    await database.asOwner('alter table run disable row level security');
    const { code, stdout, stderr } = await waybill([service], { environment });
    expect([code, stdout], stderr).toEqual([4, '']);
    expect(stderr).toMatch(
      /role waybill_owner is a superuser; table run has no row-level security\. .*waybill migrate/,
    );
  },
);
