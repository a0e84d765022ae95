import type { Failure, Json } from '../schema/plan.ts';

/**
 * How far a run has come, as plain JSON: it survives continue-as-new. The interpreter walks the plan from the top each
 * time and passes over what is recorded here, so there is no second way to enter a plan in the middle.
 */
export interface RunState {
  /** One for the run (``), one for each loop item and each look of a `wait` that is under way: `steps[1]#42/`. */
  frames: Record<string, Frame>;
  /** Something failed and was tolerated. */
  partial: boolean;
  /** How the steps ended, once they have: `finally` is under way. */
  status: 'succeeded' | 'partial' | 'failed' | 'cancelled' | null;
}

/** What has happened in one unit of the plan. Keys are block paths. */
export interface Frame {
  outcomes: Record<string, Outcome>;
  /** Blocks that have failed and whose `onError` is under way. */
  failures: Record<string, Outcome & { failure: Failure }>;
  /** Blocks that succeeded and can be undone, in the order in which they ended. */
  undoable: string[];
  loops: Record<string, LoopCursor>;
  transfers: Record<string, TransferCursor>;
  waits: Record<string, WaitCursor>;
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
  /** The first failed items in the order of the loop: as many as the pipeline asks for, and one at least. */
  head: Array<{ index: number; item: Json; error: Failure }>;
  cancelled: Failure | null;
}

export interface TransferCursor {
  transferId: string;
  files: number;
  bytes: number;
  batches: number;
  /** Batches that have ended, without gaps. */
  next: number;
  /** What the batches that have ended came to. */
  done: { files: number; bytes: number; failed: number };
  /** Why a batch gave up, or null. */
  failure: Failure | null;
}

export interface WaitCursor {
  /** Milliseconds since 1970: the time waited for, or the deadline of a condition. */
  untilMs: number;
  /** Looks that have ended. */
  polls: number;
  /** When the next look is due. */
  nextMs: number;
}

export function newRunState(): RunState {
  return { frames: {}, partial: false, status: null };
}

/** The frame of a unit, made when something is to be recorded in it. */
export function frameOf(state: RunState, instance: string): Frame {
  state.frames[instance] ??= { outcomes: {}, failures: {}, undoable: [], loops: {}, transfers: {}, waits: {} };
  return state.frames[instance];
}
