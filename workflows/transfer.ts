import { publicId } from '../schema/names.ts';
import type { ActionBlock, Failure, Json, TransferCounts } from '../schema/plan.ts';
import { failureOf, Suspended, type Walker } from './interpreter.ts';
import { StepFailed } from './port.ts';
import type { TransferCursor } from './state.ts';

/** Batches of one transfer that run at the same time; the endpoint's own limit is below it. */
const batchesInFlight = 4;

interface TransferInput {
  tenantId: string;
  runId: string;
  step: string;
  [fact: string]: Json;
}

type BatchAnswer = TransferCounts & { firstFailure: Failure | null };

/**
 * `transfer.copy`: plans the deliveries into the ledger, copies them batch by batch, and closes the transfer. A batch
 * that fails does not stop the others. History holds the transfer's id and the number of batches, never the files.
 */
export async function copyFiles(
  walker: Walker,
  block: ActionBlock,
  input: TransferInput,
  summary: string,
): Promise<Json> {
  const key = String(input.stepKey);
  const cursor = await plan(walker, block, input, key, summary);
  let status: 'succeeded' | 'failed' | 'cancelled' = 'succeeded';
  let failure: Failure | null = null;
  try {
    failure = await copyBatches(walker, block, input, cursor, summary);
    if (failure !== null) status = failure.kind === 'cancelled' ? 'cancelled' : 'failed';
  } catch (error) {
    failure = failureOf(error);
    status = failure.kind === 'cancelled' ? 'cancelled' : 'failed';
  }
  const counts = await finish(walker, input, cursor, status, failure);
  delete walker.state.transfers[key];
  walker.report({
    step: input.step,
    state: status === 'succeeded' ? 'done' : 'failed',
    done: counts.files,
    total: cursor.files,
    bytes: counts.bytes,
    failed: counts.failed,
  });
  if (failure === null && counts.firstFailure !== null) failure = counts.firstFailure;
  if (failure !== null) throw new StepFailed(told(failure, counts, cursor, input.step));
  return {
    transfer: publicId('transfer', cursor.transferId),
    files: counts.files,
    bytes: counts.bytes,
    skipped: counts.skipped,
    failed: counts.failed,
  };
}

async function plan(
  walker: Walker,
  block: ActionBlock,
  input: TransferInput,
  key: string,
  summary: string,
): Promise<TransferCursor> {
  const known = walker.state.transfers[key];
  if (known !== undefined) return known;
  walker.report({ step: input.step, state: 'running', done: 0, total: 0, bytes: 0, failed: 0 });
  const planned = (await walker.port.call({
    activity: 'transfer.plan',
    queue: 'transfers',
    input,
    summary: `plan: ${summary}`,
    retry: block.retry,
    timeout: block.timeout,
    heartbeats: true,
  })) as unknown as Omit<TransferCursor, 'next'>;
  const cursor = {
    transferId: planned.transferId,
    files: planned.files,
    bytes: planned.bytes,
    batches: planned.batches,
    next: 0,
  };
  walker.state.transfers[key] = cursor;
  return cursor;
}

/** Gives the first failure of a batch that gave up, or null. Suspends only between batches, when none is under way. */
async function copyBatches(
  walker: Walker,
  block: ActionBlock,
  input: TransferInput,
  cursor: TransferCursor,
  summary: string,
): Promise<Failure | null> {
  const running = new Set<Promise<void>>();
  const first: { failure: Failure | null } = { failure: null };
  let done = { files: 0, bytes: 0, failed: 0 };
  for (let batch = cursor.next; batch < cursor.batches && first.failure?.kind !== 'cancelled'; batch++) {
    while (running.size >= batchesInFlight) await Promise.race(running);
    if (walker.port.shouldSuspend()) {
      await Promise.all(running);
      cursor.next = batch;
      throw new Suspended();
    }
    const task: Promise<void> = walker.port
      .call({
        activity: 'transfer.batch',
        queue: 'transfers',
        input: {
          tenantId: input.tenantId,
          runId: input.runId,
          transferId: cursor.transferId,
          batch,
        },
        summary: cursor.batches === 1 ? summary : `${summary} (batch ${batch + 1} of ${cursor.batches})`,
        retry: block.retry,
        timeout: block.timeout,
        heartbeats: true,
      })
      .then((answer) => {
        const counts = answer as unknown as BatchAnswer;
        done = {
          files: done.files + counts.files,
          bytes: done.bytes + counts.bytes,
          failed: done.failed + counts.failed,
        };
        walker.report({
          step: input.step,
          state: 'running',
          done: done.files,
          total: cursor.files,
          bytes: done.bytes,
          failed: done.failed,
        });
      })
      .catch((error: unknown) => {
        first.failure ??= failureOf(error);
      })
      .finally(() => running.delete(task));
    running.add(task);
  }
  await Promise.all(running);
  return first.failure;
}

function finish(
  walker: Walker,
  { tenantId, runId }: TransferInput,
  { transferId }: TransferCursor,
  status: string,
  failure: Failure | null,
): Promise<BatchAnswer> {
  const call = {
    activity: 'transfer.finish',
    queue: 'runs' as const,
    input: { tenantId, runId, transferId, status, failure: failure as unknown as Json },
    summary: 'close the transfer',
    retry: { forMs: 3_600_000, attempts: null, firstMs: 1000, factor: 2, maxMs: 30_000, jitter: 0.2, notOn: [] },
    timeout: { stallMs: 60_000, totalMs: 60_000 },
    heartbeats: false,
  };
  return walker.port.protect(() => walker.port.call(call)) as Promise<unknown> as Promise<BatchAnswer>;
}

function told(failure: Failure, counts: TransferCounts, cursor: TransferCursor, step: string): Failure {
  if (failure.kind === 'cancelled' || cursor.files <= 1) return { ...failure, step };
  return {
    ...failure,
    step,
    message: `${counts.failed} of ${cursor.files} files failed; the first: ${failure.message}`,
  };
}
