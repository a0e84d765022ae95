import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import {
  ActivityCancellationType,
  ActivityFailure,
  type ActivityOptions,
  ApplicationFailure,
  CancellationScope,
  condition,
  isCancellation,
  scheduleActivity,
  setCurrentDetails,
  sleep,
  TimeoutFailure,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import { type ErrorKind, errorKinds } from '../schema/errors.ts';
import type { Failure, Json } from '../schema/plan.ts';
import {
  type CallTerms,
  finishingStatus,
  type Hold,
  isHeld,
  type RunArguments,
  type Spent,
  taskQueues,
  toldHolds,
} from '../schema/workflow.ts';
import { type HeldCall, Holds } from './holds.ts';
import { type Call, type Port, StepFailed } from './port.ts';
import { detailsPage } from './summaries.ts';

/** How the run stands, for the lists of Temporal's UI: a status of a run, `paused` or `finishing`. */
export const statusAttribute = defineSearchAttributeKey('WaybillStatus', SearchAttributeType.KEYWORD);

/** A history stays below this many events, what is under way when the run suspends included. */
const historyEventsAtMost = 3_900;
/** What a call that is under way may still add: started, completed, and a workflow task of its own. */
const eventsOfCall = 6;
/** A worker that says nothing for so long is taken for dead, and its activity is given to another. */
const heartbeatTimeoutMs = 15_000;

/** The interpreter's port on Temporal, with the switch that pauses it. */
export interface TemporalPort extends Port {
  /** Stops what can be called again, and lets nothing new begin, until it is called with null. The text says why, to the operator. */
  pause(reason: string | null): void;
  /** What the whole run waits for, said above the table of its steps; null when it goes on. */
  announce(waitsFor: string | null): void;
  /** An endpoint that held calls of this run takes work again: they try at once. */
  release(): void;
}

/** What opens, reads and closes a run outlasts an hour without a database. */
export const bookkeeping = {
  queue: 'runs' as const,
  retry: { forMs: 3_600_000, attempts: null, firstMs: 500, factor: 2, maxMs: 10_000, jitter: 0.2, notOn: [] },
  timeout: { stallMs: 30_000, totalMs: 24 * 3_600_000 },
  attemptMs: 30_000,
  heartbeats: false,
};

/** `root`: the scope whose cancellation is the run's. */
export function temporalPort(root: CancellationScope, run: RunArguments): TemporalPort {
  const stoppable = new Set<CancellationScope>();
  let pausedFor: string | null = null;
  let waitsFor: string | null = null;
  let lines: Parameters<Port['show']>[0] = [];
  let underWay = 0;

  const mayGoOn = () => pausedFor === null || root.consideredCancelled;
  const show = () => setCurrentDetails(detailsPage(pausedFor ?? waitsFor ?? toldWait(holds.list()), lines));
  const holds = new Holds((list) => noteHolds(run, list), show);

  function proceed(): Promise<void> | undefined {
    return mayGoOn() ? undefined : inTerms(() => condition(mayGoOn));
  }

  /** Calls until it settles otherwise than by a pause. */
  async function callAgain(call: Call, spent: Spent | undefined): Promise<Json> {
    const around = CancellationScope.current();
    for (;;) {
      const scope = new CancellationScope();
      stoppable.add(scope);
      try {
        return await scope.run(() => callOnce(call, spent));
      } catch (error) {
        const isStopped =
          error instanceof StepFailed && error.failure.kind === 'cancelled' && scope.consideredCancelled;
        if (!isStopped || around.consideredCancelled) throw error;
      } finally {
        stoppable.delete(scope);
      }
      await proceed();
    }
  }

  return {
    async call(call) {
      underWay++;
      let held: HeldCall | undefined;
      let spent: Spent | undefined;
      let waits = false;
      try {
        for (;;) {
          const answer = await (call.heartbeats ? callAgain(call, spent) : callOnce(call, spent));
          if (!isHeld(answer)) return answer;
          spent = answer.spent;
          waits = true;
          if (held === undefined) held = holds.hold(answer.held);
          else held.again(answer.held);
          await inTerms(held.turn);
          await proceed();
          waits = false;
        }
      } finally {
        underWay--;
        if (held !== undefined) await held.leave(!waits);
      }
    },
    now: () => Date.now(),
    sleepUntil: (timeMs, summary) => inTerms(() => sleep(Math.max(1, timeMs - Date.now()), { summary })),
    protect: (work) => CancellationScope.nonCancellable(work),
    cancellable(work) {
      const scope = new CancellationScope();
      return { result: scope.run(work), cancel: () => scope.cancel() };
    },
    proceed,
    shouldSuspend() {
      const { continueAsNewSuggested, historyLength } = workflowInfo();
      return continueAsNewSuggested || historyLength + eventsOfCall * underWay > historyEventsAtMost;
    },
    beginFinally: () => upsertSearchAttributes([{ key: statusAttribute, value: finishingStatus }]),
    show(progress) {
      lines = progress;
      show();
    },
    announce(what) {
      waitsFor = what;
      show();
    },
    release: () => holds.release(),
    pause(reason) {
      pausedFor = reason;
      show();
      if (reason !== null) for (const scope of [...stoppable]) scope.cancel();
    },
  };
}

/** `waits for acme-sftp, paused until ...` */
function toldWait(holds: readonly Hold[]): string | null {
  const told = toldHolds(holds);
  return told === null ? null : `waits for ${told}`;
}

async function noteHolds(run: RunArguments, holds: Hold[]): Promise<string[]> {
  const input = { ...run, holds } as unknown as Json;
  const summary = 'note what the run waits for';
  const answer = await callOnce({ activity: 'run.holds', input, summary, ...bookkeeping });
  return (answer as unknown as { free: string[] }).free;
}

function callOnce(
  { activity, queue, input, summary, retry, timeout, attemptMs, heartbeats }: Call,
  spent?: Spent,
): Promise<Json> {
  const options: ActivityOptions = {
    taskQueue: taskQueues[queue],
    summary,
    scheduleToCloseTimeout: timeout.totalMs,
    startToCloseTimeout: Math.min(timeout.totalMs, attemptMs ?? timeout.totalMs),
    ...(heartbeats ? { heartbeatTimeout: heartbeatTimeoutMs } : {}),
    cancellationType: heartbeats
      ? ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
      : ActivityCancellationType.TRY_CANCEL,
    retry: {
      initialInterval: retry.firstMs,
      backoffCoefficient: retry.factor,
      maximumInterval: Math.max(retry.maxMs, retry.firstMs),
      // What heartbeats counts its failed attempts itself: a worker that dies or is shut down spends none.
      ...(retry.attempts === null || heartbeats
        ? {}
        : { maximumAttempts: Math.max(1, retry.attempts - (spent?.attempts ?? 0)) }),
      nonRetryableErrorTypes: [...retry.notOn],
    },
  };
  const terms: CallTerms = { retry, stallMs: timeout.stallMs, ...(spent && { spent }) };
  return inTerms(() => scheduleActivity<Json>(activity, [input, terms], options), activity);
}

/** What Temporal throws, in the port's terms. */
async function inTerms<Result>(work: () => Promise<Result>, activity = 'a wait'): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw new StepFailed(failureOfActivity(error, activity));
  }
}

/** What Temporal throws, as a Failure: activities put theirs into the details of an ApplicationFailure whose type is the kind. */
function failureOfActivity(error: unknown, activity: string): Failure {
  const failure = (kind: ErrorKind, message: string, details?: Partial<Failure>): Failure => ({
    kind,
    message,
    step: null,
    endpoint: details?.endpoint ?? null,
    path: details?.path ?? null,
  });
  if (isCancellation(error)) return failure('cancelled', 'cancelled');
  const cause = error instanceof ActivityFailure ? error.cause : error;
  if (cause instanceof ApplicationFailure) {
    const details = cause.details?.[0] as Partial<Failure> | undefined;
    const kind: ErrorKind = cause.type != null && cause.type in errorKinds ? (cause.type as ErrorKind) : 'internal';
    return failure(kind, details?.message ?? cause.message, details);
  }
  if (cause instanceof TimeoutFailure) {
    const last = cause.cause instanceof ApplicationFailure ? cause.cause : undefined;
    const details = last?.details?.[0] as Partial<Failure> | undefined;
    const why = details?.message ?? last?.message;
    const told = `${activity} ${timeouts[cause.timeoutType ?? 'START_TO_CLOSE']}`;
    return failure('timeout', why === undefined ? told : `${told}; the last failure: ${why}`, details);
  }
  return failure('internal', cause instanceof Error ? cause.message : String(cause));
}

const timeouts: Record<NonNullable<TimeoutFailure['timeoutType']>, string> = {
  START_TO_CLOSE: 'took too long',
  SCHEDULE_TO_CLOSE: 'did not succeed within its timeout.total',
  SCHEDULE_TO_START: 'was taken by no worker',
  HEARTBEAT: 'lost its worker again and again',
};
