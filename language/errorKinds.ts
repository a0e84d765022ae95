import { type ASTNode, serialize } from '@marcbachmann/cel-js';
import { findAction } from '../schema/actions.ts';
import { type ErrorKind, errorKinds } from '../schema/errors.ts';
import { baseEnvironment, children, parseExpression } from './cel.ts';
import { offset } from './checking.ts';
import { didYouMean } from './expressions.ts';
import type { Report, SourceRange } from './report.ts';
import type { Located } from './source.ts';
import { bareExpression } from './template.ts';

/**
 * Checks what a condition compares `error.kind` with. `given`: the kinds that the steps it is for can fail with, or null
 * when that is not known.
 */
export function checkErrorKinds(text: Located, given: ReadonlySet<ErrorKind> | null, report: Report): void {
  const { cel, offset: at } = bareExpression(String(text.value));
  const parsed = parseExpression(baseEnvironment, cel);
  if (parsed.run === null) return;
  for (const { value, start, end } of comparedKinds(parsed.run.ast)) {
    const range: SourceRange = [offset(text, at + start), offset(text, at + end)];
    if (!isKind(value)) {
      const message = `there is no kind of failure "${value.slice(0, 60)}"`;
      const meant = didYouMean(value, Object.keys(errorKinds));
      report.add('UNKNOWN_ERROR_KIND', range, message, meant ?? `known are ${Object.keys(errorKinds).join(', ')}`);
    } else if (given !== null && !given.has(value)) {
      report.add('UNUSED_ERROR_KIND', range, `the steps that this is for never fail with "${value}"`);
    }
  }
}

/** The kinds that steps can fail with, or null when one of their actions is not known. */
export function errorKindsOf(blocks: readonly Located[]): ReadonlySet<ErrorKind> | null {
  const kinds = new Set<ErrorKind>(everywhere);
  const visit = (block: Located): boolean => {
    const use = block.entries?.get('use')?.value.value;
    if (use !== undefined) {
      const action = typeof use === 'string' ? findAction(use) : undefined;
      for (const kind of action?.errorKinds ?? []) kinds.add(kind);
      return action !== undefined;
    }
    return innerLists(block).every((list) => (list.items ?? []).every(visit));
  };
  return blocks.every(visit) ? kinds : null;
}

/** The lists of blocks that a block is made of: not those that are for its failures. */
function innerLists(block: Located): Located[] {
  const lists = ['steps', 'else', 'parallel'].map((key) => block.entries?.get(key)?.value);
  return [...lists, block.entries?.get('wait')?.value.entries?.get('steps')?.value].filter(
    (list) => list !== undefined,
  );
}

/** A wrong value in an expression, a time-out, a cancellation and a fault of ours can happen to every step. */
const everywhere: readonly ErrorKind[] = ['invalid', 'timeout', 'cancelled', 'internal'];

interface ComparedText {
  value: string;
  start: number;
  end: number;
}

/** The texts in `error.kind == "..."` and `error.kind in ["...", "..."]`. */
function comparedKinds(root: ASTNode): ComparedText[] {
  const found: ComparedText[] = [];
  const take = (node: ASTNode): void => {
    if (node.op === 'value' && typeof node.args === 'string')
      found.push({ value: node.args, start: node.start, end: node.end });
  };
  const visit = (node: ASTNode): void => {
    if (node.op === '==' || node.op === '!=') {
      const [left, right] = node.args;
      if (isErrorKind(left)) take(right);
      else if (isErrorKind(right)) take(left);
    } else if (node.op === 'in' && isErrorKind(node.args[0]) && node.args[1].op === 'list')
      node.args[1].args.forEach(take);
    for (const child of children(node)) visit(child);
  };
  visit(root);
  return found;
}

function isErrorKind(node: ASTNode): boolean {
  return node.op === '.' && serialize(node) === 'error.kind';
}

function isKind(value: string): value is ErrorKind {
  return Object.hasOwn(errorKinds, value);
}
