import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createApiKey, revokeApiKey, verifyApiKey } from '../identity/apiKeys.ts';
import { publicId, rowId } from '../schema/names.ts';
import { startTestApi, type TestApi } from '../test/servers/api.ts';
import { writeHistory } from '../test/servers/history.ts';
import { startTemporal, type TestTemporal } from '../test/servers/temporal.ts';
import type { ApiContext } from './context.ts';
import { limits } from './limits.ts';
import { createLoaders } from './loaders.ts';
import { watchRun } from './operations/watchRun.ts';
import { createRead } from './reading.ts';

let temporal: TestTemporal;
let api: TestApi;
beforeAll(async () => {
  temporal = await startTemporal();
  api = await startTestApi(temporal);
  await publish(api);
});
afterAll(async () => {
  await api?.close();
  await temporal?.stop();
});

const pipelineText = `pipeline: orders-in
apiVersion: waybill/v1
inputs:
  day: { type: string }
  count: { type: integer, default: 3 }
endpoints: { from: landing-zone }
steps:
  - use: audit.write@1
    with: { event: orders.started, data: { day: "\${{ inputs.day }}" } }
`;

async function publish(to: TestApi): Promise<void> {
  const endpoint = 'endpoint: landing-zone\napiVersion: waybill/v1\nconnector: local\nconfig: { root: /tmp }\n';
  const documents = [{ file: 'all.yaml', text: `${endpoint}---\n${pipelineText}` }];
  const { body } = await to.graphql(
    to.keys.a,
    'mutation($d: [DocumentInput!]!) { applyConfiguration(input: { documents: $d }) { __typename ... on InvalidInputError { diagnostics { message line } } } }',
    { d: documents },
  );
  expect(body.data?.applyConfiguration.__typename, JSON.stringify(body)).toBe('ApplyConfigurationPayload');
}

const fields = `__typename ... on UserError { code message path retryable }`;
const runFields =
  'run { id status trigger inputs workflowId temporalUrl retryOf { id } version { hash } error { kind message } }';

async function mutate(name: string, input: Record<string, unknown>, type: string, of = api) {
  const payload =
    type === 'CancelRunInput' ? `CancelRunPayload { note ${runFields} }` : `StartRunPayload { ${runFields} }`;
  const query = `mutation($input: ${type}!) { ${name}(input: $input) { ${fields} ... on ${payload} } }`;
  const { body } = await of.graphql(of.keys.a, query, { input });
  expect(body.errors, JSON.stringify(body.errors)).toBeUndefined();
  return body.data[name];
}
const start = (input: Record<string, unknown> = {}, of = api) =>
  mutate(
    'startRun',
    { pipeline: 'orders-in', inputs: { day: 'monday' }, idempotencyKey: randomUUID(), ...input },
    'StartRunInput',
    of,
  );
const countRuns = async (of = api) =>
  Number((await of.database.asOwner<{ n: string }>('select count(*) n from run'))[0]!.n);

describe('startRun', () => {
  test('records the run and starts a workflow that is named like the pipeline and can be found', async () => {
    const { run } = await start();
    expect(run).toMatchObject({ status: 'starting', trigger: 'manual', inputs: { day: 'monday', count: 3 } });
    expect(run.workflowId).toBe(`${api.database.tenants.a.tenantId}/orders-in/${rowId('run', run.id)}`);
    expect(run.temporalUrl).toContain(encodeURIComponent(run.workflowId));
    const described = await api.temporal.workflow.getHandle(run.workflowId).describe();
    expect(described.type).toBe('orders-in');
    expect(described.taskQueue).toBe('waybill-runs');
    expect(described.searchAttributes).toMatchObject({
      WaybillPipeline: ['orders-in'],
      WaybillTenant: [api.database.tenants.a.tenantId],
      WaybillVersion: [run.version.hash.slice(0, 12)],
      WaybillTrigger: ['manual'],
    });
    expect(await described.staticSummary()).toContain('orders-in');
    expect(await described.staticDetails()).toContain(run.id);
  });

  test('with the same key gives the same run, also when two ask at once', async () => {
    const before = await countRuns();
    const idempotencyKey = randomUUID();
    const answers = await Promise.all(Array.from({ length: 5 }, () => start({ idempotencyKey })));
    expect(new Set(answers.map(({ run }) => run.id)).size).toBe(1);
    const reordered = await start({ idempotencyKey, inputs: { day: 'monday' } });
    expect(reordered.run.id).toBe(answers[0].run.id);
    expect(await countRuns()).toBe(before + 1);
    const other = await start({ idempotencyKey, inputs: { day: 'tuesday' } });
    expect(other).toMatchObject({ __typename: 'ConflictError', code: 'IDEMPOTENCY_KEY_CONFLICT', retryable: false });
  });

  test('with a key that is a day old starts anew', async () => {
    const idempotencyKey = randomUUID();
    const first = await start({ idempotencyKey });
    await api.database.asOwner(`update idempotency_key set created_at = now() - interval '25 hours' where key = $1`, [
      idempotencyKey,
    ]);
    expect((await start({ idempotencyKey, inputs: { day: 'other' } })).run.id).not.toBe(first.run.id);
  });

  test('records a run with bad inputs as refused, with an event, and answers what is wrong', async () => {
    const idempotencyKey = randomUUID();
    const before = await countRuns();
    for (let attempt = 0; attempt < 2; attempt++) {
      const answer = await start({ idempotencyKey, inputs: { dya: 'monday', count: 'many' } });
      expect(answer).toMatchObject({ __typename: 'InvalidInputError', path: ['input', 'inputs'] });
      expect(answer.message).toMatch(/dya.*count|count.*dya/s);
    }
    expect(await countRuns()).toBe(before + 1);
    const { body } = await api.graphql(
      api.keys.a,
      '{ runs(status: refused) { edges { node { status endedAt error { kind } auditEvents { edges { node { type outcome } } } } } } }',
    );
    expect(body.data.runs.edges[0].node).toMatchObject({
      error: { kind: 'invalid' },
      auditEvents: { edges: [{ node: { type: 'run.refused', outcome: 'failure' } }] },
    });
    expect(body.data.runs.edges[0].node.endedAt).not.toBeNull();
  });

  test('answers what is not there and what is out of form', async () => {
    expect(await start({ pipeline: 'unknown' })).toMatchObject({
      __typename: 'NotFoundError',
      path: ['input', 'pipeline'],
    });
    for (const bad of [
      { idempotencyKey: '' },
      { idempotencyKey: 'x'.repeat(300) },
      { inputs: [] },
      { inputs: 5 },
      { inputs: { day: '\u0000' } },
      { inputs: { day: 'x'.repeat(300_000) } },
    ])
      expect((await start(bad)).__typename, JSON.stringify(bad).slice(0, 80)).toBe('InvalidInputError');
  });
});

describe('when Temporal is away', () => {
  test('a run is recorded as failed, the answer says to try again, and the key is free for that', async () => {
    const alone = await startTestApi(null);
    try {
      await publish(alone);
      const began = performance.now();
      const idempotencyKey = randomUUID();
      const answer = await start({ idempotencyKey }, alone);
      expect(answer).toMatchObject({ __typename: 'UnavailableError', code: 'UNAVAILABLE', retryable: true });
      expect(performance.now() - began).toBeLessThan(8_000);
      const { body } = await alone.graphql(
        alone.keys.a,
        '{ runs { edges { node { status error { kind } } } } auditEvents(type: "run.failed") { edges { node { outcome } } } }',
      );
      expect(body.data.runs.edges).toEqual([{ node: { status: 'failed', error: { kind: 'unavailable' } } }]);
      expect(body.data.auditEvents.edges).toHaveLength(1);
      expect((await start({ idempotencyKey }, alone)).__typename).toBe('UnavailableError');
      expect(await countRuns(alone)).toBe(2);
    } finally {
      await alone.close();
    }
  });
});

describe('cancelRun', () => {
  const cancel = (id: string) => mutate('cancelRun', { id, reason: 'wrong day' }, 'CancelRunInput');

  test('asks the workflow to stop, records who asked, and may be asked twice', async () => {
    const { run } = await start();
    expect((await cancel(run.id)).__typename).toBe('CancelRunPayload');
    expect((await cancel(run.id)).__typename).toBe('CancelRunPayload');
    const history = await api.temporal.workflow.getHandle(run.workflowId).fetchHistory();
    expect(history.events?.some((event) => event.workflowExecutionCancelRequestedEventAttributes)).toBe(true);
    const events = await api.database.asOwner<{ data: { reason: string } }>(
      `select data from audit_event where type = 'run.cancel-requested' and run_id = $1`,
      [rowId('run', run.id)],
    );
    expect(events.map(({ data }) => data.reason)).toEqual(['wrong day']);
  });

  test('of a run whose workflow was terminated answers at once that it is closed within a minute', async () => {
    const { run } = await start();
    await api.temporal.workflow.getHandle(run.workflowId).terminate('in the UI');
    // As if a worker had begun it before.
    await api.database.asOwner(`update run set status = 'running' where id = $1`, [rowId('run', run.id)]);
    for (let asked = 0; asked < 2; asked++) {
      const began = performance.now();
      const answer = await cancel(run.id);
      expect(performance.now() - began).toBeLessThan(5_000);
      expect(answer).toMatchObject({ __typename: 'CancelRunPayload', run: { status: 'running' } });
      expect(answer.note).toContain('closed within a minute');
    }
    const unopened = await start();
    expect((await cancel(unopened.run.id)).note).toBeNull();
    const { run: ended } = await start();
    await api.temporal.workflow.getHandle(ended.workflowId).terminate('in the UI');
    expect(await cancel(ended.id)).toMatchObject({ run: { status: 'cancelled' }, note: null });
  });

  test('closes a run that Temporal does not know, and refuses one that has ended', async () => {
    const { run } = await start();
    await api.database.asOwner(`update run set workflow_id = workflow_id || 'x' where id = $1`, [rowId('run', run.id)]);
    expect(await cancel(run.id)).toMatchObject({ run: { status: 'cancelled', error: { kind: 'cancelled' } } });
    await api.database.asOwner(`update run set status = 'succeeded' where id = $1`, [rowId('run', run.id)]);
    expect((await cancel(run.id)).__typename).toBe('ConflictError');
    expect((await cancel('run_x')).__typename).toBe('NotFoundError');
  });
});

describe('retry', () => {
  const retry = (input: Record<string, unknown>) =>
    mutate('retryRun', { idempotencyKey: randomUUID(), ...input }, 'RetryRunInput');
  const retryDelivery = (id: string, reason?: string, idempotencyKey: string = randomUUID()) =>
    mutate('retryDelivery', { id, idempotencyKey, ...(reason === undefined ? {} : { reason }) }, 'RetryDeliveryInput');

  test('of a run starts the same version with the same inputs; only an ended run that did not succeed is retried', async () => {
    const { run } = await start();
    expect((await retry({ id: run.id })).__typename).toBe('ConflictError');
    await api.database.asOwner(`update run set status = 'failed' where id = $1`, [rowId('run', run.id)]);
    const again = await retry({ id: run.id });
    expect(again.run).toMatchObject({
      trigger: 'retry',
      retryOf: { id: run.id },
      inputs: run.inputs,
      version: run.version,
    });
    expect(await retry({ id: run.id, failedOnly: true })).toMatchObject({
      __typename: 'ConflictError',
      code: 'NOTHING_TO_RETRY',
    });
    await api.database.asOwner(`update run set status = 'succeeded' where id = $1`, [rowId('run', run.id)]);
    expect((await retry({ id: run.id })).code).toBe('NOTHING_TO_RETRY');
    expect((await retry({ id: 'run_x' })).__typename).toBe('NotFoundError');
  });

  test('of a delivery is an event of the new run, with who asked and why, once for a key', async () => {
    const history = await writeHistory(api.database.store, api.database.tenants.b);
    const key = randomUUID();
    const ask = async (reason: string) => {
      const query = `mutation($input: RetryDeliveryInput!) { retryDelivery(input: $input) { ${fields} ... on StartRunPayload { run { id auditEvents { edges { node { type outcome deliveryId principal { id } data } } } } } } }`;
      const { body } = await api.graphql(api.keys.b, query, {
        input: { id: history.delivery, reason, idempotencyKey: key },
      });
      return body.data.retryDelivery;
    };
    const reason = `the partner \ud800 sent it again \u0000${'x'.repeat(limits.reasonLength)}`;
    const [first, second] = [await ask(reason), await ask(reason)];
    expect(second.run).toEqual(first.run);
    const retried = first.run.auditEvents.edges.map(({ node }: { node: { type: string } }) => node);
    expect(retried).toEqual([
      {
        type: 'delivery.retried',
        outcome: 'success',
        deliveryId: history.delivery,
        principal: { id: publicId('principal', api.database.tenants.b.principalId) },
        data: {
          pipeline: 'orders',
          reason: reason.replace('\u0000', '\ufffd').toWellFormed().slice(0, limits.reasonLength),
        },
      },
    ]);
  });

  test('of failed deliveries names exactly those', async () => {
    const history = await writeHistory(api.database.store, api.database.tenants.a);
    const retried = await retry({ id: history.run, failedOnly: true });
    const one = await retryDelivery(history.delivery);
    for (const { run } of [retried, one]) {
      const [row] = await api.database.asOwner<{ retry_deliveries: string[] }>(
        'select retry_deliveries from run where id = $1',
        [rowId('run', run.id)],
      );
      expect(row!.retry_deliveries).toEqual([rowId('delivery', history.delivery)]);
    }
    await api.database.asOwner(`update delivery set state = 'published' where id = $1`, [
      rowId('delivery', history.delivery),
    ]);
    expect((await retryDelivery(history.delivery)).code).toBe('NOTHING_TO_RETRY');
    expect((await retryDelivery(history.run)).__typename).toBe('NotFoundError');
  });
});

describe('runUpdated', () => {
  test('sends the run now and after each change, and ends with the run', async () => {
    const { run } = await start();
    const id = rowId('run', run.id)!;
    const seen: string[] = [];
    const types = await watch(api.keys.a, run.id, async (data) => {
      const { status, progress } = data.data.runUpdated;
      seen.push(`${status} ${progress.filesDone}`);
      if (seen.length === 1) {
        // Two looks, of two reads each, that find nothing new and send nothing.
        const read = api.transactions();
        await expect.poll(() => api.transactions(), { timeout: 10_000 }).toBeGreaterThan(read + 4);
      }
      if (seen.length === 1) await api.database.asOwner(`update run set status = 'running' where id = $1`, [id]);
      if (seen.length === 2)
        await api.database.asOwner(`update run set status = 'succeeded', ended_at = now() where id = $1`, [id]);
    });
    expect(seen).toEqual(['starting 0', 'running 0', 'succeeded 0']);
    expect(types).toEqual(['next', 'next', 'next', 'complete']);
  });

  test('ends for a key that was revoked meanwhile', async () => {
    const { run } = await start();
    const { store, tenants } = api.database;
    const { id, secret } = await createApiKey(store, { ...tenants.a, name: 'watcher', scopes: ['run:read'] });
    const read = createRead(store, tenants.a.tenantId);
    const context = {
      read,
      loaders: createLoaders(read),
      authenticateAgain: () => verifyApiKey(store, secret),
      openSubscription: () => () => undefined,
      signal: new AbortController().signal,
    } as unknown as ApiContext;
    const watched = (await watchRun(context, rowId('run', run.id), 0))[Symbol.asyncIterator]();
    expect((await watched.next()).value?.id).toBe(rowId('run', run.id));
    await revokeApiKey(store, { tenantId: tenants.a.tenantId, id });
    await expect(watched.next()).rejects.toMatchObject({ kind: 'unauthenticated' });
  });

  test('ends when the API closes, and the API closes although somebody watches', async () => {
    const other = await startTestApi(temporal);
    await publish(other);
    const { run } = await start({}, other);
    const response = await open(other.keys.a, run.id, undefined, other.url);
    const reader = response.body!.getReader();
    await reader.read();
    await other.close();
    let last = await reader.read();
    while (!last.done) last = await reader.read();
  });

  test('is limited to a number per key, and a client that goes frees its place', async () => {
    const { run } = await start();
    const clients = Array.from({ length: 21 }, () => new AbortController());
    const answers = await Promise.all(clients.map((client) => open(api.keys.a, run.id, client.signal)));
    const first = await Promise.all(answers.map(async (response) => (await response.body!.getReader().read()).value));
    const texts = first.map((bytes) => new TextDecoder().decode(bytes));
    expect(texts.filter((text) => text.includes('RATE_LIMITED'))).toHaveLength(1);
    for (const client of clients) client.abort();
    await expect
      .poll(
        async () => {
          const probe = new AbortController();
          const response = await open(api.keys.a, run.id, probe.signal);
          const { value } = await response.body!.getReader().read();
          probe.abort();
          return new TextDecoder().decode(value);
        },
        { timeout: 10_000 },
      )
      .not.toContain('RATE_LIMITED');
  });
});

async function open(key: string, id: string, signal?: AbortSignal, url = api.url): Promise<Response> {
  return fetch(url, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', accept: 'text/event-stream' },
    body: JSON.stringify({
      query: 'subscription($id: ID!) { runUpdated(id: $id) { status progress { filesDone } } }',
      variables: { id },
    }),
    ...(signal ? { signal } : {}),
  });
}

/** Reads a stream of events to its end; gives their types. */
// biome-ignore lint/suspicious/noExplicitAny: tests read answers of any shape
async function watch(key: string, id: string, onNext: (data: any) => Promise<void>): Promise<string[]> {
  const response = await open(key, id);
  expect(response.headers.get('content-type')).toContain('text/event-stream');
  const types: string[] = [];
  let text = '';
  for await (const chunk of response.body!) {
    text += new TextDecoder().decode(chunk);
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const lines = text.slice(0, end).split('\n');
      text = text.slice(end + 2);
      const type = lines.find((line) => line.startsWith('event: '))?.slice(7);
      const data = lines.find((line) => line.startsWith('data: '))?.slice(6);
      if (type) types.push(type);
      if (type === 'next') await onNext(JSON.parse(data!));
    }
  }
  return types;
}
