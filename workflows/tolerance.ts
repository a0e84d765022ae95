import type { Tolerance } from '../schema/plan.ts';

/** Whether so many failures of so many are within what the pipeline tolerates; no failure always is. */
export function isTolerated(tolerate: Tolerance | null, failed: number, of: number): boolean {
  if (failed === 0 || tolerate === null) return failed === 0;
  return 'count' in tolerate ? failed <= tolerate.count : failed * 100 <= tolerate.percent * of;
}

/** ", 5 % are tolerated", to stand behind the number that failed; nothing when none are. */
export function toldTolerance(tolerate: Tolerance | null): string {
  if (tolerate === null) return '';
  return `, ${'count' in tolerate ? tolerate.count : `${tolerate.percent} %`} are tolerated`;
}
