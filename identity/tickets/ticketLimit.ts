import { RateLimiterMemory } from 'rate-limiter-flexible';
import { recordEvents } from '../../audit/record.ts';
import type { Store } from '../../prisma/contract.ts';
import { WaybillError } from '../../schema/errors.ts';
import { countedAddressOf } from '../allowedAddresses.ts';
import { createTries } from './tries.ts';

/** Refused tickets of one window, in one process. */
export const ticketFailures = {
  windowSeconds: 60,
  /** Of one address at one site: what it sends beyond them is not looked at. */
  ofAddress: 20,
  /** Of a site: beyond them an address that has failed in the window is not looked at; one that has not, is. */
  ofSite: 200,
} as const;

export interface TicketSource {
  tenantId: string;
  /** Of the connection's other end. */
  address: string | undefined;
}

/**
 * Proves a ticket or a token by `prove`, unless too many of its site and address were refused; of many that come from one
 * address at once, some wait until it is known how others fared. Throws what `prove` throws, and rate-limited with
 * `retryAfterMs`. The first refusal over a limit writes `ticket.refused-often`.
 */
export type TicketLimit = <Proof>(source: TicketSource, prove: () => Promise<Proof>) => Promise<Proof>;

export function createTicketLimit(
  { store }: { store: Store },
  allowed: { [Limit in keyof typeof ticketFailures]: number } = ticketFailures,
): TicketLimit {
  // What is consumed counts; the points are compared here, so that a bucket that is over its limit still counts.
  const bucket = (keyPrefix: string) =>
    new RateLimiterMemory({ keyPrefix, points: Number.MAX_SAFE_INTEGER, duration: allowed.windowSeconds });
  const [addresses, sites] = [bucket('address'), bucket('site')];
  const tries = createTries();

  return async (source, prove) => {
    const { tenantId } = source;
    const network = countedAddressOf(source.address);
    const place = `${tenantId}/${network}`;
    return tries.take(
      place,
      () => roomFor(place, tenantId),
      async () => {
        try {
          return await prove();
        } catch (error) {
          if (!(error instanceof WaybillError) || error.kind !== 'unauthenticated') throw error;
          const [address, site] = await Promise.all([addresses.consume(place), sites.consume(tenantId)]);
          if (address.consumedPoints === allowed.ofAddress) await alarm(source, 'address', network, allowed.ofAddress);
          if (site.consumedPoints === allowed.ofSite) await alarm(source, 'site', null, allowed.ofSite);
          throw error;
        }
      },
    );
  };

  /** How many more of an address may fail. */
  async function roomFor(place: string, tenantId: string): Promise<number> {
    const [ofAddress, ofSite] = await Promise.all([addresses.get(place), sites.get(tenantId)]);
    const failed = ofAddress?.consumedPoints ?? 0;
    if (failed >= allowed.ofAddress || (failed > 0 && (ofSite?.consumedPoints ?? 0) >= allowed.ofSite))
      throw tooMany(Math.max(ofAddress!.msBeforeNext, 1));
    return allowed.ofAddress - failed;
  }

  /** Several processes that see the same flood write it once. */
  function alarm({ tenantId }: TicketSource, of: 'address' | 'site', address: string | null, failures: number) {
    const window = Math.floor(Date.now() / 1_000 / allowed.windowSeconds);
    const event = {
      type: 'ticket.refused-often',
      outcome: 'failure' as const,
      actor: { principalId: null },
      data: { of, address, failures, windowSeconds: allowed.windowSeconds },
      dedupeKey: `ticket.refused-often/${of}/${address ?? ''}/${window}`,
    };
    return store.sql(tenantId, (sql) => recordEvents(sql, tenantId, [event]));
  }
}

function tooMany(retryAfterMs: number): WaybillError {
  return new WaybillError('rate-limited', 'too many tickets were refused; wait before the next', { retryAfterMs });
}
