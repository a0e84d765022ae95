import type { Json } from '../../schema/plan.ts';
import type { SeenCall } from './answers.ts';

/**
 * What must be the same in every way of running a pipeline, as plain data for one comparison:
 * - `effects`: every call that changes something, with its input, and how often;
 * - `orders`: for each list of steps, item and branch, the order in which what is directly in it happened.
 * Legitimate differences are left out: pages (a suspended loop reads its page again), how calls of different items and
 * branches interleave, and steps that carry `loose` (`generate.ts`: those that time may cancel).
 */
export function comparable(calls: readonly SeenCall[]): { effects: string[]; orders: Record<string, string[]> } {
  const kept = calls.filter((call) => call.activity !== 'files.page' && !JSON.stringify(call.input).includes('loose'));
  const effects = kept.map((call) => JSON.stringify([call.activity, inputOf(call)])).sort();
  const orders: Record<string, string[]> = {};
  for (const call of kept) {
    const segments = keyOf(call).match(/#[^/]*\/|\.?[^.#/[]+\[\d+\]|\.?[^.#/[]+/g) ?? [];
    for (let length = 0; length < segments.length; length++) {
      const next = segments[length]!;
      if (isConcurrent(next)) continue;
      orders[segments.slice(0, length).join('')] ??= [];
      const order = orders[segments.slice(0, length).join('')]!;
      if (order.at(-1) !== next) order.push(next);
    }
  }
  return { effects, orders };
}

/** Items of a loop, rounds of a poll, batches of a transfer; branches. */
function isConcurrent(segment: string): boolean {
  return segment.startsWith('#') || /^\.?(branches|parallel)\[/.test(segment);
}

/** Where in the plan the call was made. The calls of a transfer after the first tell it by the id that the first got. */
function keyOf({ activity, input }: SeenCall): string {
  if (typeof input.stepKey === 'string') return `${input.stepKey}.${activity.replaceAll('.', '-')}`;
  const step = String(input.transferId).split('|')[0];
  return `${step}.${activity.replaceAll('.', '-')}${input.batch === undefined ? '' : `#${input.batch}/`}`;
}

/** The message of a failure counts what failed before it, which may be a matter of time; its kind may not. */
function inputOf({ input }: SeenCall): Json {
  const { failure, ...rest } = input;
  return failure === undefined || failure === null
    ? input
    : { ...rest, failure: { kind: (failure as { kind: string }).kind } };
}
