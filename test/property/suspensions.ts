import { hashOf } from '../random.ts';

/** Calls after which a history of the suspending bundle is taken for full: few, and others for each run. */
const callsAtMost = 8;

export function callsOfHistory(workflowId: string): number {
  return 1 + (hashOf(workflowId) % callsAtMost);
}
