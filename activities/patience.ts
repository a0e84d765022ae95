interface AttemptInfo {
  scheduledTimestampMs: number;
  /** What the attempt before this one said last. */
  heartbeatDetails: unknown;
  /** What the same work had used up before it was held. */
  spentMs?: number;
  spentAttempts?: number;
}

/** What an activity has used up of its terms, over its attempts and over the workers that it ran on. */
export interface Patience {
  /** Since when `retry.for` is counted. */
  sinceMs(): number;
  /** Which of the attempts that `retry.attempts` allows this is. */
  attempt(): number;
  heartbeat(details: unknown): void;
  /** Says, as the last heartbeat of this attempt, that it has failed. */
  failed(): void;
}

/**
 * Patience is counted since the activity was scheduled, or since an attempt of it last got further: brought a file to its
 * end, or a large one so much further at its target that it can be taken up there. Other bytes are no progress: an attempt
 * that always breaks in the same file would be tried for ever.
 * An attempt counts when it has failed, until there is such progress with a large file. One whose worker died or was shut
 * down has not failed: what it copied is taken up by the next. All this travels in the heartbeats, which Temporal hands
 * to the next attempt.
 */
export function patienceOf(
  { scheduledTimestampMs, heartbeatDetails, spentMs = 0, spentAttempts = 0 }: AttemptInfo,
  beat: (details: unknown) => void,
  nowMs: () => number = Date.now,
): Patience {
  let sinceMs = Math.max(scheduledTimestampMs - spentMs, numberIn(heartbeatDetails, 'progressAtMs'));
  let failures = Math.max(spentAttempts, numberIn(heartbeatDetails, 'failures'));
  let last: object = {};
  let files = 0;
  let kept = 0;
  const say = () => beat({ ...last, progressAtMs: sinceMs, failures });
  return {
    sinceMs: () => sinceMs,
    attempt: () => failures + 1,
    heartbeat(details) {
      last = details as object;
      const filesNow = numberIn(details, 'files');
      const keptNow = numberIn(details, 'kept');
      if (keptNow - kept >= progressBytes) failures = 0;
      if (filesNow > files || keptNow - kept >= progressBytes) {
        files = filesNow;
        kept = keptNow;
        sinceMs = nowMs();
      }
      say();
    },
    failed() {
      failures++;
      say();
    },
  };
}

/** So much further is progress: more than what may have to be sent again. */
const progressBytes = 64 * 1024 * 1024;

function numberIn(details: unknown, field: string): number {
  const value = (details as Record<string, unknown> | null | undefined)?.[field];
  return typeof value === 'number' ? value : 0;
}
