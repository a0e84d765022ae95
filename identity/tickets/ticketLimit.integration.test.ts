import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/servers/database.ts';
import { ticketRefused } from './refusal.ts';
import { createTicketLimit } from './ticketLimit.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

const tenantId = () => database.tenants.a.tenantId;
const refuse = () => Promise.reject(ticketRefused('content'));

test('the limit refuses an address that fails too often, tells of it once, and lets others in', async () => {
  const allowed = { windowSeconds: 60, ofAddress: 3, ofSite: 1_000 };
  const limits = [createTicketLimit(database, allowed), createTicketLimit(database, allowed)];
  const from = (address: string | undefined) => ({ tenantId: tenantId(), address });
  for (const limit of limits) {
    for (let failure = 0; failure < 3; failure++)
      await expect(limit(from('198.51.100.1'), refuse)).rejects.toMatchObject({ kind: 'unauthenticated' });
    await expect(limit(from('::ffff:198.51.100.1'), async () => 'looked at')).rejects.toMatchObject({
      kind: 'rate-limited',
      context: { retryAfterMs: expect.any(Number) },
    });
    expect(await limit(from('198.51.100.2'), async () => 'looked at')).toBe('looked at');
    expect(await limit({ ...from('198.51.100.1'), tenantId: database.tenants.b.tenantId }, async () => 1)).toBe(1);
  }
  expect(await alarms('address')).toEqual([{ address: '198.51.100.1', failures: 3 }]);
});

test('the limit of a site lets in addresses that have not failed', async () => {
  const limit = createTicketLimit(database, { windowSeconds: 60, ofAddress: 100, ofSite: 5 });
  const from = (number: number) => ({ tenantId: tenantId(), address: `2001:db8:0:${number}::1` });
  for (let number = 0; number < 5; number++)
    await expect(limit(from(number), refuse)).rejects.toMatchObject({ kind: 'unauthenticated' });
  await expect(limit(from(0), async () => 1)).rejects.toMatchObject({ kind: 'rate-limited' });
  expect(await limit(from(9), async () => 'looked at')).toBe('looked at');
  expect(await alarms('site')).toEqual([{ address: null, failures: 5 }]);
});

test('the limit is not got around by coming at once: no more are looked at than may fail, and good ones all are', async () => {
  const limit = createTicketLimit(database, { windowSeconds: 60, ofAddress: 5, ofSite: 1_000 });
  const from = (address: string) => ({ tenantId: tenantId(), address });
  const together = async (address: string, isGood: (index: number) => boolean) => {
    let looked = 0;
    const tries = Array.from({ length: 60 }, (_, index) =>
      limit(from(address), async () => {
        looked++;
        // As long as a look into the database takes.
        await database.store.sql(tenantId(), (sql) => sql.query('select 1'));
        return isGood(index) ? 'in' : refuse();
      }).catch(({ kind }: { kind: string }) => kind),
    );
    const answers = await Promise.all(tries);
    const count = (answer: string) => answers.filter((one) => one === answer).length;
    return { looked, in: count('in'), unauthenticated: count('unauthenticated'), limited: count('rate-limited') };
  };
  const none = { in: 0, unauthenticated: 0, limited: 0 };
  expect(await together('192.0.2.1', () => false)).toEqual({ ...none, looked: 5, unauthenticated: 5, limited: 55 });
  expect(await together('192.0.2.2', () => true)).toEqual({ ...none, looked: 60, in: 60 });
  const mixed = { ...none, looked: 60, in: 57, unauthenticated: 3 };
  expect(await together('192.0.2.3', (index) => index % 20 !== 0)).toEqual(mixed);
});

const alarms = (of: string) =>
  database.asOwner(
    `select data->>'address' as address, (data->>'failures')::int as failures from audit_event
      where type = 'ticket.refused-often' and data->>'of' = $1`,
    [of],
  );
