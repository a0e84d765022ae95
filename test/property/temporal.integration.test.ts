import { Worker } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Json } from '../../schema/plan.ts';
import { chooseSeed } from '../random.ts';
import { comparable } from './compare.ts';
import { type GeneratedPipeline, generatePipeline, textOf } from './generate.ts';
import { callsOfHistory } from './suspensions.ts';
import { type BundleName, startTemporalWorld, type TemporalWorld } from './temporalWorld.ts';
import { compile, compileText, endOf, walkVirtually } from './walk.ts';

/** CI runs at least so many of them. */
const pipelines = 300;
/** Runs that are under way at the same time: enough that waits cost nothing. */
const runsAtOnce = 24;
const firstSeed = chooseSeed();
const testTimeoutMs = 240_000;

let world: TemporalWorld;
beforeAll(async () => {
  world = await startTemporalWorld();
});
afterAll(() => world?.stop());

describe(`${pipelines} generated pipelines, WAYBILL_SEED=${firstSeed}`, () => {
  const generated = Array.from({ length: pipelines }, (_, index) => generatePipeline(firstSeed + index));

  test('make the same calls in Temporal as without it, and end the same way', { timeout: testTimeoutMs }, async () => {
    await atOnce(generated, (pipeline) => compareRun(pipeline, 'product'));
  });

  test('make the same calls when each run goes on in a new history after every few of them', {
    timeout: testTimeoutMs,
  }, async () => {
    let histories = 0;
    await atOnce(generated, async (pipeline) => {
      const had = await compareRun(pipeline, 'suspending');
      histories += had;
    });
    expect(histories, 'histories in all').toBeGreaterThan(2 * pipelines);
  });

  test('are replayed from their histories', { timeout: testTimeoutMs }, async () => {
    for (const name of ['product', 'suspending'] as const) {
      const options = { workflowBundle: world.bundles[name], replayName: name };
      const broken: string[] = [];
      for await (const { workflowId, error } of Worker.runReplayHistories(options, histories(name)))
        if (error !== undefined) broken.push(`${workflowId}: ${error.message}`);
      expect(broken).toEqual([]);
    }
  });

  async function* histories(name: BundleName) {
    // Of a run with several histories only the last can be asked for: a third of them is enough.
    for (const { seed } of generated.filter((_, index) => name === 'product' || index % 3 === 0)) {
      const workflowId = workflowIdOf(seed, name);
      yield { workflowId, history: await world.history(workflowId) };
    }
  }
});

test('a cancellation that no call has seen reaches the next history', async () => {
  const plan = compileText(`
pipeline: cancelled-between
apiVersion: waybill/v1
endpoints: { partner: acme-sftp }
steps:
  - { id: copy, use: transfer.copy@1, with: { from: "partner:/copy/2/1/never/internal/*", to: "partner:/in/" } }
  - { use: audit.write@1, with: { event: orders.never, data: { fails: never } } }
finally: [ { use: audit.write@1, with: { event: orders.ended, data: { fails: never, status: "\${{ run.status }}" } } } ]
`);
  const workflowId = Array.from({ length: 100 }, (_, nth) => `tenant/cancelled-between/${nth}`).find(
    (id) => callsOfHistory(id) === 3,
  )!;
  // The third call closes the transfer, which a cancellation does not reach; then the run suspends.
  const operator = { call: 3, does: 'cancel' } as const;
  const { calls, end, histories } = await world.run({ workflowId, bundle: 'suspending', plan, inputs: {}, operator });
  expect(histories).toBe(2);
  expect(end).toMatchObject({ status: 'cancelled' });
  expect(calls.map(({ activity, input }) => [activity, (input.with as { event?: string } | undefined)?.event])).toEqual(
    [
      ['transfer.plan', undefined],
      ['transfer.batch', undefined],
      ['transfer.finish', undefined],
      ['audit.write@1', 'orders.ended'],
    ],
  );
});

function workflowIdOf(seed: number, bundle: BundleName): string {
  return `tenant/generated/${seed}-${bundle}`;
}

/** Gives the number of histories that the run has had. */
async function compareRun(pipeline: GeneratedPipeline, bundle: BundleName): Promise<number> {
  const { seed, inputs } = pipeline;
  const plan = compile(pipeline);
  const virtual = await walkVirtually(plan, inputs, { seed });
  const real = await world.run({ workflowId: workflowIdOf(seed, bundle), bundle, plan, inputs });
  const told = `WAYBILL_SEED=${seed} breaks it; inputs ${JSON.stringify(inputs)}\n${textOf(pipeline)}`;
  expect(comparable(real.calls), told).toEqual(comparable(virtual.port.calls));
  expect(real.end, told).toEqual(endOf(virtual.walk) as Json);
  return real.histories;
}

/** Works through a list, some at a time; stops at the first that fails. */
async function atOnce<Item>(items: readonly Item[], work: (item: Item) => Promise<unknown>): Promise<void> {
  const waiting = [...items];
  const take = async (): Promise<void> => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await work(item);
  };
  try {
    await Promise.all(Array.from({ length: runsAtOnce }, take));
  } finally {
    waiting.length = 0;
  }
}
