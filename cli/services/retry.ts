import { setTimeout as delay } from 'node:timers/promises';
import type { Log } from '../../connectors/contract.ts';
import { asWaybillError } from '../../schema/errors.ts';

const firstWaitMs = 250;
const maxWaitMs = 5_000;
/** A service whose database or Temporal stays away for so long ends, and leaves it to its supervisor. */
const startupWaitMs = 5 * 60_000;

/**
 * Does it until it works: a service that starts before its database waits for it, saying so, instead of dying. Errors that
 * time does not cure (permanent kinds) are thrown at once, others after five minutes; cancelled when the signal fires.
 */
export async function untilUp<Result>(
  what: string,
  attempt: () => Promise<Result>,
  { log, signal }: { log: Log; signal: AbortSignal },
): Promise<Result> {
  const deadline = Date.now() + startupWaitMs;
  for (let waitMs = firstWaitMs; ; waitMs = Math.min(waitMs * 2, maxWaitMs)) {
    try {
      signal.throwIfAborted();
      return await attempt();
    } catch (error) {
      const failure = asWaybillError(error);
      if (failure.permanent || signal.aborted || Date.now() > deadline) throw error;
      log.warn({ error: failure.message, waitMs }, `${what} is not up yet; trying again`);
      await delay(waitMs, undefined, { signal });
    }
  }
}
