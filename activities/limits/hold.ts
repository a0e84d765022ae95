import type { BreakerStanding, EndpointStanding } from '../../prisma/endpoints.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { Hold } from '../../schema/workflow.ts';

/** While another use tries whether the endpoint is back, the others look again after so long. */
const trialWaitMs = 2_000;

/** Why an endpoint takes no work now, or null; `trial`: one use may go on, and it has to be asked for which. */
export function holdNow(
  endpoint: string,
  { pause, breaker, nowMs }: EndpointStanding,
  credential: string,
): Hold | 'trial' | null {
  if (pause !== null) {
    const until = pause.untilMs === null ? '' : ` until ${toSeconds(pause.untilMs)}`;
    const why = pause.reason === null ? '' : `: ${pause.reason}`;
    return { endpoint, reason: `paused${until}${why}`, untilMs: pause.untilMs };
  }
  if (breaker === null || breaker.openUntilMs === null || breaker.credential !== credential) return null;
  if (breaker.openUntilMs > nowMs) {
    const reason = `${toldFailures(breaker)} and is tried again at ${toSeconds(breaker.openUntilMs)}; ${toldLast(breaker)}`;
    return { endpoint, reason, untilMs: breaker.openUntilMs };
  }
  const isTried = breaker.trialUntilMs !== null && breaker.trialUntilMs > nowMs;
  return isTried ? triedHold(endpoint, breaker, nowMs) : 'trial';
}

/** What the others wait for while one use tries whether the endpoint is back. */
export function triedHold(endpoint: string, breaker: BreakerStanding, nowMs: number): Hold {
  const reason = `${toldFailures(breaker)} and is being tried; ${toldLast(breaker)}`;
  return { endpoint, reason, untilMs: nowMs + trialWaitMs };
}

const toldFailures = ({ failures }: BreakerStanding) => `which failed ${failures} times in a row`;
const toldLast = ({ message }: BreakerStanding) => `the last time: ${message}`;

/** What `endpoints.use` throws while the endpoint is held: no failure, and told from one by `holdOf`. */
export function heldError(hold: Hold): WaybillError {
  return new WaybillError('unavailable', `${hold.endpoint} takes no work now: ${hold.reason}`, {
    operation: 'opening',
    endpoint: hold.endpoint,
    held: hold,
    advice: 'It goes on by itself; `waybill endpoints resume` ends a pause at once.',
  });
}

/** The hold that an error tells of, or null: it is a failure. */
export function holdOf(error: unknown): Hold | null {
  return error instanceof WaybillError && error.context.held !== undefined ? (error.context.held as Hold) : null;
}

/** `2026-11-22 18:00:00Z` */
function toSeconds(timeMs: number): string {
  return new Date(timeMs)
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, 'Z');
}
