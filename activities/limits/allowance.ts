import type { Log } from '../../connectors/contract.ts';
import type { Store } from '../../prisma/contract.ts';
import { releaseLease, renewLease } from '../../prisma/endpointLeases.ts';
import type { EndpointLimits } from '../../schema/configuration.ts';
import { createGate, type Gate } from '../transfer/gate.ts';
import { type Share, shareOf } from './share.ts';
import { createThrottle, type Throttle } from './throttle.ts';

/** What this process may use of one endpoint: leased while it has limits, and handed out here, file by file and byte by byte. */
export interface Allowance {
  readonly gate: Gate;
  readonly throttle: Pick<Throttle, 'take'>;
  /** The endpoint's limits as they are now. */
  update(limits: EndpointLimits): void;
  /** Gives everything back. Safe twice. */
  close(): Promise<void>;
}

export interface LeaseTimes {
  /** A process that does not renew for so long has lost what it had. */
  leaseMs: number;
  renewEveryMs: number;
  /** While it wants more than it has. */
  shortEveryMs: number;
  /** Wishes of so long are told together. */
  gatherMs: number;
}
export const leaseTimes: LeaseTimes = { leaseMs: 15_000, renewEveryMs: 3_000, shortEveryMs: 1_000, gatherMs: 500 };

/** Files at the same time over an endpoint that sets no limit of its own; the connector's own figure is usually lower. */
const widthWhenUnlimited = 64;

/** Without limits it costs no statement. */
export function createAllowance(
  dependencies: { store: Store; log: Log; owner: string; times: LeaseTimes },
  endpoint: { tenantId: string; endpointId: string },
  initialLimits: EndpointLimits,
): Allowance {
  const { store, log, owner, times } = dependencies;
  const gate = createGate(widthWhenUnlimited);
  const throttle = createThrottle();
  let limits: EndpointLimits = {};
  /** The most files that were wanted at a time, and whether bytes moved, since the lease was renewed. */
  let wanted = 0;
  let moved = false;
  let leasedAtMs: number | null = null;
  let renewing: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let dueAtMs = Number.POSITIVE_INFINITY;
  let closed = false;

  const isLimited = () => limits.concurrency !== undefined || limits.bandwidth !== undefined;

  /** The next renewal comes in so long at the latest. */
  function renewWithin(ms: number): void {
    const at = performance.now() + ms;
    if (closed || renewing !== undefined || at >= dueAtMs) return;
    clearTimeout(timer);
    dueAtMs = at;
    timer = setTimeout(() => {
      dueAtMs = Number.POSITIVE_INFINITY;
      renewing = renew().finally(() => {
        renewing = undefined;
        if (isLimited() && (leasedAtMs !== null || isWanted())) renewWithin(nextMs);
      });
    }, ms);
    timer.unref();
  }

  let nextMs = times.renewEveryMs;
  const isWanted = () => gate.inside + gate.waiting > 0 || throttle.waiting;

  async function renew(): Promise<void> {
    const startedAtMs = performance.now();
    const widthBefore = gate.width;
    const now = { wanted: Math.max(wanted, gate.inside + gate.waiting), moves: moved || throttle.waiting };
    wanted = 0;
    moved = false;
    try {
      if (!isLimited() || (now.wanted === 0 && !now.moves)) return await giveBack();
      // Until the answer is here nobody else goes in: what is told to be in use must not grow meanwhile.
      if (limits.concurrency !== undefined) gate.resize(Math.min(widthBefore, gate.inside));
      const me = { owner, inUse: gate.inside, ...now };
      const share = await store.sql(endpoint.tenantId, (sql) =>
        renewLease(sql, { ...endpoint, ...me, leaseMs: times.leaseMs }, (table) => shareOf(table, me)),
      );
      leasedAtMs = startedAtMs;
      if (share !== undefined) apply(share);
    } catch (error) {
      log.warn({ ...endpoint, error: String(error) }, 'the lease of an endpoint could not be renewed');
      nextMs = times.shortEveryMs;
      // The others may take it by now: nothing more is begun until it is renewed.
      const isLost = leasedAtMs === null || performance.now() - leasedAtMs > times.leaseMs - times.shortEveryMs;
      if (isLost) shut();
      else gate.resize(widthBefore);
    }
  }

  function apply(share: Share): void {
    nextMs = share.short ? times.shortEveryMs : times.renewEveryMs;
    gate.resize(share.width ?? widthWhenUnlimited);
    throttle.setRate(share.rate);
  }

  async function giveBack(): Promise<void> {
    nextMs = 0;
    if (leasedAtMs === null) return;
    shut();
    leasedAtMs = null;
    await store.sql(endpoint.tenantId, (sql) => releaseLease(sql, { ...endpoint, owner }));
  }

  /** Nothing goes through what is limited until there is a lease. */
  function shut(): void {
    gate.resize(limits.concurrency === undefined ? widthWhenUnlimited : 0);
    throttle.setRate(limits.bandwidth === undefined ? null : 0);
  }

  function update(next: EndpointLimits): void {
    if (next.concurrency === limits.concurrency && next.bandwidth === limits.bandwidth) return;
    const wasLimited = isLimited();
    limits = next;
    // Until the lease says how much: what was not limited is shut, what is limited no more is open.
    if (!wasLimited || !isLimited()) shut();
    if (isLimited() || wasLimited) renewWithin(0);
  }

  update(initialLimits);
  return {
    gate: {
      get width() {
        return gate.width;
      },
      enter(signal) {
        const entered = gate.enter(signal);
        wanted = Math.max(wanted, gate.inside + gate.waiting);
        if (limits.concurrency !== undefined) renewWithin(gate.waiting === 0 ? times.renewEveryMs : urgency());
        return entered;
      },
    },
    throttle: {
      take(bytes, signal) {
        if (limits.bandwidth === undefined) return undefined;
        moved = true;
        const taken = throttle.take(bytes, signal);
        if (leasedAtMs === null) renewWithin(0);
        return taken;
      },
    },
    update,
    async close() {
      closed = true;
      clearTimeout(timer);
      await renewing;
      await giveBack().catch((error: unknown) =>
        log.warn({ ...endpoint, error: String(error) }, 'the lease of an endpoint could not be given back'),
      );
    },
  };

  /** Without a lease nothing goes on; with one that is too small a little later is soon enough. */
  function urgency(): number {
    return leasedAtMs === null ? 0 : times.gatherMs;
  }
}
