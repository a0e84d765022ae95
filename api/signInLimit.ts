import { createHash } from 'node:crypto';
import { RateLimiterMemory, type RateLimiterRes } from 'rate-limiter-flexible';
import { countedAddressOf } from '../identity/allowedAddresses.ts';
import { WaybillError } from '../schema/errors.ts';
import { limits } from './limits.ts';
import type { SignInMutation } from './visitors.ts';

/** Who tries what. */
export interface SignInAttempt {
  method: SignInMutation;
  tenantId: string;
  address: string | undefined;
  /** Whom the attempt names, in its own words: a user name, an e-mail address, a number; null when it names nobody. */
  user: string | null;
}

/**
 * Does the work of an attempt, unless too many by the same method came from its address or for its user, or too many of
 * them failed: what fails for other reasons than that something is away. Throws what the work throws, and rate-limited
 * with `retryAfterMs` before it is begun.
 */
export type SignInLimit = <Result>(attempt: SignInAttempt, work: () => Promise<Result>) => Promise<Result>;

export function createSignInLimit(): SignInLimit {
  // What is consumed counts; it is compared here, so that a bucket that is full still tells how long.
  const bucket = () => new RateLimiterMemory({ points: Number.MAX_SAFE_INTEGER, duration: limits.signInWindowSeconds });
  const [all, failed] = [bucket(), bucket()];

  return async (attempt, work) => {
    const places = placesOf(attempt);
    for (const place of places) {
      refuseOver(await all.consume(place), limits.signIns);
      refuseOver(await failed.get(place), limits.failedSignIns - 1);
    }
    try {
      return await work();
    } catch (error) {
      if (isOwnFault(error)) for (const place of places) await failed.consume(place);
      throw error;
    }
  };
}

/** Users are told apart by a digest: what somebody types into a name is kept nowhere. */
function placesOf({ method, tenantId, address, user }: SignInAttempt): string[] {
  const ofAddress = `${method}/address/${countedAddressOf(address)}`;
  if (user === null) return [ofAddress];
  const digest = createHash('sha256').update(user.toLowerCase()).digest('base64url');
  return [ofAddress, `${method}/user/${tenantId}/${digest}`];
}

function refuseOver(consumed: RateLimiterRes | null, most: number): void {
  if (consumed === null || consumed.consumedPoints <= most) return;
  throw new WaybillError('rate-limited', 'Too many sign-ins of this address or for this user; wait before the next.', {
    retryAfterMs: Math.max(consumed.msBeforeNext, 1),
  });
}

function isOwnFault(error: unknown): boolean {
  return error instanceof WaybillError && ['unauthenticated', 'invalid', 'not-found'].includes(error.kind);
}
