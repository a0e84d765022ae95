import { type ASTNode, Environment, type ParseResult } from '@marcbachmann/cel-js';
import {
  allowedFunctions,
  literalFunction,
  refusedFunctions,
  registerFunctions,
  replacedFunctions,
} from './celFunctions.ts';
import { nearest } from './nearest.ts';

/**
 * CEL as the pipeline language has it: one parser and one set of functions, for checking (`expressions.ts`, with types)
 * and for evaluating (`evaluate.ts`, without). Pure and deterministic: it runs inside Temporal's workflow sandbox.
 */
export const expressionLimits = {
  characters: 4_096,
  /** Operators, names and values of one expression. */
  nodes: 500,
  depth: 48,
  /** `map` in `filter` in `all` ... */
  macroNesting: 3,
  /** Elements of a list or map, written or made. */
  elements: 10_000,
  /** Rows that `first(n)` brings into an expression, and so into history. */
  firstRows: 100,
  /** Nodes evaluated in one evaluation. */
  steps: 200_000,
} as const;

export interface ExpressionProblem {
  kind: 'syntax' | 'function' | 'type';
  message: string;
  suggestion?: string;
  /** Within the expression; the end is exclusive. */
  start: number;
  end: number;
}

export interface ParsedExpression {
  run: ParseResult;
  problems: ExpressionProblem[];
}

/** The environment that all others are cloned from. Making one takes 0.2 ms; it never changes afterwards. */
export const baseEnvironment: Environment = registerFunctions(
  new Environment({
    homogeneousAggregateLiterals: false,
    limits: {
      maxAstNodes: expressionLimits.nodes,
      maxDepth: expressionLimits.depth,
      maxListElements: 200,
      maxMapEntries: 200,
      maxCallArguments: 16,
    },
  }),
);

/**
 * Parses, refuses functions that are not ours, and puts our stricter ones in place. Gives problems instead of throwing.
 * `compiled`: the text comes from a plan, and may call what only the checker writes.
 */
export function parseExpression(
  environment: Environment,
  cel: string,
  options: { compiled?: boolean } = {},
): ParsedExpression | { run: null; problems: ExpressionProblem[] } {
  const whole = { start: 0, end: cel.length };
  if (cel.trim() === '')
    return { run: null, problems: [{ kind: 'syntax', message: 'the expression is empty', ...whole }] };
  if (cel.length > expressionLimits.characters) {
    const message = `the expression has more than ${expressionLimits.characters} characters`;
    return { run: null, problems: [{ kind: 'syntax', message, ...whole }] };
  }
  try {
    const run = environment.parse(cel);
    const problems: ExpressionProblem[] = [];
    checkCalls(run.ast, problems, options.compiled ? [...allowedFunctions, literalFunction] : allowedFunctions);
    return { run, problems };
  } catch (error) {
    return { run: null, problems: [describeCelError(error, cel, 'syntax')] };
  }
}

/** An error of the library as a problem: its summary without the frame, our names for its functions. */
export function describeCelError(error: unknown, cel: string, kind: 'syntax' | 'type'): ExpressionProblem {
  const { summary, message, range } = error as {
    summary?: string;
    message?: string;
    range?: { start: number; end: number };
  };
  if (error instanceof RangeError) return { kind, message: 'the expression is too complex', start: 0, end: cel.length };
  let text = (summary ?? message ?? String(error)).split('\n')[0]!;
  for (const [name, ours] of replacedFunctions) text = text.replaceAll(ours, name);
  text = text
    .replace(/^found no matching overload for '(.*)'$/, 'no function takes $1')
    .replace(/^no such overload: /, 'no operator takes ')
    .replace(/^no such key: (.*)$/i, 'there is no field `$1`');
  // A type of ours is registered under a name such as `$steps.list`: seen from outside it is a mapping.
  text = text.replace(/dyn<(\w+)>/g, '$1').replace(/\$[A-Za-z0-9_.]+|\bmap<dyn, dyn>/g, 'map');
  text = text
    .replace(/^Unexpected token: EOF$/, 'the expression ends too early')
    .replace(
      /^(?:Unexpected token: (\w+)|Expected (\w+), got (\w+))$/,
      (_, unexpected?: string, expected?: string, got?: string) =>
        unexpected
          ? `${tokenWords(unexpected)} was not expected here`
          : `${tokenWords(expected!)} is missing before ${tokenWords(got!)}`,
    );
  text = text.replace('Exceeded maxAstNodes', 'too many parts').replace('Exceeded maxDepth', 'nested too deeply');
  const start = Math.min(range?.start ?? 0, cel.length);
  const end = Math.min(range?.end ?? cel.length, cel.length);
  return {
    kind,
    message: `${text.charAt(0).toLowerCase()}${text.slice(1)}`,
    start,
    end: Math.max(end, Math.min(start + 1, cel.length)),
  };
}

function tokenWords(token: string): string {
  const signs: Record<string, string> = {
    ...{
      RPAREN: '")"',
      LPAREN: '"("',
      RBRACKET: '"]"',
      LBRACKET: '"["',
      RBRACE: '"}"',
      LBRACE: '"{"',
      COLON: '":"',
      COMMA: '","',
      DOT: '"."',
      QUESTION: '"?"',
    },
    ...{
      PLUS: '"+"',
      MINUS: '"-"',
      MULTIPLY: '"*"',
      DIVIDE: '"/"',
      MODULO: '"%"',
      EQ: '"=="',
      NE: '"!="',
      LT: '"<"',
      LE: '"<="',
      GT: '">"',
      GE: '">="',
    },
    ...{
      AND: '"&&"',
      OR: '"||"',
      NOT: '"!"',
      IN: '"in"',
      EOF: 'the end',
      IDENTIFIER: 'a name',
      NUMBER: 'a number',
      STRING: 'a text',
    },
  };
  return signs[token] ?? token.toLowerCase();
}

/** A name with the fields taken from it: `steps.list.files`. */
export interface Reference {
  segments: Array<{ name: string; start: number; end: number }>;
  start: number;
  end: number;
  /** The argument of `has()`: its last field may be missing. */
  optional: boolean;
  /** `steps[x]`: a field that is only known when it runs follows. */
  dynamic: boolean;
}

/** The references of an expression to its surroundings: not to the variables of its own macros. */
export function referencesOf(ast: ASTNode): Reference[] {
  const found: Reference[] = [];
  const visit = (node: ASTNode, bound: ReadonlySet<string>, optional: boolean): void => {
    const reference = asReference(node);
    if (reference) {
      if (!bound.has(reference.segments[0]!.name)) found.push({ ...reference, optional, dynamic: false });
      return;
    }
    if (node.op === '[]') {
      const [from, index] = node.args;
      const base = asReference(from);
      if (base && !bound.has(base.segments[0]!.name) && !(index.op === 'value' && typeof index.args === 'bigint')) {
        found.push({ ...base, optional, dynamic: true });
      } else visit(from, bound, optional);
      visit(index, bound, false);
      return;
    }
    if (node.op === 'call') {
      for (const argument of node.args[1]) visit(argument, bound, node.args[0] === 'has');
      return;
    }
    if (node.op === 'rcall') {
      const [name, receiver, args] = node.args;
      visit(receiver, bound, false);
      const variable = args[0]?.op === 'id' && isMacro(name, args.length) ? args[0].args : undefined;
      const inner = variable === undefined ? bound : new Set([...bound, variable]);
      for (const argument of variable === undefined ? args : args.slice(1)) visit(argument, inner, false);
      return;
    }
    for (const child of children(node)) visit(child, bound, false);
  };
  visit(ast, new Set(), false);
  return found;
}

/** A call of `first(n)` on something that has a name: `steps.list.files.first(3)`. */
export interface FirstCall {
  segments: Reference['segments'];
  count: number;
}

export function firstCallsOf(ast: ASTNode): FirstCall[] {
  const found: FirstCall[] = [];
  const visit = (node: ASTNode): void => {
    const call = asFirstCall(node);
    if (call) found.push(call);
    for (const child of children(node)) visit(child);
  };
  visit(ast);
  return found;
}

/** The node as a call of `first(n)` on a name; null for anything else. */
export function asFirstCall(node: ASTNode): FirstCall | null {
  const [receiver, count] = firstArguments(node) ?? [];
  const reference = receiver ? asReference(receiver) : null;
  return reference && count?.op === 'value' && typeof count.args === 'bigint'
    ? { segments: reference.segments, count: Number(count.args) }
    : null;
}

function firstArguments(node: ASTNode): ASTNode[] | null {
  if (node.op === 'rcall' && node.args[0] === 'first') return [node.args[1], ...node.args[2]];
  return node.op === 'call' && node.args[0] === 'first' ? node.args[1] : null;
}

/** `a.b["c"]` as segments; null for anything else. */
function asReference(node: ASTNode): Omit<Reference, 'optional' | 'dynamic'> | null {
  if (node.op === 'id')
    return { segments: [{ name: node.args, start: node.start, end: node.end }], start: node.start, end: node.end };
  if (node.op === '.') {
    const base = asReference(node.args[0]);
    return (
      base && {
        segments: [...base.segments, { name: node.args[1], start: node.pos, end: node.end }],
        start: node.start,
        end: node.end,
      }
    );
  }
  if (node.op === '[]' && node.args[1].op === 'value' && typeof node.args[1].args === 'string') {
    const base = asReference(node.args[0]);
    const key = node.args[1];
    return (
      base && {
        segments: [...base.segments, { name: key.args as string, start: key.start, end: key.end }],
        start: node.start,
        end: node.end,
      }
    );
  }
  return null;
}

function isMacro(name: string, argumentCount: number): boolean {
  return (
    (argumentCount === 2 && ['all', 'exists', 'exists_one', 'map', 'filter'].includes(name)) ||
    (argumentCount === 3 && name === 'map')
  );
}

export function children(node: ASTNode): ASTNode[] {
  const found: ASTNode[] = [];
  const collect = (value: unknown): void => {
    if (Array.isArray(value)) for (const item of value) collect(item);
    else if (value !== null && typeof value === 'object' && 'op' in value) found.push(value as ASTNode);
  };
  collect(node.args);
  return found;
}

const unsafeTimeGetters = /^get(FullYear|Month|Date|DayOfMonth|DayOfWeek|Hours|Minutes|Seconds|Milliseconds)$/;

function checkCalls(root: ASTNode, problems: ExpressionProblem[], allowed: readonly string[]): void {
  const visit = (node: ASTNode, macros: number): void => {
    let nesting = macros;
    if (node.op === 'call' || node.op === 'rcall') {
      const name = node.args[0];
      const argumentCount = (node.op === 'call' ? node.args[1] : node.args[2]).length;
      const start = node.op === 'call' ? node.start : node.args[1].end + 1;
      const at = {
        kind: 'function' as const,
        start,
        end: Math.max(start + 1, node.op === 'call' ? start + name.length : node.end),
      };
      if (Object.hasOwn(refusedFunctions, name))
        problems.push({ ...at, message: `${name}() is not allowed: ${refusedFunctions[name]}` });
      else if (!allowed.includes(name)) {
        const meant = nearest(name, allowedFunctions);
        problems.push({
          ...at,
          message: `there is no function ${name}()`,
          ...(meant ? { suggestion: `did you mean ${meant}()?` } : {}),
        });
      } else if (unsafeTimeGetters.test(name) && argumentCount > 0) {
        problems.push({
          ...at,
          message: `${name}() with a time zone is not allowed: its answer differs between machines; it gives UTC without one`,
        });
      }
      const count = firstArguments(node)?.[1];
      if (count && !isRowCount(count)) {
        const message = `first() takes a number that is written out, from 1 to ${expressionLimits.firstRows}`;
        problems.push({ kind: 'syntax', message, start: count.start, end: count.end });
      }
      node.args[0] = replacedFunctions.get(name) ?? name;
      if (node.op === 'rcall' && isMacro(name, argumentCount) && ++nesting > expressionLimits.macroNesting) {
        problems.push({ ...at, message: `${name}() is nested more than ${expressionLimits.macroNesting} deep` });
      }
    }
    for (const child of children(node)) visit(child, nesting);
  };
  visit(root, 0);
}

function isRowCount(node: ASTNode): boolean {
  return (
    node.op === 'value' &&
    typeof node.args === 'bigint' &&
    node.args >= 1n &&
    node.args <= BigInt(expressionLimits.firstRows)
  );
}
