import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { rowId } from '../schema/names.ts';
import { type Line, startLine } from './servers/line.ts';

let line: Line;
beforeAll(async () => {
  line = await startLine();
});
afterAll(() => line?.stop());

/** What a person is promised: a decision takes effect within so long. */
const effectiveMs = 5_000;

const pipeline = (name: string, steps: string, policy = '') => `pipeline: ${name}
apiVersion: waybill/v1
${policy}
steps:
${steps}`;

const pacing = (name: string) =>
  pipeline(
    name,
    `  - { use: audit.write@1, with: { event: pace.begun } }
  - forEach: '[1, 2, 3]'
    as: lap
    maxParallel: 1
    steps:
      - wait: 1s
      - { use: audit.write@1, with: { event: pace.lap, data: { lap: "\${{ lap }}" } } }
`,
  );

interface Shown {
  id: string;
  status: string;
  startedAt: string | null;
  endedAt: string | null;
  pausedAt: string | null;
  waitingFor: string | null;
  workflowId: string;
  error: { kind: string; message: string } | null;
  auditEvents: { edges: Array<{ node: { type: string; data: Record<string, unknown> } }> };
}

async function read(id: string): Promise<Shown> {
  const { body } = await line.api.graphql(
    line.api.keys.a,
    `query($id: ID!) { run(id: $id) { id status startedAt endedAt pausedAt waitingFor workflowId error { kind message } auditEvents(first: 100) { edges { node { type data } } } } }`,
    { id },
  );
  return body.data.run;
}
const typesOf = (run: Shown): string[] => run.auditEvents.edges.map(({ node }) => node.type);
const lapsOf = async (id: string): Promise<number> =>
  typesOf(await read(id)).filter((type) => type === 'pace.lap').length;

async function mutate(mutation: 'pauseRun' | 'resumeRun' | 'cancelRun', id: string): Promise<{ note: string | null }> {
  const [input, payload] =
    mutation === 'cancelRun' ? ['CancelRunInput', 'CancelRunPayload'] : ['DecideRunInput', 'DecideRunPayload'];
  const { body } = await line.api.graphql(
    line.api.keys.a,
    `mutation($input: ${input}!) { ${mutation}(input: $input) { ... on UserError { message } ... on ${payload} { note } } }`,
    { input: { id, reason: 'a test' } },
  );
  expect(body.data?.[mutation]?.message, JSON.stringify(body)).toBeUndefined();
  return body.data[mutation];
}

const until = (id: string, is: (run: Shown) => boolean) =>
  expect.poll(async () => is(await read(id)), { timeout: 30_000, interval: 50 }).toBe(true);

describe('a pause', () => {
  test('holds a run within five seconds, and the run goes on where it was when it is resumed', async () => {
    await line.apply(pacing('pace-one'));
    const id = await line.start('pace-one');
    await until(id, (run) => typesOf(run).includes('pace.begun'));
    await mutate('pauseRun', id);
    const attribute = async () => {
      const { workflowId } = await read(id);
      return (await line.api.temporal.workflow.getHandle(workflowId).describe()).searchAttributes.WaybillStatus;
    };
    await expect.poll(attribute, { timeout: effectiveMs }).toEqual(['paused']);
    const laps = await lapsOf(id);
    expect(laps).toBeLessThan(3);
    // Each lap takes one second, and nobody else acts on this run: what has not happened by then is being held.
    const other = await line.start('pace-one');
    await line.wait(other);
    expect(await lapsOf(id)).toBe(laps);
    expect(await read(id)).toMatchObject({ status: 'running', pausedAt: expect.any(String) });
    await mutate('resumeRun', id);
    expect(await line.wait(id)).toMatchObject({ status: 'succeeded' });
    expect(await lapsOf(id)).toBe(3);
    expect(typesOf(await read(id))).toEqual(expect.arrayContaining(['run.paused', 'run.resumed', 'run.completed']));
  });

  test('ends by a cancellation, within five seconds', async () => {
    await line.apply(pacing('pace-two'));
    const id = await line.start('pace-two');
    await until(id, (run) => run.status === 'running');
    await mutate('pauseRun', id);
    const asked = Date.now();
    await mutate('cancelRun', id);
    expect(await line.wait(id)).toMatchObject({ status: 'cancelled' });
    expect(Date.now() - asked).toBeLessThan(effectiveMs);
    expect(await read(id)).toMatchObject({ pausedAt: null });
  });

  test('that Temporal was not told of takes effect at the next look', async () => {
    await line.apply(pacing('pace-three'));
    const id = await line.start('pace-three');
    await until(id, (run) => run.status === 'running');
    const { tenantId } = line.api.database.tenants.a;
    await line.api.database.store.sql(tenantId, (sql) =>
      sql.query('update run set paused_at = now(), control_pending = true where id = $1::uuid', [rowId('run', id)]),
    );
    await line.api.temporal.schedule.getHandle('waybill/reconcile').trigger();
    const pending = async () =>
      (
        await line.api.database.store.sql(tenantId, (sql) =>
          sql.query<{ pending: boolean }>('select control_pending as pending from run where id = $1::uuid', [
            rowId('run', id),
          ]),
        )
      )[0]!.pending;
    await expect.poll(pending, { timeout: 15_000 }).toBe(false);
    await mutate('cancelRun', id);
    await line.wait(id);
  });
});

describe('runs of one concurrency key', () => {
  const slow = (name: string, policy: string) =>
    pipeline(name, '  - wait: 1s\n', `concurrency: { key: ${name}, ${policy} }`);

  test('queue: go on one after the other, and say meanwhile what they wait for', async () => {
    await line.apply(slow('one-at-a-time', 'limit: 1, onLimit: queue'));
    // Each has come to the key before the next one does: which of them begins first is up to Temporal otherwise.
    const ids = [await line.start('one-at-a-time')];
    await until(ids[0]!, (run) => run.status === 'running');
    for (let count = 0; count < 2; count++) {
      const id = await line.start('one-at-a-time');
      await until(id, (run) => run.waitingFor?.includes('one-at-a-time') === true);
      ids.push(id);
    }
    for (const id of ids) expect(await line.wait(id)).toMatchObject({ status: 'succeeded' });
    const runs = await Promise.all(ids.map(read));
    for (const [ordinal, run] of runs.entries())
      if (ordinal > 0) expect(run.startedAt! >= runs[ordinal - 1]!.endedAt!, `run ${ordinal}`).toBe(true);
    // Woken by the end of the one before, not by looking once a minute.
    expect(Date.parse(runs[2]!.endedAt!) - Date.parse(runs[0]!.startedAt!)).toBeLessThan(30_000);
  });

  test('skip: the second is refused, with an event', async () => {
    await line.apply(slow('only-one', 'onLimit: skip'));
    const first = await line.start('only-one');
    await until(first, (run) => run.status === 'running');
    const second = await line.start('only-one');
    expect(await line.wait(second)).toMatchObject({ status: 'refused', error: { kind: 'conflict' } });
    expect(typesOf(await read(second))).toEqual(['run.refused']);
    expect(await line.wait(first)).toMatchObject({ status: 'succeeded' });
  });

  test('cancel-oldest: the first is cancelled for the second', async () => {
    const steps = '  - wait: 30s\n';
    await line.apply(pipeline('newest-wins', steps, 'concurrency: { key: newest-wins, onLimit: cancel-oldest }'));
    const first = await line.start('newest-wins');
    await until(first, (run) => run.status === 'running');
    const second = await line.start('newest-wins');
    expect(await line.wait(first)).toMatchObject({ status: 'cancelled' });
    const told = (await read(first)).auditEvents.edges.find(({ node }) => node.type === 'run.cancel-requested');
    expect(told?.node.data).toMatchObject({ replacedBy: second });
    await until(second, (run) => run.status === 'running');
    await mutate('cancelRun', second);
    await line.wait(second);
  });

  test('a run that is terminated in Temporal lets the next one enter', async () => {
    await line.apply(slow('left-behind', 'limit: 1').replace('wait: 1s', 'wait: 60s'));
    const [first, second] = [await line.start('left-behind'), await line.start('left-behind')];
    await until(second, (run) => run.waitingFor !== null);
    await line.api.temporal.workflow.getHandle((await read(first)).workflowId).terminate('in the UI');
    await line.api.temporal.schedule.getHandle('waybill/reconcile').trigger();
    await until(second, (run) => run.status === 'running');
    expect(await read(first)).toMatchObject({ status: 'cancelled' });
    await mutate('cancelRun', second);
    expect(await line.wait(second)).toMatchObject({ status: 'cancelled' });
  });

  test('one that waits is cancelled within five seconds, and the others are not held up by it', async () => {
    await line.apply(slow('patience', 'limit: 1').replace('wait: 1s', 'wait: 3s'));
    const [first, second, third] = [
      await line.start('patience'),
      await line.start('patience'),
      await line.start('patience'),
    ];
    await until(third, (run) => run.waitingFor !== null);
    const asked = Date.now();
    await mutate('cancelRun', second);
    expect(await line.wait(second)).toMatchObject({ status: 'cancelled' });
    expect(Date.now() - asked).toBeLessThan(effectiveMs);
    expect(await line.wait(first)).toMatchObject({ status: 'succeeded' });
    expect(await line.wait(third)).toMatchObject({ status: 'succeeded' });
  });
});
