import { proxyActivities } from '@temporalio/workflow';
import type { CallTerms, RunArguments } from '../../schema/workflow.ts';

type Activities = Record<
  'run.begin' | 'audit.write@1' | 'run.finish',
  (input: unknown, terms: CallTerms) => Promise<unknown>
>;

const terms: CallTerms = {
  retry: { forMs: 3_600_000, attempts: null, firstMs: 500, factor: 2, maxMs: 10_000, jitter: 0.2, notOn: [] },
  stallMs: 30_000,
};
const activities = proxyActivities<Activities>({ startToCloseTimeout: '30 seconds' });

/** What an engineer would write in place of the pipeline: the same activities, with nothing between them. */
export async function stepsByHand(run: RunArguments): Promise<unknown> {
  await activities['run.begin'](run, terms);
  for (const step of ['one', 'two', 'three']) {
    const input = { ...run, step, stepKey: step, endpoints: {}, with: { event: `bench.${step}` } };
    await activities['audit.write@1'](input, terms);
  }
  return activities['run.finish']({ ...run, status: 'succeeded', error: null, outputs: {} }, terms);
}
