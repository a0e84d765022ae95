interface AttemptInfo {
  scheduledTimestampMs: number;
  /** What the attempt before this one said last. */
  heartbeatDetails: unknown;
}

/**
 * Since when an activity's patience (`retry.for`) is counted: since it was scheduled, or since an attempt of it last
 * brought a file to its end. Bytes alone are no progress: an attempt that always breaks in the same file would be tried
 * for ever. The time travels in the heartbeats, which Temporal hands to the next attempt.
 */
export function patienceOf(
  { scheduledTimestampMs, heartbeatDetails }: AttemptInfo,
  beat: (details: unknown) => void,
  nowMs: () => number = Date.now,
): { sinceMs(): number; heartbeat(details: unknown): void } {
  let sinceMs = Math.max(scheduledTimestampMs, numberIn(heartbeatDetails, 'progressAtMs'));
  let files = 0;
  return {
    sinceMs: () => sinceMs,
    heartbeat(details) {
      const filesNow = numberIn(details, 'files');
      if (filesNow > files) {
        files = filesNow;
        sinceMs = nowMs();
      }
      beat({ ...(details as object), progressAtMs: sinceMs });
    },
  };
}

function numberIn(details: unknown, field: string): number {
  const value = (details as Record<string, unknown> | null | undefined)?.[field];
  return typeof value === 'number' ? value : 0;
}
