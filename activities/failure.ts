import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { asWaybillError, errorKinds, type WaybillError } from '../schema/errors.ts';
import type { Failure, RetryPolicy } from '../schema/plan.ts';

const messageLength = 2_000;

/** Whether a failure gets another attempt after attempt number `attempt`, as far as its kind and the number of attempts go. */
export function mayRetry(error: WaybillError, policy: RetryPolicy, attempt: number): boolean {
  return (
    !error.permanent && !policy.notOn.includes(error.kind) && (policy.attempts === null || attempt < policy.attempts)
  );
}

/**
 * The one place where a failure is put into Temporal's words: type = kind, non-retryable when its kind is permanent, the
 * step says so or its patience (`forMs` since `startedAtMs`) is at an end; else the delay until the next attempt, with
 * jitter and what the server asked for. A cancellation stays one. The message says kind, place and what to do; the
 * details hold the Failure. `random` gives 0..1.
 */
export function toApplicationFailure(
  thrown: unknown,
  terms: { policy: RetryPolicy; attempt: number; startedAtMs: number; nowMs?: number; random?: () => number },
): ApplicationFailure | CancelledFailure {
  if (thrown instanceof ApplicationFailure || thrown instanceof CancelledFailure) return thrown;
  const error = asWaybillError(thrown);
  if (error.kind === 'cancelled') return new CancelledFailure(error.message);
  const { policy, attempt, startedAtMs, nowMs = Date.now(), random = Math.random } = terms;
  const delayMs = nextDelayMs(error, policy, attempt, random);
  const inTime = nowMs + delayMs - startedAtMs <= policy.forMs;
  const again = mayRetry(error, policy, attempt) && inTime;
  return ApplicationFailure.create({
    message: `${error.kind}: ${tellFailure(error, messageLength).replace(/\.$/, '')}. ${error.context.advice ?? errorKinds[error.kind].advice}`,
    type: error.kind,
    nonRetryable: !again,
    details: [asFailure(error)],
    ...(again && { nextRetryDelay: delayMs }),
  });
}

/** Grows by `factor` up to `maxMs`, is spread by `jitter`, and is never shorter than the server asked for. */
export function nextDelayMs(error: WaybillError, policy: RetryPolicy, attempt: number, random: () => number): number {
  const grown = Math.min(policy.maxMs, policy.firstMs * policy.factor ** Math.min(attempt - 1, 1_000));
  const spread = grown * (1 + policy.jitter * (2 * random() - 1));
  const asked = typeof error.context.retryAfterMs === 'number' ? error.context.retryAfterMs : 0;
  return Math.round(Math.max(spread, asked, 1));
}

/** `acme-sftp /out/a.csv: No such file`: the place, unless the message names it, and what happened. */
export function tellFailure(error: WaybillError, maxLength: number): string {
  const { endpoint, path } = error.context;
  const place = [endpoint, path].filter((part) => typeof part === 'string' && !error.message.includes(part)).join(' ');
  const text = place === '' ? error.message : `${place}: ${error.message}`;
  return text.length <= maxLength ? text : `${text.slice(0, maxLength - 1).toWellFormed()}…`;
}

/** The failure as data, for rows and for the workflow. Only what people may read: no cause, no stack. */
export function asFailure(error: WaybillError): Failure {
  const { endpoint, path } = error.context;
  return {
    kind: error.kind,
    message: tellFailure(error, messageLength),
    step: null,
    endpoint: typeof endpoint === 'string' ? endpoint : null,
    path: typeof path === 'string' ? path : null,
  };
}
