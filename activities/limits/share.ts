import type { Lease, LeaseTable } from '../../prisma/endpointLeases.ts';
import { parseSizeBytes } from '../../schema/quantities.ts';

/** What one process may use of an endpoint until it asks again. */
export interface Share {
  /** Files that it has taken of the limit, those included that it has to finish. */
  slots: number;
  /** Files at a time from now on; null: there is no limit. */
  width: number | null;
  bytesPerSecond: number;
  /** Bytes a second from now on; null: there is no limit. */
  rate: number | null;
  /** It wants more than it got. */
  short: boolean;
}

/** When there are more processes than slots, they take turns of so long. */
const turnMs = 10_000;

/**
 * The fair share of one process: everybody who wants some gets the same, and what somebody leaves goes to the others. It
 * takes no more than is free, so the sum over all keeps to the limit while the others still hold more than their share;
 * they give it back when they renew. What is in use is never taken away, so after a limit was lowered the sum is above it
 * until those files are done.
 */
export function shareOf(
  { limits, leases, nowMs }: LeaseTable,
  me: { owner: string; wanted: number; inUse: number; moves: boolean },
): Share {
  const others = leases.filter(({ owner }) => owner !== me.owner);
  const { concurrency, bandwidth } = limits;
  let slots = 0;
  let width: number | null = null;
  if (concurrency !== undefined) {
    const fair = fairSlots(concurrency, [...others, me], nowMs).get(me.owner) ?? 0;
    const free = concurrency - sum(others, (lease) => lease.slots);
    width = Math.max(0, Math.min(fair, free));
    slots = Math.max(me.inUse, width);
  }
  let rate: number | null = null;
  const bytes = bandwidth === undefined ? undefined : parseSizeBytes(bandwidth);
  if (bytes !== undefined) {
    const moving = others.filter(({ moves }) => moves);
    const free = bytes - sum(others, (lease) => lease.bytesPerSecond);
    rate = me.moves ? Math.max(0, Math.min(Math.floor(bytes / (moving.length + 1)), free)) : 0;
  }
  const short = (width !== null && width < me.wanted) || (me.moves && rate === 0);
  return { slots, width, bytesPerSecond: rate ?? 0, rate, short };
}

/** Slots by owner: the same for all who want as many, in whole numbers. */
function fairSlots(
  limit: number,
  all: ReadonlyArray<Pick<Lease, 'owner' | 'wanted'>>,
  nowMs: number,
): Map<string, number> {
  const wanting = all.filter(({ wanted }) => wanted > 0).sort((one, other) => (one.owner < other.owner ? -1 : 1));
  const given = new Map(wanting.map(({ owner }) => [owner, 0]));
  const first = limit < wanting.length ? Math.floor(nowMs / turnMs) % wanting.length : 0;
  const inTurn = [...wanting.slice(first), ...wanting.slice(0, first)];
  let left = limit;
  for (let unsated = inTurn; left > 0 && unsated.length > 0; ) {
    const each = Math.max(1, Math.floor(left / unsated.length));
    for (const { owner, wanted } of unsated) {
      const more = Math.min(each, wanted - given.get(owner)!, left);
      given.set(owner, given.get(owner)! + more);
      left -= more;
    }
    unsated = unsated.filter(({ owner, wanted }) => given.get(owner)! < wanted);
  }
  return given;
}

function sum(leases: readonly Lease[], of: (lease: Lease) => number): number {
  return leases.reduce((total, lease) => total + of(lease), 0);
}
