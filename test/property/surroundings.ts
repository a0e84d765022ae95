import type { Json } from '../../schema/plan.ts';
import type { Random } from '../random.ts';

export type Node = { [key: string]: Json };

/** What the steps at a place of the pipeline may do and name. */
export interface Surroundings {
  random: Random;
  depth: number;
  /** Calls and polls that are still to be given away, in all; a loop takes calls many times. In Temporal a poll takes seconds. */
  budget: { calls: number; names: number; polls: number };
  /** How often the steps here run. */
  times: number;
  /**
   * The one kind that failures here have, or null: any. Of items and branches that fail together the first one is told,
   * and which is first is a matter of time; so all of them say the same.
   */
  kind: string | null;
  /** Siblings may be cancelled or never begun, as time will have it: the calls here carry `loose`. */
  loose: boolean;
  /** Inside an onError, finally or compensate list. */
  aftermath: boolean;
  hasError: boolean;
  loopVariables: readonly string[];
  /** CEL that is known to have a value or to be null here. */
  readable: string[];
  /** File sets known here. */
  sets: string[];
}

export function name(at: Surroundings, prefix: string): string {
  return `${prefix}${++at.budget.names}`;
}
