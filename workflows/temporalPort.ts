import {
  ActivityCancellationType,
  ActivityFailure,
  type ActivityOptions,
  ApplicationFailure,
  CancellationScope,
  isCancellation,
  proxyActivities,
  setCurrentDetails,
  TimeoutFailure,
  workflowInfo,
} from '@temporalio/workflow';
import { type ErrorKind, errorKinds } from '../schema/errors.ts';
import type { Failure, Json } from '../schema/plan.ts';
import { formatBytes } from '../schema/quantities.ts';
import { type CallTerms, taskQueues } from '../schema/workflow.ts';
import { type Call, type Port, type ProgressLine, StepFailed } from './port.ts';

/** Events after which a run goes on in a new history, should the server not ask earlier. */
const historyEventsAtMost = 3_500;
/** A worker that says nothing for so long is taken for dead, and its activity is given to another. */
const heartbeatTimeoutMs = 15_000;

/** The interpreter's port on Temporal. */
export function temporalPort(): Port {
  return {
    call,
    protect: (work) => CancellationScope.nonCancellable(work),
    shouldSuspend: () => workflowInfo().continueAsNewSuggested || workflowInfo().historyLength > historyEventsAtMost,
    show: (lines) => setCurrentDetails(progressTable(lines)),
  };
}

async function call({ activity, queue, input, summary, retry, timeout, heartbeats }: Call): Promise<Json> {
  const options: ActivityOptions = {
    taskQueue: taskQueues[queue],
    summary,
    startToCloseTimeout: timeout.totalMs,
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
  const run = proxyActivities<Record<string, (input: Json, terms: CallTerms) => Promise<Json>>>(options)[activity]!;
  try {
    return await run(input, { retry, stallMs: timeout.stallMs });
  } catch (error) {
    throw new StepFailed(failureOfActivity(error, activity));
  }
}

/** What Temporal throws, as a Failure: activities put theirs into the details of an ApplicationFailure whose type is the kind. */
function failureOfActivity(error: unknown, activity: string): Failure {
  if (isCancellation(error)) return { kind: 'cancelled', message: 'cancelled', step: null, endpoint: null, path: null };
  const cause = error instanceof ActivityFailure ? error.cause : error;
  if (cause instanceof ApplicationFailure) {
    const details = cause.details?.[0] as Partial<Failure> | undefined;
    const kind: ErrorKind = cause.type != null && cause.type in errorKinds ? (cause.type as ErrorKind) : 'internal';
    return {
      kind,
      message: details?.message ?? cause.message,
      step: null,
      endpoint: details?.endpoint ?? null,
      path: details?.path ?? null,
    };
  }
  if (cause instanceof TimeoutFailure)
    return {
      kind: 'timeout',
      message: `${activity} took too long (${cause.timeoutType})`,
      step: null,
      endpoint: null,
      path: null,
    };
  return {
    kind: 'internal',
    message: cause instanceof Error ? cause.message : String(cause),
    step: null,
    endpoint: null,
    path: null,
  };
}

/** A Markdown table for the UI's details pane, whose cells have no space between them: they bring their own. */
function progressTable(lines: readonly ProgressLine[]): string {
  const row = (cells: string[]) => `| ${cells.join(` |${'\u00a0'.repeat(4)}`)} |`;
  const rows = lines.map(({ step, state, done, total, bytes, failed }) =>
    row([`\`${step}\``, state, `${done} of ${total}`, formatBytes(bytes), `${failed}`]),
  );
  return [row(['step', 'state', 'done', 'sent', 'failed']), '|---|---|--:|--:|--:|', ...rows].join('\n');
}
