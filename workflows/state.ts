import type { Failure, Json } from '../schema/plan.ts';

/**
 * How far a run has come, as plain JSON: it survives continue-as-new. The interpreter walks the plan from the top each
 * time and passes over what is recorded here, so there is no second way to enter a plan in the middle.
 * Keys are block paths with loop indexes: `steps[1]#42.steps[0]`.
 */
export interface RunState {
  outcomes: Record<string, Outcome>;
  loops: Record<string, LoopCursor>;
  transfers: Record<string, TransferCursor>;
}

export interface Outcome {
  output: Json;
  failure: Failure | null;
}

export interface LoopCursor {
  /** Items that have ended, without gaps: the next walk begins here. */
  next: number;
  /** Items that have ended beyond `next`; no more than run in parallel. */
  ahead: number[];
  succeeded: number;
  failed: number;
  bytes: number;
  firstFailure: Failure | null;
}

export interface TransferCursor {
  transferId: string;
  files: number;
  bytes: number;
  batches: number;
  /** Batches that have ended, without gaps. */
  next: number;
}

export function newRunState(): RunState {
  return { outcomes: {}, loops: {}, transfers: {} };
}

/** Forgets everything recorded under a key: a loop item that has ended is a number in the loop's cursor, no more. */
export function forget(state: RunState, keyPrefix: string): void {
  for (const record of [state.outcomes, state.loops, state.transfers]) {
    for (const key of Object.keys(record)) if (key.startsWith(keyPrefix)) delete record[key];
  }
}
