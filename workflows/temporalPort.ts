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
import { type CallTerms, finishingStatus, taskQueues } from '../schema/workflow.ts';
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
}

/** `root`: the scope whose cancellation is the run's. */
export function temporalPort(root: CancellationScope): TemporalPort {
  const stoppable = new Set<CancellationScope>();
  let pausedFor: string | null = null;
  let waitsFor: string | null = null;
  let lines: Parameters<Port['show']>[0] = [];
  let underWay = 0;

  const mayGoOn = () => pausedFor === null || root.consideredCancelled;
  const show = () => setCurrentDetails(detailsPage(pausedFor ?? waitsFor, lines));

  function proceed(): Promise<void> | undefined {
    return mayGoOn() ? undefined : inTerms(() => condition(mayGoOn));
  }

  /** Calls until it settles otherwise than by a pause. */
  async function callAgain(call: Call): Promise<Json> {
    const around = CancellationScope.current();
    for (;;) {
      const scope = new CancellationScope();
      stoppable.add(scope);
      try {
        return await scope.run(() => callOnce(call));
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
      try {
        return await (call.heartbeats ? callAgain(call) : callOnce(call));
      } finally {
        underWay--;
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
    pause(reason) {
      pausedFor = reason;
      show();
      if (reason !== null) for (const scope of [...stoppable]) scope.cancel();
    },
  };
}

function callOnce({ activity, queue, input, summary, retry, timeout, attemptMs, heartbeats }: Call): Promise<Json> {
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
      ...(retry.attempts === null ? {} : { maximumAttempts: retry.attempts }),
      nonRetryableErrorTypes: [...retry.notOn],
    },
  };
  const terms: CallTerms = { retry, stallMs: timeout.stallMs };
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
