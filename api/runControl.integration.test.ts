import { randomUUID } from 'node:crypto';
import { defineSearchAttributeKey } from '@temporalio/common';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { rowId } from '../schema/names.ts';
import { finishingStatus } from '../schema/workflow.ts';
import { startTestApi, type TestApi } from '../test/servers/api.ts';
import { startTemporal, type TestTemporal } from '../test/servers/temporal.ts';

let temporal: TestTemporal;
let api: TestApi;
beforeAll(async () => {
  temporal = await startTemporal();
  api = await startTestApi(temporal);
});
afterAll(async () => {
  await api?.close();
  await temporal?.stop();
});

const documents = (summary: string) => `endpoint: landing-zone
apiVersion: waybill/v1
connector: local
config: { root: /tmp }
---
pipeline: orders-in
apiVersion: waybill/v1
description: ${summary}
inputs: { day: { type: string, default: monday } }
endpoints: { landing: landing-zone }
steps: [ { use: audit.write@1, with: { event: orders.started, data: { at: "landing" } } }, { use: files.list@1, id: all, with: { from: "landing:/*" } } ]
`;

async function publish(of: TestApi, summary = 'one', key = of.keys.a): Promise<string> {
  const { body } = await of.graphql(
    key,
    'mutation($d: [DocumentInput!]!) { applyConfiguration(input: { documents: $d }) { __typename ... on UserError { message } ... on InvalidInputError { diagnostics { message line } } } }',
    { d: [{ file: 'all.yaml', text: documents(summary) }] },
  );
  expect(body.data?.applyConfiguration.__typename, JSON.stringify(body)).toBe('ApplyConfigurationPayload');
  const found = await of.graphql(key, '{ pipeline(name: "orders-in") { liveVersion { hash } } }');
  return found.body.data.pipeline.liveVersion.hash;
}

const runFields = `id status workflowId pausedAt pausedBy { name } pauseReason waitingFor cancelRequestedAt inputs inputsDigest
  version { hash } error { kind message } auditEvents(first: 20) { edges { node { type outcome principal { name } data } } }`;

async function start(input: Record<string, unknown> = {}, of = api, key = of.keys.a) {
  const { body } = await of.graphql(
    key,
    `mutation($input: StartRunInput!) { startRun(input: $input) { __typename ... on UserError { code message path runId } ... on StartRunPayload { run { ${runFields} } } } }`,
    { input: { pipeline: 'orders-in', idempotencyKey: randomUUID(), ...input } },
  );
  expect(body.errors, JSON.stringify(body.errors)).toBeUndefined();
  return body.data.startRun;
}

async function decide(mutation: 'pauseRun' | 'resumeRun', id: string, reason?: string, of = api, key = of.keys.a) {
  const { body } = await of.graphql(
    key,
    `mutation($input: DecideRunInput!) { ${mutation}(input: $input) { __typename ... on UserError { code message retryable } ... on DecideRunPayload { note run { ${runFields} } } } }`,
    { input: { id, ...(reason === undefined ? {} : { reason }) } },
  );
  expect(body.errors, JSON.stringify(body.errors)).toBeUndefined();
  return body.data[mutation];
}

async function read(args: string, of = api, key = of.keys.a) {
  const { body } = await of.graphql(key, `{ run(${args}) { ${runFields} } }`);
  expect(body.errors, JSON.stringify(body.errors)).toBeUndefined();
  return body.data.run;
}

const eventsOf = (run: { auditEvents: { edges: Array<{ node: { type: string } }> } }) =>
  run.auditEvents.edges.map(({ node }) => node);
const signalsOf = async (workflowId: string): Promise<number> => {
  const history = await api.temporal.workflow.getHandle(workflowId).fetchHistory();
  const signals = history.events?.map((event) => event.workflowExecutionSignaledEventAttributes?.signalName) ?? [];
  return signals.filter((name) => name === 'control').length;
};

describe('pauseRun and resumeRun', () => {
  test('tell the workflow, say who and why, and are events once however often they are asked', async () => {
    await publish(api);
    const { run } = await start();
    const paused = await decide('pauseRun', run.id, 'wait for ACME');
    expect(paused).toMatchObject({
      note: null,
      run: {
        status: 'starting',
        pausedAt: expect.any(String),
        pausedBy: { name: 'owner' },
        pauseReason: 'wait for ACME',
      },
    });
    expect(await signalsOf(run.workflowId)).toBe(1);
    const again = await decide('pauseRun', run.id, 'another reason');
    expect(again.run.pausedAt).toBe(paused.run.pausedAt);
    expect(again.run.pauseReason).toBe('wait for ACME');
    const resumed = await decide('resumeRun', run.id, 'ACME is back');
    expect(resumed.run).toMatchObject({ pausedAt: null, pausedBy: null, pauseReason: null });
    await decide('resumeRun', run.id);
    const told = eventsOf(await read(`id: "${run.id}"`)).filter(({ type }) => /paused|resumed/.test(type));
    expect(told).toEqual([
      {
        type: 'run.paused',
        outcome: 'success',
        principal: { name: 'owner' },
        data: { pipeline: 'orders-in', reason: 'wait for ACME' },
      },
      {
        type: 'run.resumed',
        outcome: 'success',
        principal: { name: 'owner' },
        data: { pipeline: 'orders-in', reason: 'ACME is back' },
      },
    ]);
  });

  test('a cancellation ends the pause, and a run that is being cancelled is not paused', async () => {
    const { run } = await start();
    await decide('pauseRun', run.id);
    const { body } = await api.graphql(
      api.keys.a,
      `mutation($id: ID!) { cancelRun(input: { id: $id }) { ... on CancelRunPayload { note run { pausedAt cancelRequestedAt } } } }`,
      { id: run.id },
    );
    expect(body.data.cancelRun.run).toEqual({ pausedAt: null, cancelRequestedAt: expect.any(String) });
    expect(await decide('pauseRun', run.id)).toMatchObject({
      __typename: 'ConflictError',
      message: 'the run is being cancelled',
    });
  });

  test('a cancellation of a run in its finally is told that it comes too late', async () => {
    await publish(api);
    const { run } = await start();
    const workflow = api.temporal.workflow.getHandle(run.workflowId);
    await workflow.terminate('another takes its place, with the status that finally gives');
    await api.temporal.workflow.start('orders-in', {
      taskQueue: 'waybill-runs',
      workflowId: run.workflowId,
      typedSearchAttributes: [{ key: defineSearchAttributeKey('WaybillStatus', 'KEYWORD'), value: finishingStatus }],
    });
    const { body } = await api.graphql(
      api.keys.a,
      `mutation($id: ID!) { cancelRun(input: { id: $id }) { ... on CancelRunPayload { note run { status } } } }`,
      { id: run.id },
    );
    expect(body.data.cancelRun).toEqual({ note: expect.stringContaining('`finally`'), run: { status: 'starting' } });
  });

  test('refuse a run that has ended, one that is not there, and one of another tenant; need the permission', async () => {
    const { run } = await start();
    for (const mutation of ['pauseRun', 'resumeRun'] as const) {
      expect((await decide(mutation, 'run_x')).__typename).toBe('NotFoundError');
      expect((await decide(mutation, run.id, undefined, api, api.keys.b)).__typename).toBe('NotFoundError');
      const weak = await api.key(api.database.tenants.a, ['run:cancel']);
      expect((await decide(mutation, run.id, undefined, api, weak)).__typename).toBe('ForbiddenError');
    }
    expect((await read(`id: "${run.id}"`)).pausedAt).toBeNull();
    await api.database.asOwner(`update run set status = 'partial' where id = $1`, [rowId('run', run.id)]);
    for (const mutation of ['pauseRun', 'resumeRun'] as const)
      expect(await decide(mutation, run.id)).toMatchObject({
        __typename: 'ConflictError',
        message: 'the run has ended: partial',
      });
  });

  test('of a run whose workflow was terminated say that it is closed within a minute', async () => {
    const { run } = await start();
    await api.temporal.workflow.getHandle(run.workflowId).terminate('in the UI');
    await api.database.asOwner(`update run set status = 'running' where id = $1`, [rowId('run', run.id)]);
    expect((await decide('pauseRun', run.id)).note).toContain('closed within a minute');
  });

  test('when Temporal is away, say so and keep the decision', async () => {
    const alone = await startTestApi(null);
    try {
      await publish(alone);
      await start({}, alone);
      const { body } = await alone.graphql(alone.keys.a, '{ runs { edges { node { id } } } }');
      const { id } = body.data.runs.edges[0].node;
      await alone.database.asOwner(`update run set status = 'running', ended_at = null where id = $1`, [
        rowId('run', id),
      ]);
      expect(await decide('pauseRun', id, 'why', alone)).toMatchObject({
        __typename: 'UnavailableError',
        retryable: true,
      });
      const run = await read(`id: "${id}"`, alone);
      expect(run).toMatchObject({ pausedAt: expect.any(String), pauseReason: 'why' });
      expect(eventsOf(run).map(({ type }) => type)).toContain('run.paused');
      const [row] = await alone.database.asOwner('select control_pending from run where id = $1', [rowId('run', id)]);
      expect(row).toEqual({ control_pending: true });
    } finally {
      await alone.close();
    }
  });
});

describe('a version that is named', () => {
  test('is run instead of the live one, by its whole hash or at least eight digits of it', async () => {
    const first = await publish(api, 'one');
    const second = await publish(api, 'two');
    expect(second).not.toBe(first);
    expect((await start()).run.version.hash).toBe(second);
    expect((await start({ version: first })).run.version.hash).toBe(first);
    expect((await start({ version: first.slice(0, 8) })).run.version.hash).toBe(first);
  });

  test.each([
    ['unknown', '00000000', 'NotFoundError'],
    ['of seven digits', '0000000', 'InvalidInputError'],
    ['no hash', "'; drop table run", 'InvalidInputError'],
  ])('that is %s refuses the run, and the refusal is recorded', async (_, version, type) => {
    await publish(api);
    const answer = await start({ version });
    expect(answer).toMatchObject({
      __typename: type,
      path: ['input', 'version'],
      runId: expect.stringMatching(/^run_/),
    });
    expect(await read(`id: "${answer.runId}"`)).toMatchObject({ status: 'refused', version: null });
  });

  test('by digits that two versions share is a conflict', async () => {
    const hash = await publish(api);
    await api.database.store.sql(api.database.tenants.a.tenantId, (sql) =>
      sql.query(
        `insert into pipeline_version (tenant_id, pipeline_id, hash, source, plan, published_by)
         select tenant_id, pipeline_id, left(hash, 8) || 'twin', source, plan, published_by from pipeline_version where hash = $1::text`,
        [hash],
      ),
    );
    expect(await start({ version: hash.slice(0, 8) })).toMatchObject({ __typename: 'ConflictError' });
    expect((await start({ version: hash })).run.version.hash).toBe(hash);
  });
});

describe('a refused run is recorded, visible, and named in the answer', () => {
  test('of a pipeline that is not there; the key is free, since it may be there later', async () => {
    const idempotencyKey = randomUUID();
    const [first, second] = [
      await start({ pipeline: 'not-there', idempotencyKey }),
      await start({ pipeline: 'not-there', idempotencyKey }),
    ];
    expect(first).toMatchObject({ __typename: 'NotFoundError', message: expect.stringContaining('not-there') });
    expect(second.runId).not.toBe(first.runId);
    const run = await read(`id: "${first.runId}"`);
    expect(run).toMatchObject({ status: 'refused', version: null, error: { kind: 'not-found' } });
    expect(eventsOf(run)).toMatchObject([{ type: 'run.refused', outcome: 'failure', principal: { name: 'owner' } }]);
  });

  test('of a name that no pipeline can have is not: there is nothing to record it under', async () => {
    expect(await start({ pipeline: 'NOT a name' })).toMatchObject({ __typename: 'NotFoundError', runId: null });
  });

  test('by somebody without the permission', async () => {
    const weak = await api.key(api.database.tenants.a, ['run:read']);
    const idempotencyKey = randomUUID();
    const first = await start({ inputs: { day: 'x' }, idempotencyKey }, api, weak);
    expect(first).toMatchObject({ __typename: 'ForbiddenError', runId: expect.stringMatching(/^run_/) });
    expect((await start({ inputs: { day: 'x' }, idempotencyKey }, api, weak)).runId).toBe(first.runId);
    const run = await read(`id: "${first.runId}"`);
    expect(run).toMatchObject({ status: 'refused', inputs: {}, error: { kind: 'forbidden' } });
    expect(eventsOf(run)).toMatchObject([{ type: 'run.refused' }]);
    expect((await start({ pipeline: 'not-there' }, api, weak)).__typename).toBe('ForbiddenError');
  });

  test('with inputs too large to keep: the row has their digest, the answer says how large they may be', async () => {
    const answer = await start({ inputs: { day: 'x'.repeat(1_500_000) } });
    expect(answer).toMatchObject({ __typename: 'InvalidInputError', message: expect.stringContaining('262144') });
    expect(await read(`id: "${answer.runId}"`)).toMatchObject({
      status: 'refused',
      inputs: {},
      inputsDigest: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    expect((await start({ inputs: { day: 'a\u0000b' } })).runId).toMatch(/^run_/);
  });

  test('with 10 MB of inputs is not read at all, and the answer says why', async () => {
    const { status, body } = await api.graphql(
      api.keys.a,
      'mutation($input: StartRunInput!) { startRun(input: $input) { __typename } }',
      { input: { pipeline: 'orders-in', inputs: { day: 'x'.repeat(10_000_000) }, idempotencyKey: 'k' } },
    );
    expect(status).toBe(413);
    expect(body.errors[0]).toMatchObject({ extensions: { code: 'BODY_TOO_LARGE' } });
  });
});

describe('a run in Temporal', () => {
  test('is found by its workflow id, in its own tenant only, and Temporal shows how to find it back', async () => {
    await publish(api);
    const { run } = await start();
    const args = `workflowId: ${JSON.stringify(run.workflowId)}`;
    expect((await read(args)).id).toBe(run.id);
    expect(await read(args, api, api.keys.b)).toBeNull();
    for (const none of [
      'workflowId: "x"',
      `workflowId: "${run.workflowId}/x"`,
      `workflowId: "${run.workflowId.replace('orders-in', 'orders-out')}"`,
      `id: "${run.id}", ${args}`,
    ])
      expect(await read(none), none).toBeNull();
    const described = await api.temporal.workflow.getHandle(run.workflowId).describe();
    expect(await described.staticDetails()).toContain(`waybill runs show ${run.id}`);
  });
});
