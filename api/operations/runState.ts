import type { RunStatus } from '../../schema/plan.ts';

const going: readonly RunStatus[] = ['starting', 'running'];

/** Whether a run of that status will not change any more. */
export function hasEnded(status: string): boolean {
  return !going.includes(status as RunStatus);
}
