/** The clean-up rule of concurrent sessions: from their creation on, whether they are used or not. */
export const concurrentLifetimeHours = 48;
/** A replaceable session is good for so long at most, however often it is used. */
export const replaceableLifetimeHours = 30 * 24;
/** A replaceable session that was not used for so long has expired. */
export const idleLifetimeHours = 7 * 24;

/** Whether a replaceable session `s` has been idle for too long at `$now`: a condition of SQL. */
export function idleSince(now: string): string {
  return `(s.kind = 'replaceable' and coalesce(s.last_used_at, s.created_at) <= ${now} - interval '${idleLifetimeHours} hours')`;
}
