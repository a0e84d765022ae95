import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { eventLikePattern } from '../schema/events.ts';
import type { Json } from '../schema/plan.ts';
import { createTestDatabase, type TestDatabase } from '../test/servers/database.ts';
import { enqueueWebhookMessage, type NewEvent, recordEvents } from './record.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());
beforeEach(() => database.asOwner('truncate audit_event, webhook_delivery, webhook'));

const tenantOf = (name: 'a' | 'b'): string => database.tenants[name].tenantId;
const event = (type: string, more: Partial<NewEvent> = {}): NewEvent => ({
  type,
  actor: { principalId: null },
  data: {},
  ...more,
});
const record = (events: NewEvent[], tenant: 'a' | 'b' = 'a') =>
  database.store.sql(tenantOf(tenant), (sql) => recordEvents(sql, tenantOf(tenant), events));
const eventTypes = async () =>
  (await database.asOwner<{ type: string }>('select type from audit_event order by id')).map(({ type }) => type);
interface Message extends Record<string, unknown> {
  webhook: string;
  message_id: string;
  body: string;
  state: string;
}
const messages = () =>
  database.asOwner<Message>(
    'select w.name as webhook, d.* from webhook_delivery d join webhook w on w.id = d.webhook_id order by d.id',
  );

async function addWebhook(
  name: string,
  filters: string[],
  { tenant = 'a', disabled = false }: { tenant?: 'a' | 'b'; disabled?: boolean } = {},
) {
  await database.asOwner(
    `insert into webhook (tenant_id, name, url, events, event_patterns, secret_ref, content_hash, disabled_at)
     values ($1, $2, 'https://partner.example', $3, $4, 's', 'h', $5)`,
    [tenantOf(tenant), name, filters, filters.map(eventLikePattern), disabled ? new Date() : null],
  );
}

test('events keep their order and everything that they say', async () => {
  const { tenantId, principalId } = database.tenants.a;
  const types = Array.from({ length: 100 }, (_, index) => `orders.number-${index}`);
  await record(types.map((type) => event(type)));
  expect(await eventTypes()).toEqual(types);
  await database.asOwner('truncate audit_event');
  const data: Json = { list: [1, null, 'ü'], nested: { big: 9_007_199_254_740_991 }, text: "'; drop table run; --" };
  await record([
    event('run.failed', { outcome: 'failure', actor: { principalId, applicationId: 10 }, data, dedupeKey: 'k' }),
  ]);
  const [row] = await database.asOwner('select * from audit_event');
  expect(row).toMatchObject({
    ...{ tenant_id: tenantId, type: 'run.failed', outcome: 'failure', principal_id: principalId, application_id: 10 },
    ...{ session_id: null, run_id: null, data, dedupe_key: 'k' },
  });
});

test('every enabled webhook of the tenant whose filter matches gets one message, and no other', async () => {
  await addWebhook('orders', ['orders.*', 'orders.received']);
  await addWebhook('failures', ['run.failed']);
  await addWebhook('all', ['*']);
  await addWebhook('asleep', ['*'], { disabled: true });
  await addWebhook('foreign', ['*'], { tenant: 'b' });
  // An underscore or a dot of a filter is itself, not a pattern.
  await addWebhook('literal', ['orders_received', 'ordersxreceived']);
  await record([event('orders.received', { data: { id: 7 } }), event('run.started')]);
  const sent = await messages();
  expect(sent.map(({ webhook, state }) => `${webhook} ${state}`).sort()).toEqual([
    'all pending',
    'all pending',
    'orders pending',
  ]);
  const [first, second] = await database.asOwner<{ id: string; created_at: Date }>(
    'select id, created_at from audit_event order by id',
  );
  const hex = first!.id.replaceAll('-', '');
  const ofOrders = sent.find(({ webhook }) => webhook === 'orders')!;
  expect(ofOrders.message_id).toBe(`msg_${hex}`);
  expect(JSON.parse(ofOrders.body)).toEqual({
    type: 'orders.received',
    timestamp: first!.created_at.toISOString(),
    data: { event: `evt_${hex}`, id: 7 },
  });
  expect(sent.some(({ message_id }) => message_id === `msg_${second!.id.replaceAll('-', '')}`)).toBe(true);
});

test('event and messages appear with the change they tell of, or not at all', async () => {
  await addWebhook('all', ['*']);
  let heard = 0;
  const stop = await database.store.listen('outbox', () => {
    heard += 1;
  });
  const { tenantId } = database.tenants.a;
  const change = (fail: boolean) =>
    database.store.withTenant(tenantId, async ({ db, sql }) => {
      await db.pipeline.create({ data: { tenantId, name: `orders-${fail}`, liveVersionHash: 'h' } });
      await recordEvents(sql, tenantId, [event('pipeline.published')]);
      if (fail) throw new Error('no');
    });
  await expect(change(true)).rejects.toThrow('no');
  expect([await eventTypes(), await messages()]).toEqual([[], []]);
  await change(false);
  expect([await eventTypes(), (await messages()).length]).toEqual([['pipeline.published'], 1]);
  await expect.poll(() => heard).toBe(1);
  await stop();
});

test('the same dedupe key writes and sends once: in a batch, one after the other, at the same time', async () => {
  await addWebhook('all', ['*']);
  const one = event('delivery.published', { dedupeKey: 'delivery/1' });
  await record([one, one]);
  await record([one, event('delivery.published', { dedupeKey: 'delivery/2' })]);
  await Promise.all(
    Array.from({ length: 10 }, () => record([event('delivery.published', { dedupeKey: 'delivery/3' })])),
  );
  expect(await eventTypes()).toHaveLength(3);
  expect(await messages()).toHaveLength(3);
  await record([one], 'b');
  expect(await eventTypes()).toHaveLength(4);
});

test('events without a key are never taken for the same', async () => {
  await record([event('run.started'), event('run.started')]);
  expect(await eventTypes()).toHaveLength(2);
});

test('without events nothing is asked of the database', async () => {
  const untouched = { query: () => Promise.reject(new Error('asked')) };
  await recordEvents(untouched, tenantOf('a'), []);
});

test('what PostgreSQL cannot store in JSON is replaced, not refused', async () => {
  await record([event('run.failed', { data: { message: 'a\u0000b\ud800c' } })]);
  const [row] = await database.asOwner<{ data: { message: string } }>('select data from audit_event');
  expect(row!.data.message).toBe('a\ufffdb\ufffdc');
});

test('an event that makes too large a body is kept whole, and sent as its ids', async () => {
  await addWebhook('all', ['*']);
  await record([event('run.failed', { data: { text: 'ü'.repeat(15_000) } })]);
  const [stored] = await database.asOwner<{ id: string; data: { text: string } }>('select id, data from audit_event');
  expect(stored!.data.text).toHaveLength(15_000);
  const [{ body }] = (await messages()) as [Message];
  expect(JSON.parse(body)).toMatchObject({ data: { event: `evt_${stored!.id.replaceAll('-', '')}`, truncated: true } });
  expect(Buffer.byteLength(body)).toBeLessThan(20_000);
});

test('data that is no map is sent as it is', async () => {
  await addWebhook('all', ['*']);
  for (const data of ['text', 7, null, [1, 2]]) await record([event('orders.received', { data })]);
  expect((await messages()).map(({ body }) => (JSON.parse(body) as { data: Json }).data)).toEqual([
    'text',
    7,
    null,
    [1, 2],
  ]);
});

test('an event cannot be written into another tenant, nor name its run', async () => {
  const { a, b } = database.tenants;
  const into = database.store.sql(a.tenantId, (sql) => recordEvents(sql, b.tenantId, [event('run.started')]));
  await expect(into).rejects.toMatchObject({ kind: 'forbidden' });
  const [run] = await database.asOwner<{ id: string }>(
    `insert into run (tenant_id, pipeline_name, status, trigger, workflow_id, created_by) values ($1, 'p', 'running', 'manual', 'w', $1) returning id`,
    [b.tenantId],
  );
  await expect(record([event('run.started', { runId: run!.id })])).rejects.toMatchObject({ kind: 'conflict' });
  await record([event('run.started', { runId: run!.id })], 'b');
});

test('a message of a pipeline goes to the matching webhooks once, and tells how many they are', async () => {
  await addWebhook('orders', ['orders.*']);
  await addWebhook('all', ['*']);
  await addWebhook('failures', ['run.failed']);
  await addWebhook('foreign', ['*'], { tenant: 'b' });
  const { tenantId } = database.tenants.a;
  const send = () =>
    database.store.sql(tenantId, (sql) =>
      enqueueWebhookMessage(sql, tenantId, {
        type: 'orders.received',
        data: { files: 3 },
        runId: null,
        messageId: 'msg_1',
      }),
    );
  expect(await send()).toBe(2);
  expect(await send()).toBe(2);
  const sent = await messages();
  expect(sent.map(({ webhook }) => webhook).sort()).toEqual(['all', 'orders']);
  expect(JSON.parse(sent[0]!.body)).toEqual({
    type: 'orders.received',
    timestamp: expect.stringMatching(/^\d{4}-.*Z$/),
    data: { files: 3 },
  });
});

test('a message of 20 kB is refused and one below is not', async () => {
  const { tenantId } = database.tenants.a;
  const send = (characters: number) =>
    database.store.sql(tenantId, (sql) =>
      enqueueWebhookMessage(sql, tenantId, {
        type: 'orders.received',
        data: 'x'.repeat(characters),
        runId: null,
        messageId: 'm',
      }),
    );
  await expect(send(20_000)).rejects.toMatchObject({ kind: 'invalid' });
  expect(await send(19_900)).toBe(0);
});

test('the outbox is told only when there is something in it', async () => {
  let heard = 0;
  const stop = await database.store.listen('outbox', () => {
    heard += 1;
  });
  await record([event('run.started')]);
  await addWebhook('all', ['*']);
  await record(Array.from({ length: 50 }, () => event('run.started')));
  await expect.poll(() => heard).toBe(1);
  await stop();
});
