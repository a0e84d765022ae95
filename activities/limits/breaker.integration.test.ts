import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { clearBreaker } from '../../prisma/endpointBreakers.ts';
import { findEndpoint } from '../../prisma/endpoints.ts';
import { WaybillError } from '../../schema/errors.ts';
import { createTestDatabase, type TestDatabase } from '../../test/servers/database.ts';
import { addEndpoint } from '../../test/transfer/world.ts';
import { type Breaker, breakerOf } from './breaker.ts';
import { holdNow } from './hold.ts';

const name = 'acme-sftp';
const refused = new WaybillError('unavailable', 'acme.example:22 refuses connections', { endpoint: name });
let database: TestDatabase;
let tenantId: string;

beforeAll(async () => {
  database = await createTestDatabase();
  tenantId = database.tenants.a.tenantId;
});
afterAll(() => database?.drop());
beforeEach(async () => {
  await addEndpoint(database.store, tenantId, name, 'local', { root: '/' }, {}, {});
  const { id } = await stored();
  await database.store.sql(tenantId, (sql) => clearBreaker(sql, tenantId, id));
});

const stored = async () => (await database.store.sql(tenantId, (sql) => findEndpoint(sql, tenantId, name)))!;

/** As a worker has it that opened the endpoint as it is now. */
async function worker(): Promise<Breaker> {
  const { id: endpointId, revision: credential } = await stored();
  return breakerOf(database.store, { tenantId, endpointId, name, credential });
}

const standing = async () => (await stored()).standing;
async function holdOfNow() {
  const { revision, standing: now } = await stored();
  return holdNow(name, now, revision);
}
const failTimes = async (breaker: Breaker, times: number) => {
  for (let nth = 0; nth < times; nth++) await breaker.failed(refused);
};
const timeHasCome = () =>
  database.asOwner(`update endpoint_breaker set open_until = now() - interval '1 second', trial_until = null`);

/** How long it is held from now on, to the nearest 5 s. */
async function heldSeconds(): Promise<number> {
  const { breaker, nowMs } = await standing();
  return Math.round((breaker!.openUntilMs! - nowMs) / 5_000) * 5;
}

test('the failures of all workers in a row are counted together, the fifth opens, and a success between begins anew', async () => {
  const [one, other] = [await worker(), await worker()];
  await failTimes(one, 2);
  await failTimes(other, 2);
  expect(await holdOfNow()).toBeNull();
  await one.worked();
  await failTimes(other, 4);
  expect(await holdOfNow()).toBeNull();
  await one.failed(refused);
  expect(await holdOfNow()).toMatchObject({
    endpoint: name,
    reason: expect.stringMatching(
      /^which failed 5 times in a row and is tried again at .*; the last time: acme\.example/,
    ),
  });
});

test('it is open for 15 s, and twice as long after each trial that fails, up to 10 minutes; it is told of once', async () => {
  const breaker = await worker();
  await failTimes(breaker, 5);
  const seconds = [await heldSeconds()];
  // What was under way when it opened.
  await failTimes(breaker, 3);
  expect(await heldSeconds()).toBe(15);
  for (let nth = 0; nth < 7; nth++) {
    await timeHasCome();
    await breaker.failed(refused);
    seconds.push(await heldSeconds());
  }
  expect(seconds).toEqual([15, 30, 60, 120, 240, 480, 600, 600]);
  const told = await database.asOwner(`select from audit_event where type = 'endpoint.breaker-opened'`);
  expect(told).toHaveLength(2);
});

test('of many who would try whether it is back one may, and another when that one came to nothing', async () => {
  const workers = [await worker(), await worker(), await worker()];
  await failTimes(workers[0]!, 5);
  expect(await workers[1]!.takeTrial()).toBe(false);
  await timeHasCome();
  expect(await holdOfNow()).toBe('trial');
  const taken = await Promise.all(workers.map((breaker) => breaker.takeTrial()));
  expect(taken.filter(Boolean)).toHaveLength(1);
  expect(await holdOfNow()).toMatchObject({ reason: expect.stringContaining('is being tried') });
  await workers[taken.indexOf(true)]!.releaseTrial();
  expect(await workers[2]!.takeTrial()).toBe(true);
  await workers[2]!.worked();
  expect((await standing()).breaker).toBeNull();
});

test('another credential is not held for the failures of the one before, and begins at none', async () => {
  const before = await worker();
  await failTimes(before, 5);
  expect(await holdOfNow()).not.toBeNull();
  await addEndpoint(database.store, tenantId, name, 'local', { root: '/other' });
  expect(await holdOfNow()).toBeNull();
  const after = await worker();
  await failTimes(after, 4);
  expect(await holdOfNow()).toBeNull();
  await after.failed(refused);
  expect(await holdOfNow()).not.toBeNull();
});
