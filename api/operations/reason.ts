import { limits } from '../limits.ts';

/** What somebody gave as a reason, of the length that an event keeps. */
export function boundedReason(reason: string | null | undefined): string | null {
  return reason?.slice(0, limits.reasonLength) ?? null;
}
