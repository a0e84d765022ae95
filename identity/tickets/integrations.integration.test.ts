import { afterAll, beforeAll, expect, test } from 'vitest';
import { refusedTicket, type TestIntegrations, testIntegrations, testSite } from '../../test/integrations.ts';
import { createTestDatabase, type TestDatabase } from '../../test/servers/database.ts';
import type { IntegrationKey } from './integrationKeys.ts';
import { loadIntegrationKeys } from './integrationKeys.ts';
import { disableIntegration, insertIntegration, rotateKey } from './integrations.ts';
import { makeTicket } from './makeTicket.ts';
import { proveTicket } from './proveTicket.ts';
import { remindOfRotations } from './upkeep.ts';

const minuteMs = 60_000;
const dayMs = 86_400_000;

let database: TestDatabase;
let integrations: TestIntegrations;
let legacy: IntegrationKey;
beforeAll(async () => {
  database = await createTestDatabase();
  integrations = testIntegrations(database);
  legacy = await integrations.integrate('acme-portal', true);
});
afterAll(() => database.drop());

const tenantId = () => database.tenants.a.tenantId;
const prove = (ticket: string, now?: Date) => proveTicket({ ...database, ...integrations }, tenantId(), ticket, now);
const ticketFor = async (key: IntegrationKey, user = 'ACME\\Jane', now = new Date()) =>
  (await makeTicket(key, { user, now })).text;

test('keys are taken in base64 that is not canonical, as the document’s own sample is', async () => {
  const sample = {
    keyBase64: 'AFA3wdfEuCrdFw8QaHFzN6LRXaBoCTHxcWnqNImp7g3=',
    ivBase64: 'JHnmhMkTjkl8fHqYx/l7bA==',
  };
  const kept = await database.store.sql(tenantId(), (sql) =>
    insertIntegration(
      sql,
      integrations.secretBox,
      tenantId(),
      { name: 'sample', site: testSite, legacy: true, ...sample },
      new Date(),
    ),
  );
  expect(kept).toMatchObject({ keyBase64: 'AFA3wdfEuCrdFw8QaHFzN6LRXaBoCTHxcWnqNImp7g0=', ivBase64: sample.ivBase64 });
});

test('keys are stored sealed, and open in no other row', async () => {
  const [row] = await database.asOwner<{ text: string }>(
    `select string_agg(encode(ciphertext, 'hex'), ' ') as text from integration_key`,
  );
  expect(row!.text).not.toContain(legacy.key.toString('hex'));
  expect(row!.text).not.toContain(Buffer.from(legacy.key.toString('base64')).toString('hex'));
});

test('keys of which at most two are good: the new one and the one before it, until its overlap is over', async () => {
  const start = new Date();
  const first = await integrations.integrate('rotating', true, undefined, start);
  const rotate = async (overlapHours?: number) => {
    const { kid, ended } = await database.store.sql(tenantId(), (sql) =>
      rotateKey(sql, integrations.secretBox, tenantId(), { name: 'rotating', overlapHours }, start),
    );
    const keys = await database.store.sql(tenantId(), (sql) =>
      loadIntegrationKeys(sql, integrations.secretBox, tenantId(), start),
    );
    const ours = keys.filter(({ integration }) => integration === 'rotating');
    return { key: ours.find((key) => key.kid === kid)!, ended, good: ours.map((key) => key.kid) };
  };
  const second = await rotate();
  expect(second).toMatchObject({ ended: [], good: [first.kid, second.key.kid] });
  await prove(await ticketFor(first, 'first'));
  await prove(await ticketFor(second.key, 'second'));
  const third = await rotate(1);
  expect(third).toMatchObject({ ended: [first.kid], good: [second.key.kid, third.key.kid] });
  await expect(prove(await ticketFor(first, 'too-late'))).rejects.toMatchObject(refusedTicket);
  const later = new Date(start.getTime() + 61 * minuteMs);
  await expect(prove(await ticketFor(second.key, 'late', later), later)).rejects.toMatchObject(refusedTicket);
  const fourth = await rotate(0);
  expect(fourth.good).toEqual([fourth.key.kid]);
});

test('keys are reminded of and rotated for 200 days without one ticket refused, and those that ended are destroyed', async () => {
  const { tenantId } = database.tenants.b;
  const start = Date.now();
  const at = (day: number) => new Date(start + day * dayMs);
  const { secretBox } = integrations;
  const keysAt = (now: Date) =>
    database.store.sql(tenantId, async (sql) =>
      (await loadIntegrationKeys(sql, secretBox, tenantId, now)).filter(({ integration }) => integration === 'long'),
    );
  const told = () =>
    database.asOwner<{ left: number; kid: string }>(
      `select (data->>'daysLeft')::int as left, data->>'kid' as kid from audit_event
        where type = 'integration.rotation-due' and data->>'integration' = 'long' order by id`,
    );
  // What the partner signs with, and what it got at a rotation and takes into use six days later.
  let held = await integrations.integrate('long', true, database.tenants.b, at(0));
  let next: { key: IntegrationKey; fromDay: number } | undefined;
  let rotations = 0;
  for (let day = 0; day <= 200; day++) {
    await remindOfRotations(database.store, at(day));
    await remindOfRotations(database.store, at(day));
    const last = (await told()).at(-1);
    if (last?.left === 1 && last.kid === held.kid && next === undefined) {
      const { kid } = await database.store.sql(tenantId, (sql) =>
        rotateKey(sql, secretBox, tenantId, { name: 'long' }, at(day)),
      );
      next = { key: (await keysAt(at(day))).find((key) => key.kid === kid)!, fromDay: day + 6 };
      rotations++;
    }
    if (next?.fromDay === day) {
      held = next.key;
      next = undefined;
    }
    const ticket = await ticketFor(held, `day${day}`, at(day));
    expect(await proveTicket({ ...database, secretBox }, tenantId, ticket, at(day))).toMatchObject({
      userName: `day${day}`,
    });
    expect((await keysAt(at(day))).length).toBeLessThanOrEqual(2);
  }
  expect(rotations).toBe(2);
  expect((await told()).map(({ left }) => left)).toEqual([60, 30, 7, 1, 60, 30, 7, 1]);
  const [stored] = await database.asOwner<{ keys: string }>(
    `select count(*) as keys from integration_key k join integration i on i.id = k.integration_id where i.name = 'long'`,
  );
  expect(stored!.keys).toBe('1');
});

test('keys of an integration that is disabled are not reminded of, and an old key that nobody rotated goes on', async () => {
  const old = new Date(Date.now() - 200 * dayMs);
  const key = await integrations.integrate('forgotten', true, database.tenants.a, old);
  await integrations.integrate('retired', true, database.tenants.a, old);
  await database.store.sql(tenantId(), (sql) => disableIntegration(sql, tenantId(), 'retired', new Date()));
  await remindOfRotations(database.store);
  const told = await database.asOwner(
    `select data->>'integration' as name, (data->>'daysLeft')::int as left from audit_event
      where type = 'integration.rotation-due' and data->>'integration' in ('forgotten', 'retired')`,
  );
  expect(told).toEqual([{ name: 'forgotten', left: 0 }]);
  expect(await prove(await ticketFor(key, 'still'))).toMatchObject({ userName: 'still' });
});
