import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import {
  ApplicationFailure,
  allHandlersFinished,
  CancellationScope,
  CancelledFailure,
  condition,
  continueAsNew,
  defineSignal,
  getExternalWorkflowHandle,
  isCancellation,
  setHandler,
  upsertSearchAttributes,
} from '@temporalio/workflow';
import type { Failure, Json, Plan, RunFacts, TransferCounts } from '../schema/plan.ts';
import { type RunArguments, runSignals } from '../schema/workflow.ts';
import { interpret, type Walk } from './interpreter.ts';
import { StepFailed } from './port.ts';
import { retryDeliveries } from './retry.ts';
import { newRunState, type RunState } from './state.ts';
import { failureSentence } from './summaries.ts';
import { bookkeeping, statusAttribute, type TemporalPort, temporalPort } from './temporalPort.ts';

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
  paused: boolean;
}

/** What the first activity answers. */
export type BeginAnswer =
  | ({ state: 'running' } & LoadedRun)
  /** Other runs hold the concurrency key; the workflows of `cancel` are to be cancelled. */
  | { state: 'waiting'; message: string; cancel: string[] }
  /** The run is closed already. */
  | { state: 'refused'; failure: Failure };

/** What the last activity answers. */
interface ClosedRun extends TransferCounts {
  status: string;
  /** Workflows that wait for the concurrency key. */
  wake: string[];
}

/** What an earlier history of the same run left. */
interface Carried {
  loaded: LoadedRun;
  state: RunState;
  cancelled: boolean;
  /** Why it is paused, or null. */
  paused: string | null;
}

const controlSignal = defineSignal(runSignals.control);
const admissionSignal = defineSignal(runSignals.admission);
const releasedSignal = defineSignal(runSignals.released);
/** Should the signal of the run before it be lost, a waiting run asks by itself. */
const admissionAskedEveryMs = 60_000;

/**
 * One run of a pipeline. It is the default workflow of its bundle, and the bundle exports nothing else: each run is
 * started with the pipeline's name as its workflow type.
 */
export default async function run(start: RunArguments, carried?: Carried): Promise<Json> {
  return new Run(start, carried).walk();
}

class Run {
  readonly #start: RunArguments;
  readonly #carried: Carried | undefined;
  /** What the run does, but for its ending. Cancelled from the beginning when the run was cancelled in an earlier history. */
  readonly #scope = new CancellationScope();
  readonly #port: TemporalPort;
  #paused: string | null;
  /** Numbers the readings of the decision: of two under way the later one counts. */
  #asked = 0;

  constructor(start: RunArguments, carried: Carried | undefined) {
    this.#start = start;
    this.#carried = carried;
    this.#paused = carried?.paused ?? null;
    if (carried?.cancelled) this.#scope.cancel();
    this.#port = temporalPort(this.#scope, start);
    this.#port.pause(this.#paused);
    setHandler(controlSignal, () => this.#readDecision());
    setHandler(releasedSignal, () => this.#port.release());
  }

  async walk(): Promise<Json> {
    const state = this.#carried?.state ?? newRunState();
    let loaded = this.#carried?.loaded;
    let walk: Walk;
    try {
      loaded ??= await this.#scope.run(() => this.#begin());
      if (loaded === undefined) return await continueAsNew(this.#start);
      walk = await this.#scope.run(() => this.#interpret(loaded!, state));
    } catch (error) {
      if (!(error instanceof StepFailed) && !isCancellation(error)) throw error;
      const failure = error instanceof StepFailed ? error.failure : cancelled;
      walk = { end: 'done', status: failure.kind === 'cancelled' ? 'cancelled' : 'failed', failure, outputs: null };
    }
    if (walk.end === 'suspended') {
      await CancellationScope.nonCancellable(() => condition(allHandlersFinished));
      return continueAsNew(this.#start, {
        loaded: loaded!,
        state,
        cancelled: this.#scope.consideredCancelled,
        paused: this.#paused,
      } satisfies Carried);
    }
    return CancellationScope.nonCancellable(() => this.#end(walk));
  }

  /** Undefined when it has waited for its turn so long that it has to go on in a new history. */
  async #begin(): Promise<LoadedRun | undefined> {
    const { tenantId, runId } = this.#start;
    let admission = false;
    setHandler(admissionSignal, () => {
      admission = true;
    });
    for (;;) {
      admission = false;
      const answer = (await this.#port.call({
        activity: 'run.begin',
        input: { tenantId, runId },
        summary: 'load the plan, open the session',
        ...bookkeeping,
      })) as unknown as BeginAnswer;
      if (answer.state === 'refused') throw endedAs(answer.failure);
      if (answer.state === 'running') {
        if (answer.paused) await this.#readDecision();
        this.#port.announce(null);
        return answer;
      }
      this.#port.announce(answer.message);
      for (const workflowId of answer.cancel) await quietly(() => getExternalWorkflowHandle(workflowId).cancel());
      if (this.#port.shouldSuspend()) return undefined;
      await condition(() => admission, admissionAskedEveryMs);
    }
  }

  #interpret(loaded: LoadedRun, state: RunState): Promise<Walk> {
    const { tenantId, runId } = this.#start;
    const context = { tenantId, runId, inputs: loaded.inputs, run: loaded.run };
    return loaded.retry === null
      ? interpret(loaded.plan, context, state, this.#port)
      : retryDeliveries(loaded, this.#start, this.#port);
  }

  /** The signal carries nothing: what was decided stands in the database. */
  async #readDecision(): Promise<void> {
    const { tenantId, runId } = this.#start;
    const nth = ++this.#asked;
    await CancellationScope.nonCancellable(async () => {
      const { paused, message } = (await this.#port.call({
        activity: 'run.control',
        input: { tenantId, runId },
        summary: 'read whether the run is paused',
        ...bookkeeping,
      })) as unknown as { paused: boolean; message: string | null };
      if (nth !== this.#asked) return;
      const now = paused ? (message ?? 'paused') : null;
      if (now === this.#paused) return;
      this.#paused = now;
      this.#port.pause(now);
      upsertSearchAttributes([{ key: statusAttribute, value: paused ? 'paused' : 'running' }]);
    });
  }

  async #end(walk: Walk & { end: 'done' }): Promise<Json> {
    const { tenantId, runId } = this.#start;
    const { failure, outputs } = walk;
    this.#port.announce(failure === null ? null : failureSentence(failure));
    const closed = (await this.#port.call({
      activity: 'run.finish',
      input: { tenantId, runId, status: walk.status, error: failure as unknown as Json, outputs },
      summary: `close the run as ${walk.status}`,
      ...bookkeeping,
    })) as unknown as ClosedRun;
    upsertSearchAttributes([
      { key: statusAttribute, value: closed.status },
      { key: files, value: closed.files },
      { key: failedFiles, value: closed.failed },
      { key: bytes, value: closed.bytes },
      ...(failure === null ? [] : [{ key: errorCode, value: failure.kind }]),
    ]);
    for (const workflowId of closed.wake)
      await quietly(() => getExternalWorkflowHandle(workflowId).signal(admissionSignal));
    await condition(allHandlersFinished);
    if (walk.status === 'cancelled') throw new CancelledFailure('the run was cancelled');
    if (walk.status === 'failed') throw endedAs(failure ?? cancelled);
    const { files: delivered, bytes: sent, skipped, failed } = closed;
    return { status: closed.status, files: delivered, bytes: sent, skipped, failed, outputs };
  }
}

function endedAs(failure: Failure): ApplicationFailure {
  return ApplicationFailure.nonRetryable(failureSentence(failure), failure.kind, failure);
}

/** The other workflow may have ended; then there is nothing to tell it. */
async function quietly(tell: () => Promise<void>): Promise<void> {
  try {
    await tell();
  } catch (error) {
    if (isCancellation(error)) throw error;
  }
}

const cancelled: Failure = { kind: 'cancelled', message: 'cancelled', step: null, endpoint: null, path: null };
