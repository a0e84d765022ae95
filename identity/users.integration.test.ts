import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../test/servers/database.ts';
import { checkApplication } from './applications.ts';
import { findOrCreateUserByEmail, findUserByName, findUserByNumber, lockAccounts } from './users.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

const inA = <Result>(work: Parameters<TestDatabase['store']['sql']>[1]) =>
  database.store.sql(database.tenants.a.tenantId, work) as Promise<Result>;
const byEmail = (emailAddress: string, names = { firstName: 'Jane', lastName: 'Doe' }) => {
  const { tenantId } = database.tenants.a;
  const actor = { principalId: null };
  return database.store.sql(tenantId, (sql) =>
    findOrCreateUserByEmail(sql, tenantId, { emailAddress, ...names }, actor),
  );
};

describe('a user who comes with an e-mail address', () => {
  test('is made at the first time, may only send files in, and is found by it in any case from then on', async () => {
    const made = await byEmail('Jane.Doe@Example.com');
    expect(made).toEqual({
      principalId: expect.any(String),
      userNumber: expect.any(Number),
      name: 'jane.doe@example.com',
      role: 'uploader',
      disabled: false,
    });
    expect(await byEmail('jane.doe@EXAMPLE.com', { firstName: 'Other', lastName: 'Names' })).toEqual(made);
    const rows = await database.asOwner(
      `select email, first_name, last_name, kind from principal where name = 'jane.doe@example.com'`,
    );
    expect(rows).toEqual([{ email: 'Jane.Doe@Example.com', first_name: 'Jane', last_name: 'Doe', kind: 'user' }]);
    const events = await database.asOwner(`select data from audit_event where type = 'user.created'`);
    expect(events).toHaveLength(1);
  });

  test('is made once when ten come at once', async () => {
    const { tenantId } = database.tenants.a;
    const waiting = `select count(*)::int as count from pg_locks l join pg_database d on d.oid = l.database
      where l.locktype = 'advisory' and not l.granted and d.datname = current_database()`;
    // All ten have looked for the address before one of them goes on.
    const crowd = await database.store.sql(tenantId, async (sql) => {
      await lockAccounts(sql, tenantId);
      const coming = Promise.allSettled(Array.from({ length: 10 }, () => byEmail('crowd@example.com')));
      while ((await database.asOwner<{ count: number }>(waiting))[0]!.count < 10);
      return { coming };
    });
    const users = await crowd.coming;
    expect(users.map(({ status }) => status)).toEqual(Array(10).fill('fulfilled'));
    const rows = await database.asOwner(`select 1 from principal where email = 'crowd@example.com'`);
    expect(rows).toHaveLength(1);
  });

  test('gets another name when somebody has that of the address, and is never taken for them', async () => {
    await database.asOwner(
      `insert into principal (tenant_id, kind, name, role) values ($1, 'user', 'Boss@example.com', 'owner')`,
      [database.tenants.a.tenantId],
    );
    expect(await byEmail('boss@example.com')).toMatchObject({ name: 'boss@example.com-2', role: 'uploader' });
    const [one, other] = [await byEmail('a+b@example.com'), await byEmail('a/b@example.com')];
    expect([one.name, other.name]).toEqual(['a-b@example.com', 'a-b@example.com-2']);
    expect((await byEmail('+@ü')).name).toBe('user');
  });

  test.each([
    '',
    'jane',
    '@example.com',
    'jane@',
    'a b@example.com',
    'jane@example.com\0',
    'jane@exa\nmple.com',
    `${'a'.repeat(251)}@b.c`,
  ])('is refused as %j', async (emailAddress) => {
    await expect(byEmail(emailAddress)).rejects.toMatchObject({ kind: 'invalid', context: { field: 'emailAddress' } });
  });

  test('is refused with names that hold control characters', async () => {
    for (const field of ['firstName', 'lastName'])
      await expect(
        byEmail('new@example.com', { firstName: 'Jane', lastName: 'Doe', [field]: 'J\u001b[2J' }),
      ).rejects.toMatchObject({ kind: 'invalid', context: { field } });
  });
});

test('a user is found by name in any case and by number, in their own tenant only, and says when disabled', async () => {
  const { tenantId } = database.tenants.a;
  const made = await byEmail('found@example.com');
  const byName = (tenant: string, name: string) =>
    database.store.sql(tenant, (sql) => findUserByName(sql, tenant, name));
  expect(await byName(tenantId, 'FOUND@example.com')).toEqual(made);
  expect(await inA((sql) => findUserByNumber(sql, tenantId, made.userNumber))).toEqual(made);
  expect(await byName(database.tenants.b.tenantId, 'found@example.com')).toBeUndefined();
  for (const name of ['found@example.co_', '%', 'nobody']) expect(await byName(tenantId, name), name).toBeUndefined();
  await database.asOwner(`update principal set disabled_at = now() where id = $1`, [made.principalId]);
  expect(await byName(tenantId, 'found@example.com')).toMatchObject({ disabled: true });
});

describe('an application', () => {
  const check = (id: number, tenant: 'a' | 'b' = 'a') => {
    const { tenantId } = database.tenants[tenant];
    return database.store.sql(tenantId, (sql) => checkApplication(sql, tenantId, id));
  };
  const refused = { kind: 'invalid', context: { code: 'APPLICATION_REFUSED', field: 'applicationId' } };

  test('of our own is signed in with, but for the one that runs act under', async () => {
    for (const id of [20, 21, 22, 30, 31]) await check(id);
    await expect(check(10)).rejects.toMatchObject(refused);
  });

  test.each([-1, 0, 1, 999, 1000, 2 ** 31 - 1, 2 ** 31, 1000.5, Number.NaN])('%d is refused', async (id) => {
    await expect(check(id)).rejects.toMatchObject(refused);
  });

  test('of a customer is signed in with while it is registered and not disabled, in its tenant', async () => {
    await database.asOwner(`insert into application (tenant_id, id, name) values ($1, 1001, 'billing')`, [
      database.tenants.a.tenantId,
    ]);
    await check(1001);
    await expect(check(1001, 'b')).rejects.toMatchObject(refused);
    await database.asOwner('update application set disabled_at = now()');
    await expect(check(1001)).rejects.toMatchObject({ ...refused, message: expect.stringContaining('disabled') });
  });
});
