import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { rowId } from '../schema/names.ts';
import { startTestApi, type TestApi } from '../test/servers/api.ts';
import { writeHistory } from '../test/servers/history.ts';
import { startTemporal, type TestTemporal } from '../test/servers/temporal.ts';

let temporal: TestTemporal;
let api: TestApi;
let history: Awaited<ReturnType<typeof writeHistory>>;
beforeAll(async () => {
  temporal = await startTemporal();
  api = await startTestApi(temporal);
  history = await writeHistory(api.database.store, api.database.tenants.a);
});
afterAll(async () => {
  await api?.close();
  await temporal?.stop();
});

async function resend(id: string, reason = 'lost', idempotencyKey: string = randomUUID()) {
  const query = `mutation($input: ResendDeliveryInput!) { resendDelivery(input: $input) {
    __typename ... on UserError { code message path } ... on StartRunPayload { run { id trigger retryOf { id } } } } }`;
  const { body } = await api.graphql(api.keys.a, query, { input: { id, reason, idempotencyKey } });
  expect(body.errors, JSON.stringify(body.errors)).toBeUndefined();
  return body.data.resendDelivery;
}
const set = (delivery: string, values: string) =>
  api.database.asOwner(`update delivery set ${values} where id = $1`, [rowId('delivery', delivery)]);

test('a resend of a delivered file is a run of its own for that delivery, with who asked and why, once for a key', async () => {
  await set(history.delivery, `state = 'settled', error_kind = null`);
  const key = randomUUID();
  const first = await resend(history.delivery, 'lost', key);
  expect((await resend(history.delivery, 'lost', key)).run.id).toBe(first.run.id);
  expect(first.run).toMatchObject({ trigger: 'resend', retryOf: { id: history.run } });
  const [row] = await api.database.asOwner<{ retry_deliveries: string[] }>(
    'select retry_deliveries from run where id = $1',
    [rowId('run', first.run.id)],
  );
  expect(row!.retry_deliveries).toEqual([rowId('delivery', history.delivery)]);
  const events = await api.database.asOwner(
    `select data, principal_id, delivery_id from audit_event where type = 'delivery.resent' and run_id = $1`,
    [rowId('run', first.run.id)],
  );
  expect(events).toEqual([
    {
      data: { pipeline: 'orders', reason: 'lost' },
      principal_id: api.database.tenants.a.principalId,
      delivery_id: rowId('delivery', history.delivery),
    },
  ]);
});

test('a resend needs a reason, and a file that was delivered', async () => {
  const refused = async (values: string) => {
    await set(history.delivery, values);
    const { code, message } = await resend(history.delivery);
    return `${code} ${message}`;
  };
  expect(await refused(`state = 'failed'`)).toMatch(/^NOTHING_TO_RESEND .*never delivered; retry its run/);
  expect(await refused(`state = 'cancelled'`)).toMatch(/^NOTHING_TO_RESEND .*never delivered; retry its run/);
  expect(await refused(`state = 'copying'`)).toMatch(/^NOTHING_TO_RESEND .*not been delivered yet/);
  expect(await refused(`state = 'published', error_kind = null`)).toMatch(/^NOTHING_TO_RESEND .*under way/);
  expect(await refused(`state = 'skipped', duplicate_of = id`)).toContain(`${history.delivery} had delivered the file`);
  await set(history.delivery, `state = 'skipped', duplicate_of = null`);
  expect(await resend(history.delivery, ' ')).toMatchObject({
    __typename: 'InvalidInputError',
    path: ['input', 'reason'],
  });
  expect((await resend(history.run)).__typename).toBe('NotFoundError');
  expect((await resend(history.delivery)).__typename).toBe('StartRunPayload');
});
