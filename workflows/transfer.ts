import { publicId } from '../schema/names.ts';
import type { ActionBlock, Failure, Json, TransferCounts } from '../schema/plan.ts';
import { failureOf, type Place, type Walker } from './interpreter.ts';
import { StepFailed } from './port.ts';
import { frameOf, type TransferCursor } from './state.ts';
import { isTolerated, toldTolerance } from './tolerance.ts';

/** Batches of one transfer that run at the same time; the endpoint's own limit is below it. */
const batchesInFlight = 4;

interface TransferInput {
  tenantId: string;
  runId: string;
  step: string;
  [fact: string]: Json;
}

/** `optionalFailed` is not in histories of before there were optional targets that fail no step. */
type BatchAnswer = TransferCounts & { optionalFailed?: number; firstFailure: Failure | null };

/**
 * `transfer.copy`: plans the deliveries into the ledger, copies them batch by batch, and closes the transfer. A batch
 * that fails does not stop the others, nor does what fails for an optional target fail the step. History holds the transfer's id and the number of batches, never the files.
 */
export async function copyFiles(
  walker: Walker,
  block: ActionBlock,
  place: Place,
  input: TransferInput,
  summary: string,
): Promise<Json> {
  const { transfers } = frameOf(walker.state, place.instance);
  transfers[block.path] ??= await plan(walker, block, input, summary);
  const cursor = transfers[block.path]!;
  await copyBatches(walker, block, input, cursor, summary);
  const failed = cursor.failure ?? null;
  const status = failed === null ? 'succeeded' : failed.kind === 'cancelled' ? 'cancelled' : 'failed';
  const counts = await finish(walker, input, cursor, status);
  delete transfers[block.path];
  const failure = failed ?? counts.firstFailure;
  const tolerated = failure?.kind !== 'cancelled' && isTolerated(block.tolerate, requiredFailed(counts), cursor.files);
  report(walker, input, cursor, failure === null || tolerated ? 'done' : 'failed', counts);
  const output = {
    transfer: publicId('transfer', cursor.transferId),
    files: counts.files,
    bytes: counts.bytes,
    skipped: counts.skipped,
    failed: counts.failed,
  };
  if (failure !== null && !tolerated)
    throw new StepFailed(told(failure, requiredFailed(counts), cursor, block, input.step), output);
  if (counts.failed > 0) walker.state.partial = true;
  return output;
}

/** What targets have not got that need not get it makes the run `partial`, and fails nothing. */
function requiredFailed({ failed, optionalFailed = 0 }: BatchAnswer): number {
  return failed - optionalFailed;
}

async function plan(
  walker: Walker,
  block: ActionBlock,
  input: TransferInput,
  summary: string,
): Promise<TransferCursor> {
  walker.report({ step: input.step, state: 'running', done: 0, total: 0, bytes: 0, failed: 0 });
  const planned = (await walker.port.call({
    activity: 'transfer.plan',
    queue: 'transfers',
    input,
    summary: `plan: ${summary}`,
    retry: block.retry,
    timeout: block.timeout,
    heartbeats: true,
  })) as unknown as Pick<TransferCursor, 'transferId' | 'files' | 'bytes' | 'batches'>;
  const { transferId, files, bytes, batches } = planned;
  return { transferId, files, bytes, batches, next: 0, done: { files: 0, bytes: 0, failed: 0 }, failure: null };
}

/** Leaves the first failure of a batch that gave up in the cursor. Suspends only between batches, when none is under way. */
async function copyBatches(
  walker: Walker,
  block: ActionBlock,
  input: TransferInput,
  cursor: TransferCursor,
  summary: string,
): Promise<void> {
  const running = new Set<Promise<void>>();
  const { tenantId, runId } = input;
  const { transferId, batches } = cursor;
  let batch = cursor.next;
  try {
    for (; batch < batches && cursor.failure?.kind !== 'cancelled'; batch++) {
      while (running.size >= batchesInFlight) await Promise.race(running);
      await walker.checkpoint();
      const task: Promise<void> = walker.port
        .call({
          activity: 'transfer.batch',
          queue: 'transfers',
          input: { tenantId, runId, transferId, batch },
          summary: batches === 1 ? summary : `${summary} (batch ${batch + 1} of ${batches})`,
          retry: block.retry,
          timeout: block.timeout,
          heartbeats: true,
        })
        .then((answer) => {
          const { files, bytes, failed } = answer as unknown as BatchAnswer;
          cursor.done.files += files;
          cursor.done.bytes += bytes;
          cursor.done.failed += failed;
          report(walker, input, cursor, 'running', cursor.done);
        })
        .catch((error: unknown) => {
          const failure = failureOf(error);
          if (cursor.failure === null || failure.kind === 'cancelled') cursor.failure = failure;
        })
        .finally(() => running.delete(task));
      running.add(task);
    }
  } catch (error) {
    // A suspension, or a cancellation while the run was paused: the ledger has to be closed for the latter.
    const failure = failureOf(error);
    cursor.failure ??= failure;
  } finally {
    await Promise.all(running);
    cursor.next = batch;
  }
}

function finish(
  walker: Walker,
  { tenantId, runId }: TransferInput,
  { transferId, failure }: TransferCursor,
  status: string,
): Promise<BatchAnswer> {
  const call = {
    activity: 'transfer.finish',
    queue: 'runs' as const,
    input: { tenantId, runId, transferId, status, failure: failure as unknown as Json },
    summary: 'close the transfer',
    retry: { forMs: 3_600_000, attempts: null, firstMs: 1000, factor: 2, maxMs: 30_000, jitter: 0.2, notOn: [] },
    timeout: { stallMs: 60_000, totalMs: 24 * 3_600_000 },
    attemptMs: 60_000,
    heartbeats: false,
  };
  return walker.port.protect(() => walker.port.call(call)) as Promise<unknown> as Promise<BatchAnswer>;
}

function report(
  walker: Walker,
  { step }: TransferInput,
  cursor: TransferCursor,
  state: 'running' | 'done' | 'failed',
  counts: { files: number; bytes: number; failed: number },
): void {
  walker.report({ step, state, done: counts.files, total: cursor.files, bytes: counts.bytes, failed: counts.failed });
}

function told(failure: Failure, failed: number, { files }: TransferCursor, block: ActionBlock, step: string): Failure {
  if (failure.kind === 'cancelled' || files <= 1) return { ...failure, step };
  const message = `${failed} of ${files} files failed${toldTolerance(block.tolerate)}; the first: ${failure.message}`;
  return { ...failure, step, message };
}
