import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeTicket } from '../identity/tickets/makeTicket.ts';
import { proveTicket } from '../identity/tickets/proveTicket.ts';
import { testIntegrations } from '../test/integrations.ts';
import { createTestDatabase, type TestDatabase } from '../test/servers/database.ts';
import { sweep } from './reconcile.ts';

const dayMs = 86_400_000;

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

test('the sweep reminds of keys that are to be rotated, and forgets tickets that were used', async () => {
  const integrations = testIntegrations(database);
  const old = new Date(Date.now() - 31 * dayMs);
  const key = await integrations.integrate('acme-portal', true, database.tenants.a, old);
  const { text } = await makeTicket(key, { user: 'jane', now: old });
  await proveTicket({ ...database, ...integrations }, database.tenants.a.tenantId, text, old);
  await sweep(database);
  await sweep(database);
  expect(
    await database.asOwner(
      `select data->>'integration' as name, data->>'daysLeft' as left from audit_event where type = 'integration.rotation-due'`,
    ),
  ).toEqual([{ name: 'acme-portal', left: '59' }]);
  expect(await database.asOwner('select count(*)::int as uses from ticket_use')).toEqual([{ uses: 0 }]);
});
