import { limits } from './context.ts';
import { leaseLost } from './ledgerWriter.ts';

/** A lease that is shorter than its renewal takes is never certain; who has asked so often in a row goes on. */
const mostAsks = 3;

/**
 * Keeps a process that was stopped for a while (SIGSTOP, a suspended machine, a long pause of any kind) from touching the
 * target before it has asked whether the delivery is still its own: another worker may have finished it meanwhile.
 */
export interface Fence {
  /** Undefined while the claim is certainly held; else settles when it is. Throws conflict (`leaseLost`) when it is not. */
  pass(): Promise<void> | undefined;
  /** The claim was renewed by a request that began at that time of `now`. */
  renewed(atMs: number): void;
  /** To be called every second or so, and calls it itself: a long time between two calls is an absence. */
  look(): void;
  now(): number;
}

export function createFence(options: {
  leaseMs: number;
  /** Renews the claim; gives whether it is still held. */
  renew(): Promise<boolean>;
}): Fence {
  const { leaseMs, renew } = options;
  const absenceMs = Math.min(limits.absenceMs, leaseMs / 4);
  const certainMs = (leaseMs * 3) / 4;
  let lookedAt = readClocks();
  let renewedAtMs = lookedAt.monotonicMs;
  let absences = 0;
  let absencesConfirmed = 0;
  let asking: Promise<void> | undefined;

  function look(): void {
    const at = readClocks();
    // A suspended machine stops one clock, and not the other.
    const awayMs = Math.max(at.monotonicMs - lookedAt.monotonicMs, at.wallMs - lookedAt.wallMs);
    lookedAt = at;
    if (awayMs > absenceMs) absences++;
  }

  const wasAbsent = () => absences !== absencesConfirmed;

  /** An answer that was on its way while the process was away says nothing of what happened in that time. */
  async function ask(): Promise<void> {
    for (let asks = 0; asks < mostAsks; asks++) {
      const asked = { absences, atMs: lookedAt.monotonicMs };
      if (!(await lookingMeanwhile(renew))) throw leaseLost();
      renewedAtMs = asked.atMs;
      absencesConfirmed = asked.absences;
      look();
      if (!wasAbsent()) return;
    }
    absencesConfirmed = absences;
  }

  /** An answer that takes long is no absence. */
  async function lookingMeanwhile<Answer>(work: () => Promise<Answer>): Promise<Answer> {
    const looking = setInterval(look, absenceMs / 4);
    try {
      return await work();
    } finally {
      clearInterval(looking);
    }
  }

  return {
    pass() {
      look();
      if (!wasAbsent() && lookedAt.monotonicMs - renewedAtMs < certainMs) return undefined;
      asking ??= ask().finally(() => {
        asking = undefined;
      });
      return asking;
    },
    renewed(atMs) {
      look();
      if (!wasAbsent()) renewedAtMs = Math.max(renewedAtMs, atMs);
    },
    look,
    now: () => performance.now(),
  };
}

function readClocks() {
  return { monotonicMs: performance.now(), wallMs: Date.now() };
}
