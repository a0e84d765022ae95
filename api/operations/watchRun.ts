import { setTimeout as pause } from 'node:timers/promises';
import { allow } from '../../identity/permissions.ts';
import type { Run } from '../../prisma/generated/client.ts';
import { asWaybillError, WaybillError } from '../../schema/errors.ts';
import type { ApiContext } from '../context.ts';
import { limits } from '../limits.ts';
import type { RunProgress } from '../loaders.ts';
import { hasEnded } from './runState.ts';

/**
 * The run now and after each change, until it has ended or the client has gone; who asks is verified again every few seconds.
 * Throws not-found before the first, rate-limited for too many open subscriptions of the key, unauthenticated when the
 * key or the session ends, unavailable when the database is away for too long.
 */
export async function watchRun(
  context: ApiContext,
  runId: string | undefined,
  authorisedMs: number = limits.watchAuthorisedMs,
): Promise<AsyncIterable<Run>> {
  const run = runId === undefined ? null : await context.loaders.run.load(runId);
  if (run === null) throw new WaybillError('not-found', 'there is no such run', { field: 'id' });
  const release = context.openSubscription();
  // A client may go before the first value is asked for; the generator below never runs then.
  context.signal.addEventListener('abort', release, { once: true });
  return changes(context, run.id, authorisedMs, release);
}

async function* changes(
  context: ApiContext,
  runId: string,
  authorisedMs: number,
  release: () => void,
): AsyncGenerator<Run> {
  const { signal } = context;
  let seen = '';
  let authorisedAt = performance.now();
  let readAt = performance.now();
  try {
    while (!signal.aborted) {
      const began = performance.now();
      if (began - authorisedAt > authorisedMs && (await authorise(context, began - authorisedAt - authorisedMs)))
        authorisedAt = began;
      const found = await look(context, runId, began - readAt);
      if (found !== undefined) {
        if (found.run === null) return;
        readAt = began;
        const state = digest(found.run, found.progress);
        if (state !== seen) yield found.run;
        seen = state;
        if (hasEnded(found.run.status)) return;
      }
      // A run of very many files takes long to sum up: looking then takes a tenth of the time at most.
      await pause(Math.max(limits.watchIntervalMs, 10 * (performance.now() - began)), undefined, { signal }).catch(
        () => {},
      );
    }
  } finally {
    release();
  }
}

/** The run and its figures; undefined while the database is away, for as long as a watcher waits for it. */
async function look({ loaders }: ApiContext, runId: string, awayMs: number) {
  try {
    const [run, progress] = await Promise.all([loaders.run.load(runId), loaders.progress.load(runId)]);
    return { run, progress };
  } catch (thrown) {
    return waitOut(thrown, awayMs);
  }
}

async function authorise({ authenticateAgain }: ApiContext, overdueMs: number): Promise<boolean> {
  try {
    const caller = await authenticateAgain();
    if (!allow(caller, 'run:read')) throw new WaybillError('forbidden', 'the credential may not read runs any more');
    return true;
  } catch (thrown) {
    waitOut(thrown, overdueMs);
    return false;
  }
}

function waitOut(thrown: unknown, awayMs: number): undefined {
  const { kind } = asWaybillError(thrown);
  const mayPass = kind === 'unavailable' || kind === 'timeout';
  if (!mayPass || awayMs > limits.watchPatienceMs) throw thrown;
}

function digest(
  { status, startedAt, endedAt, sessionId, cancelRequestedAt, pausedAt, waitingFor, files, skipped, failed }: Run,
  progress: RunProgress,
) {
  const times = [startedAt, endedAt, cancelRequestedAt, pausedAt];
  return JSON.stringify([status, times, sessionId, waitingFor, files, skipped, failed, progress]);
}
