import type { ParseResult } from '@marcbachmann/cel-js';
import {
  baseEnvironment,
  describeCelError,
  type ExpressionProblem,
  type FirstCall,
  firstCallsOf,
  parseExpression,
  type Reference,
  referencesOf,
} from './cel.ts';
import type { DiagnosticCode } from './codes.ts';
import { nearest } from './nearest.ts';
import {
  type ExpressionScope,
  fileSetType,
  headField,
  isFields,
  isList,
  rowsOf,
  type ScopeFields,
  type ScopeType,
} from './scope.ts';
import { type TypedEnvironment, typedEnvironment } from './typedEnvironment.ts';

/** What an expression gives, in the words of JSON. `any` is known only when it runs. */
export type ValueType = 'text' | 'integer' | 'number' | 'bool' | 'list' | 'mapping' | 'null' | 'file set' | 'any';

export interface ExpressionMistake {
  code: DiagnosticCode;
  message: string;
  suggestion?: string;
  /** Within the expression; the end is exclusive. */
  start: number;
  end: number;
}

export interface CheckedExpression {
  /** `any` when there are mistakes. */
  type: ValueType;
  /** For a list: the type of its elements, as a scope type. */
  elements: ScopeType;
  references: Reference[];
  /** The calls of `first(n)` on rows that are kept elsewhere: a file set, the failed items of a loop. */
  firstCalls: FirstCall[];
  mistakes: ExpressionMistake[];
}

/** Checks the syntax, functions, names and types of a CEL expression. Never throws. */
export function checkExpression(cel: string, scope: ExpressionScope): CheckedExpression {
  const failed = (mistakes: ExpressionMistake[], references: Reference[] = []): CheckedExpression => ({
    type: 'any',
    elements: 'dyn',
    references,
    firstCalls: [],
    mistakes,
  });
  const parsed = parseExpression(baseEnvironment, cel);
  if (parsed.run === null) return failed(parsed.problems.map(asMistake));
  const references = referencesOf(parsed.run.ast);
  const mistakes = [
    ...parsed.problems.map(asMistake),
    ...references.flatMap((reference) => checkReference(reference, scope)),
  ];
  if (mistakes.length > 0) return failed(mistakes, references);
  const firstCalls = firstCallsOf(parsed.run.ast).filter(
    ({ segments }) => rowsOf(typeOf({ segments }, scope.roots)) !== undefined,
  );

  const alone = loneType(cel, references, scope.roots);
  if (alone !== undefined) return { ...typeOfReference(alone), references, firstCalls, mistakes: [] };
  return { references, firstCalls, ...checkTypes(cel, references, firstCalls.length > 0, scope.roots) };
}

/** The type of an expression that is one name and nothing else, as most are: it needs no environment of its own. */
function loneType(cel: string, references: readonly Reference[], roots: ScopeFields): ScopeType | undefined {
  const [reference] = references;
  if (references.length !== 1 || !reference || reference.dynamic) return undefined;
  const start = cel.length - cel.trimStart().length;
  if (reference.start !== start || reference.end !== cel.trimEnd().length) return undefined;
  return typeOf(reference, roots);
}

function typeOfReference(type: ScopeType): { type: ValueType; elements: ScopeType } {
  if (type === fileSetType) return { type: 'file set', elements: 'dyn' };
  if (isList(type)) return { type: 'list', elements: type[0] };
  if (isFields(type)) return { type: 'mapping', elements: 'dyn' };
  const primitives: Record<typeof type, ValueType> = {
    ...{ string: 'text', int: 'integer', double: 'number', bool: 'bool' },
    ...{ list: 'list', map: 'mapping', dyn: 'any' },
  };
  return { type: primitives[type], elements: 'dyn' };
}

/** The words for a type in messages. */
export function typeWords(type: ValueType): string {
  const words: Record<ValueType, string> = {
    text: 'a text',
    integer: 'an integer',
    number: 'a number',
    bool: 'true or false',
    list: 'a list',
    mapping: 'a mapping',
    null: 'null',
    'file set': 'a file set',
    any: 'a value',
  };
  return words[type];
}

function checkTypes(
  cel: string,
  references: readonly Reference[],
  usesRows: boolean,
  roots: ScopeFields,
): Omit<CheckedExpression, 'references' | 'firstCalls'> {
  const { environment, named } = typedEnvironment(variablesOf(references, roots), usesRows);
  const parsed = parseExpression(environment, cel);
  if (parsed.run === null) return { type: 'any', elements: 'dyn', mistakes: parsed.problems.map(asMistake) };
  const result = check(parsed.run);
  if (!result.valid)
    return { type: 'any', elements: 'dyn', mistakes: [asMistake(describeCelError(result.error, cel, 'type'))] };
  return { ...valueType(result.type ?? 'dyn', named), mistakes: [] };
}

function check(run: ParseResult): { valid: boolean; type?: string; error?: unknown } {
  try {
    return run.check();
  } catch (error) {
    return { valid: false, error };
  }
}

/** What an expression names, and nothing else: pipelines have many steps and values, an expression names few of them. */
function variablesOf(references: readonly Reference[], roots: ScopeFields): Map<string, ScopeType> {
  const paths = references.map(({ segments }) => segments.map(({ name }) => name));
  const named = narrow(roots, paths);
  return new Map(isFields(named) ? Object.entries(named) : []);
}

/** Of a type the fields that the paths lead to. What is named as a whole is a mapping; its rows are kept for `first(n)`. */
function narrow(type: ScopeType, paths: ReadonlyArray<readonly string[]>): ScopeType {
  if (!isFields(type)) return type;
  if (paths.some((path) => path.length === 0)) return rowsOf(type) === undefined ? 'map' : type;
  const names = [...new Set(paths.map(([name]) => name!))].filter((name) => Object.hasOwn(type, name));
  const inner = (name: string) => paths.filter((path) => path[0] === name).map((path) => path.slice(1));
  return Object.fromEntries(names.map((name) => [name, narrow(type[name]!, inner(name))]));
}

function checkReference(reference: Reference, scope: ExpressionScope): ExpressionMistake[] {
  const root = reference.segments[0]!;
  const mistake = (
    code: DiagnosticCode,
    message: string,
    at: { start: number; end: number },
    suggestion?: string,
  ): ExpressionMistake[] => [
    { code, message, start: at.start, end: at.end, ...(suggestion === undefined ? {} : { suggestion }) },
  ];
  if (!Object.hasOwn(scope.roots, root.name)) {
    if (root.name === 'error')
      return mistake('UNKNOWN_REFERENCE', '`error` is known in onError and compensate lists only', root);
    if (root.name === 'vars')
      return mistake('UNKNOWN_REFERENCE', '`vars` cannot be named here: a variable sees `inputs` and `run` only', root);
    if (['trigger', 'secrets', 'env'].includes(root.name)) {
      const why =
        root.name === 'secrets' || root.name === 'env'
          ? 'secrets and the environment cannot be named in an expression'
          : `\`${root.name}\` is not available in this version`;
      return mistake('UNKNOWN_REFERENCE', why, root);
    }
    return mistake(
      'UNKNOWN_REFERENCE',
      `there is no \`${root.name}\` here`,
      root,
      didYouMean(root.name, Object.keys(scope.roots)),
    );
  }
  if (
    root.name === 'steps' &&
    (reference.segments.length < 2 || (reference.dynamic && reference.segments.length < 2))
  ) {
    return mistake('UNKNOWN_REFERENCE', '`steps` needs the id of a step: steps.<id>', reference);
  }
  let type: ScopeType = scope.roots[root.name]!;
  for (const [index, segment] of reference.segments.entries()) {
    if (index === 0) continue;
    if (!isFields(type)) return [];
    const owner = reference.segments
      .slice(0, index)
      .map((part) => part.name)
      .join('.');
    const isHead = segment.name === headField && rowsOf(type) !== undefined;
    if (isHead)
      return mistake(
        'UNKNOWN_REFERENCE',
        `the rows of \`${owner}\` are read with first(n)`,
        segment,
        `write ${owner}.first(10)`,
      );
    if (!Object.hasOwn(type, segment.name)) {
      const isStep = root.name === 'steps' && index === 1;
      if (isStep && scope.allSteps.has(segment.name)) {
        return mistake(
          'STEP_NOT_IN_SCOPE',
          `step \`${segment.name}\` has not run here: only earlier steps of this block and of the blocks around it can be named`,
          segment,
        );
      }
      const fields = Object.keys(type).filter((field) => field !== headField);
      const known = isStep ? 'there is no step' : `\`${owner}\` has no field`;
      const list = !isStep && fields.length > 0 && fields.length <= 8 ? `; it has ${fields.join(', ')}` : '';
      return mistake(
        'UNKNOWN_REFERENCE',
        `${known} \`${segment.name}\`${list}`,
        segment,
        didYouMean(segment.name, isStep ? scope.allSteps : fields),
      );
    }
    type = type[segment.name]!;
  }
  return [];
}

export function typeOf({ segments }: Pick<Reference, 'segments'>, roots: ScopeFields): ScopeType | undefined {
  let type: ScopeType | undefined = roots;
  for (const { name } of segments) {
    if (!isFields(type) || !Object.hasOwn(type, name)) return undefined;
    type = type[name];
  }
  return type;
}

function valueType(cel: string, named: TypedEnvironment['named']): { type: ValueType; elements: ScopeType } {
  const primitives: Record<string, ValueType> = {
    string: 'text',
    int: 'integer',
    uint: 'integer',
    double: 'number',
    bool: 'bool',
    null: 'null',
    'google.protobuf.Timestamp': 'text',
    'google.protobuf.Duration': 'text',
  };
  const primitive = primitives[cel.replace(/^dyn<(.*)>$/, '$1')];
  if (primitive) return { type: primitive, elements: 'dyn' };
  const element = /^list<(.+)>$/.exec(cel)?.[1];
  if (element !== undefined) return { type: 'list', elements: elementType(element, named) };
  if (cel.startsWith('list')) return { type: 'list', elements: 'dyn' };
  // A type of ours is registered as `$inputs`, `$steps.list.files`: seen from outside it is a mapping.
  if (cel.startsWith('map') || cel.startsWith('$')) return { type: 'mapping', elements: 'dyn' };
  return { type: 'any', elements: 'dyn' };
}

function elementType(cel: string, named: TypedEnvironment['named']): ScopeType {
  const inner = /^list<(.+)>$/.exec(cel)?.[1];
  if (inner !== undefined) return [elementType(inner, named)];
  return named.get(cel) ?? primitiveTypes.find((primitive) => primitive === cel) ?? 'dyn';
}

const primitiveTypes = ['string', 'int', 'double', 'bool', 'list', 'map'] as const;

function asMistake(problem: ExpressionProblem): ExpressionMistake {
  const code = { syntax: 'INVALID_EXPRESSION', function: 'UNKNOWN_FUNCTION', type: 'TYPE_MISMATCH' } as const;
  return {
    code: code[problem.kind],
    message: problem.message,
    start: problem.start,
    end: problem.end,
    ...(problem.suggestion ? { suggestion: problem.suggestion } : {}),
  };
}

export function didYouMean(word: string, candidates: Iterable<string>): string | undefined {
  const meant = nearest(word, candidates);
  return meant === undefined ? undefined : `did you mean ${meant}?`;
}
