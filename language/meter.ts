import type { ParseResult } from '@marcbachmann/cel-js';
import { WaybillError } from '../schema/errors.ts';
import { expressionLimits } from './cel.ts';
import { maxTextCharacters } from './celFunctions.ts';

/**
 * Makes every evaluation of the expression count its steps and bound what it makes, so that no expression can hold a
 * worker: the library has limits for what is written, none for what is computed.
 */
export function meter(parsed: ParseResult): (context: Record<string, unknown>) => unknown {
  let steps = 0;
  const visited = new Set<object>();
  const instrument = (value: unknown): void => {
    if (value === null || typeof value !== 'object' || visited.has(value)) return;
    visited.add(value);
    if ('op' in value && 'evaluate' in value) {
      const node = value as unknown as MeteredNode;
      let evaluate = node.evaluate;
      const metered: Evaluate = function metered(this: unknown, evaluator, ast, context) {
        if (++steps > expressionLimits.steps)
          throw tooMuch(
            `takes more than ${expressionLimits.steps} steps: it loops over too many values; loop with forEach`,
          );
        return bounded(evaluate.call(node, evaluator, ast, context));
      };
      // The library replaces `evaluate` of a node by a faster one when it first runs: the setter keeps ours around it.
      Object.defineProperty(node, 'evaluate', {
        get: () => metered,
        set: (faster: Evaluate) => {
          evaluate = faster;
        },
      });
      instrument(node.args);
      instrument(node.meta?.alternate);
      return;
    }
    // Lists of nodes, and the parts of a macro.
    for (const child of Object.values(value)) instrument(child);
  };
  instrument(parsed.ast);
  return (context) => {
    steps = 0;
    return parsed(context);
  };
}

type Evaluate = (this: unknown, evaluator: unknown, ast: unknown, context: unknown) => unknown;
interface MeteredNode {
  evaluate: Evaluate;
  args: unknown;
  meta?: { alternate?: unknown };
}

function bounded(value: unknown): unknown {
  if (typeof value === 'string' && value.length > maxTextCharacters)
    throw tooMuch(`makes a text of more than ${maxTextCharacters} characters`);
  if (Array.isArray(value) && value.length > expressionLimits.elements)
    throw tooMuch(`reads or makes a list of more than ${expressionLimits.elements} elements; loop with forEach`);
  return value;
}

function tooMuch(what: string): WaybillError {
  return new WaybillError('invalid', `the expression ${what}`);
}
