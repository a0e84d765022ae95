import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import {
  ApplicationFailure,
  CancelledFailure,
  continueAsNew,
  isCancellation,
  upsertSearchAttributes,
} from '@temporalio/workflow';
import type { Failure, Json, Plan, RunFacts, TransferCounts } from '../schema/plan.ts';
import type { RunArguments } from '../schema/workflow.ts';
import { interpret, type Walk } from './interpreter.ts';
import { type Port, StepFailed } from './port.ts';
import { retryDeliveries } from './retry.ts';
import { newRunState, type RunState } from './state.ts';
import { temporalPort } from './temporalPort.ts';

const status = defineSearchAttributeKey('WaybillStatus', SearchAttributeType.KEYWORD);
const errorCode = defineSearchAttributeKey('WaybillErrorCode', SearchAttributeType.KEYWORD);
const files = defineSearchAttributeKey('WaybillFiles', SearchAttributeType.INT);
const failedFiles = defineSearchAttributeKey('WaybillFailed', SearchAttributeType.INT);
const bytes = defineSearchAttributeKey('WaybillBytes', SearchAttributeType.INT);

/** What the first activity loads. It is in history, so a run keeps its version to the end. */
export interface LoadedRun {
  plan: Plan;
  inputs: Record<string, Json>;
  run: RunFacts;
  /** With a retry of single deliveries: the transfers that hold them, already planned. */
  retry: Array<{ transferId: string; batches: number }> | null;
}

/** What the last activity answers. */
interface ClosedRun extends TransferCounts {
  status: string;
}

/**
 * One run of a pipeline. It is the default workflow of its bundle, and the bundle exports nothing else: each run is
 * started with the pipeline's name as its workflow type. `carried` is what an earlier history of the same run left.
 */
export default async function run(
  start: RunArguments,
  carried?: { loaded: LoadedRun; state: RunState },
): Promise<Json> {
  const port = temporalPort();
  const state = carried?.state ?? newRunState();
  let loaded = carried?.loaded;
  let walk: Walk;
  try {
    loaded ??= await begin(port, start);
    const context = { tenantId: start.tenantId, runId: start.runId, inputs: loaded.inputs, run: loaded.run };
    walk =
      loaded.retry === null
        ? await interpret(loaded.plan, context, state, port)
        : await retryDeliveries(loaded, start, port);
  } catch (error) {
    if (!(error instanceof StepFailed) && !isCancellation(error)) throw error;
    const failure = error instanceof StepFailed ? error.failure : cancelled;
    walk = { end: 'done', status: failure.kind === 'cancelled' ? 'cancelled' : 'failed', failure, outputs: null };
  }
  if (walk.end === 'suspended') return continueAsNew(start, { loaded, state });
  const closed = await finish(port, start, walk);
  upsertSearchAttributes([
    { key: status, value: closed.status },
    { key: files, value: closed.files },
    { key: failedFiles, value: closed.failed },
    { key: bytes, value: closed.bytes },
    ...(walk.failure === null ? [] : [{ key: errorCode, value: walk.failure.kind }]),
  ]);
  if (walk.status === 'cancelled') throw new CancelledFailure('the run was cancelled');
  if (walk.status === 'failed')
    throw ApplicationFailure.nonRetryable(walk.failure?.message ?? 'failed', walk.failure?.kind, walk.failure);
  return {
    status: closed.status,
    files: closed.files,
    bytes: closed.bytes,
    skipped: closed.skipped,
    failed: closed.failed,
    outputs: walk.outputs,
  };
}

const cancelled: Failure = { kind: 'cancelled', message: 'cancelled', step: null, endpoint: null, path: null };
/** The first and the last activity outlast an hour without a database. */
const bookkeeping = {
  queue: 'runs' as const,
  retry: { forMs: 3_600_000, attempts: null, firstMs: 500, factor: 2, maxMs: 10_000, jitter: 0.2, notOn: [] },
  timeout: { stallMs: 30_000, totalMs: 30_000 },
  heartbeats: false,
};

async function begin(port: Port, { tenantId, runId }: RunArguments): Promise<LoadedRun> {
  const input = { tenantId, runId };
  return (await port.call({
    activity: 'run.begin',
    input,
    summary: 'load the plan, open the session',
    ...bookkeeping,
  })) as unknown as LoadedRun;
}

async function finish(port: Port, { tenantId, runId }: RunArguments, walk: Walk & { end: 'done' }): Promise<ClosedRun> {
  const input = { tenantId, runId, status: walk.status, error: walk.failure as unknown as Json, outputs: walk.outputs };
  const call = { activity: 'run.finish', input, summary: `close the run as ${walk.status}`, ...bookkeeping };
  return (await port.protect(() => port.call(call))) as unknown as ClosedRun;
}
