import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import { countedAddressOf } from '../identity/allowedAddresses.ts';
import { WaybillError } from '../schema/errors.ts';
import { limits } from './limits.ts';

/**
 * Counts a failed authentication of an address. Throws rate-limited, with `retryAfterMs`, when it has failed too often.
 * A key is verified first and counted only when it fails: behind a proxy many share one address, and a good key always works.
 */
export type CountFailure = (address: string | undefined) => Promise<void>;

export function createFailureCount(): CountFailure {
  const bucket = new RateLimiterMemory({
    points: limits.failedAuthentications,
    duration: limits.failedAuthenticationWindowSeconds,
  });
  return async (address) => {
    try {
      await bucket.consume(countedAddressOf(address));
    } catch (refusal) {
      if (!(refusal instanceof RateLimiterRes)) throw refusal;
      const message = `More than ${limits.failedAuthentications} requests of this address came without a good key or session; wait before the next.`;
      throw new WaybillError('rate-limited', message, { retryAfterMs: refusal.msBeforeNext });
    }
  };
}
