import type { Failure, Json, RetryPolicy } from '../schema/plan.ts';
import type { RunArguments } from '../schema/workflow.ts';
import { failureOf, type Walk } from './interpreter.ts';
import type { Port } from './port.ts';
import type { LoadedRun } from './run.ts';

const retry: RetryPolicy = {
  forMs: 12 * 3_600_000,
  attempts: null,
  firstMs: 2_000,
  factor: 2,
  maxMs: 900_000,
  jitter: 0.2,
  notOn: ['unauthenticated', 'forbidden', 'not-found', 'integrity'],
};
const timeout = { stallMs: 300_000, totalMs: 24 * 3_600_000 };

/** A run that does single failed deliveries of an earlier run again, and nothing else of the pipeline. */
export async function retryDeliveries(loaded: LoadedRun, { tenantId, runId }: RunArguments, port: Port): Promise<Walk> {
  let first: Failure | null = null;
  for (const { transferId, batches } of loaded.retry ?? []) {
    let failure: Failure | null = null;
    for (let batch = 0; batch < batches && failure === null; batch++) {
      try {
        const input = { tenantId, runId, transferId, batch };
        const summary = `copy failed files again (batch ${batch + 1} of ${batches})`;
        await port.proceed();
        const answer = await port.call({
          activity: 'transfer.batch',
          queue: 'transfers',
          input,
          summary,
          retry,
          timeout,
          heartbeats: true,
        });
        failure = (answer as unknown as { firstFailure: Failure | null }).firstFailure;
      } catch (error) {
        failure = failureOf(error);
      }
    }
    const status = failure === null ? 'succeeded' : failure.kind === 'cancelled' ? 'cancelled' : 'failed';
    const close = { tenantId, runId, transferId, status, failure: failure as unknown as Json };
    await port.protect(() =>
      port.call({
        activity: 'transfer.finish',
        queue: 'runs',
        input: close,
        summary: 'close the transfer',
        retry,
        timeout,
        heartbeats: false,
      }),
    );
    first ??= failure;
    if (failure?.kind === 'cancelled') break;
  }
  const status = first === null ? 'succeeded' : first.kind === 'cancelled' ? 'cancelled' : 'failed';
  return { end: 'done', status, failure: first, outputs: null };
}
