import { limits } from '../limits.ts';

/** What somebody gave as a reason, as an event keeps it: of bounded length, without what PostgreSQL refuses (NUL, lone surrogates). */
export function cleanReason(reason: string | null | undefined): string | null {
  return reason == null ? null : reason.replaceAll('\u0000', '').slice(0, limits.reasonLength).toWellFormed();
}
