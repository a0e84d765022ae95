import type { RetryPolicy, TimeoutPolicy } from '../schema/plan.ts';

/** How an action is tried again, in words: "for 12 h, first after 2 s, then 2 times as long each time, at most 15 min ..." */
export function describeRetry({ forMs, attempts, firstMs, factor, maxMs, jitter, notOn }: RetryPolicy): string {
  if (attempts === 1) return 'not by itself; `retry: { attempts: 5 }` says otherwise';
  const times = attempts === null ? '' : `, ${attempts} attempts at most`;
  const waits = `waits from ${durationWords(firstMs)} to ${durationWords(maxMs)}, each ${factor} times the one before, ${Math.round(jitter * 100)}% of it random`;
  return `for ${durationWords(forMs)} without progress${times}; ${waits}; not after ${notOn.join(', ')}`;
}

export function describeTimeout({ stallMs, totalMs }: TimeoutPolicy): string {
  return `an attempt after ${durationWords(stallMs)} without progress, the step after ${durationWords(totalMs)}`;
}

/** As the language writes it: `90s` is `90s`, 3,600,000 ms is `1h`. */
export function durationWords(milliseconds: number): string {
  const units = [
    ['d', 86_400_000],
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1_000],
  ] as const;
  const [unit, size] = units.find(([, unitMs]) => milliseconds >= unitMs && milliseconds % unitMs === 0) ?? ['ms', 1];
  return `${milliseconds / size}${unit}`;
}
