import { WaybillError } from '../schema/errors.ts';
import type { Json } from '../schema/plan.ts';
import {
  asFirstCall,
  baseEnvironment,
  describeCelError,
  expressionLimits,
  parseExpression,
  type Reference,
  referencesOf,
} from './cel.ts';
import { maxTextCharacters } from './celFunctions.ts';
import { meter } from './meter.ts';
import { hasExpression, parseTemplate } from './template.ts';

/** What expressions see: `inputs`, `run`, `steps`, `error`, and the variables of loops. Values are plain JSON. */
export type Scope = Record<string, unknown>;

/** The value of a CEL expression as JSON. Deterministic. Throws `invalid` for a mistake or a value that JSON cannot carry. */
export function evaluate(cel: string, scope: Scope): Json {
  return compileExpression(cel)(scope);
}

/** A condition: like `evaluate`, and throws `invalid` when the value is not a bool. */
export function evaluateCondition(cel: string, scope: Scope): boolean {
  const value = evaluate(cel, scope);
  if (typeof value !== 'boolean')
    throw new WaybillError('invalid', `the condition ${quote(cel)} gives ${describe(value)}, not true or false`);
  return value;
}

/**
 * Fills the `${{ }}` of every text in a value. A text that is exactly one `${{ }}` becomes that value; inside a longer
 * text a value is written out, null as nothing. What an expression gives is never read as a template again.
 */
export function fill(template: Json, scope: Scope): Json {
  if (typeof template === 'string') return hasExpression(template) ? fillText(template, scope) : template;
  if (Array.isArray(template)) return template.map((item) => fill(item, scope));
  if (template === null || typeof template !== 'object') return template;
  return Object.fromEntries(Object.entries(template).map(([key, value]) => [key, fill(value, scope)]));
}

/** A CEL expression made ready for many evaluations, such as one for each row of a listing. Throws `invalid` for a mistake. */
export function compileExpression(cel: string): (scope: Scope) => Json {
  const known = compiled.get(cel);
  if (known) return known;
  const parsed = parseExpression(dynamicEnvironment, cel, { compiled: true });
  if (parsed.run === null || parsed.problems.length > 0)
    throw new WaybillError('invalid', `the expression ${quote(cel)}: ${parsed.problems[0]!.message}`);
  const references = referencesOf(parsed.run.ast);
  const run = meter(parsed.run);
  const isAlone = references.length === 1 && references[0]!.end - references[0]!.start === cel.trim().length;
  const alone = asFirstCall(parsed.run.ast) ?? (isAlone && !references[0]!.dynamic ? references[0]! : null);
  const evaluateOnce = (scope: Scope): Json => {
    if (alone && isOfStepWithoutOutput(alone, scope)) return null;
    try {
      return toJson(run(contextOf(scope, references)), { characters: maxResultCharacters });
    } catch (error) {
      if (error instanceof WaybillError)
        throw new WaybillError('invalid', `the expression ${quote(cel)}: ${error.message}`, { cause: error });
      throw new WaybillError(
        'invalid',
        `the expression ${quote(cel)}: ${describeCelError(error, cel, 'type').message}`,
      );
    }
  };
  if (compiled.size >= maxCompiled) compiled.clear();
  compiled.set(cel, evaluateOnce);
  return evaluateOnce;
}

const dynamicEnvironment = baseEnvironment.clone({ unlistedVariablesAreDyn: true });
/** A memo of a pure function: parsing costs a hundred times an evaluation, and loops evaluate the same text again and again. */
const compiled = new Map<string, (scope: Scope) => Json>();
const maxCompiled = 500;

function fillText(text: string, scope: Scope): Json {
  const template = parseTemplate(text);
  if (template.openAt !== null) throw new WaybillError('invalid', `\${{ is never closed in ${quote(text)}`);
  if (template.exact !== null) return evaluate(template.exact, scope);
  let filled = '';
  for (const part of template.parts)
    filled += part.kind === 'text' ? part.text : asText(evaluate(part.text, scope), part.text);
  if (filled.length > maxTextCharacters)
    throw new WaybillError('invalid', `${quote(text)} makes a text of more than ${maxTextCharacters} characters`);
  return filled;
}

function asText(value: Json, cel: string): string {
  if (value === null) return '';
  if (typeof value === 'object')
    throw new WaybillError(
      'invalid',
      `the expression ${quote(cel)} gives ${describe(value)}, which cannot stand inside a text`,
    );
  return String(value);
}

/**
 * `steps.each.failed.count` or `steps.each.failed.first(3)` alone, of a step that was skipped or never reached, is null: an `onError` block tells what
 * it knows instead of failing for what it does not. In a longer expression it is a mistake; `has(steps.each.failed)` asks.
 */
function isOfStepWithoutOutput({ segments: [root, id] }: Pick<Reference, 'segments'>, scope: Scope): boolean {
  if (root!.name !== 'steps' || id === undefined) return false;
  const steps = (scope.steps ?? {}) as Record<string, unknown>;
  return !Object.hasOwn(steps, id.name) || steps[id.name] === null || steps[id.name] === undefined;
}

/** Only the roots that the expression names are converted, and of them only the parts that it takes. */
function contextOf(scope: Scope, references: readonly Reference[]): Record<string, unknown> {
  const context: Record<string, unknown> = Object.create(null);
  const budget = { values: maxScopeValues };
  for (const reference of references) {
    const root = reference.segments[0]!.name;
    if (root in context || !Object.hasOwn(scope, root) || scope[root] === undefined) continue;
    context[root] = toCel(scope[root], budget, wantedFields(references, root));
  }
  if (context.steps instanceof Map) addStepsWithoutOutput(context.steps, references);
  return context;
}

/** They are null, so that `has(steps.a.files)` and `steps.a == null` have an answer; only `has(steps.a)` itself sees that there is nothing. */
function addStepsWithoutOutput(steps: Map<string, unknown>, references: readonly Reference[]): void {
  for (const { segments, optional } of references) {
    const id = segments[1]?.name;
    if (segments[0]!.name !== 'steps' || id === undefined) continue;
    if (optional && segments.length === 2) {
      if (steps.get(id) === null) steps.delete(id);
    } else if (!steps.has(id)) steps.set(id, null);
  }
}

const maxScopeValues = 100_000;

/** The second names of all references to a root, or null when one takes the whole of it. */
function wantedFields(references: readonly Reference[], root: string): Set<string> | null {
  const fields = new Set<string>();
  for (const { segments } of references) {
    if (segments[0]!.name !== root) continue;
    if (segments.length < 2) return null;
    fields.add(segments[1]!.name);
  }
  return fields;
}

/** JSON to CEL: whole numbers become BigInt, mappings Maps (a plain object would answer to `constructor`). */
function toCel(value: unknown, budget: { values: number }, only: Set<string> | null = null): unknown {
  if (--budget.values < 0) throw new WaybillError('invalid', `reads more than ${maxScopeValues} values`);
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value;
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value;
  if (Array.isArray(value)) return value.map((item) => toCel(item, budget));
  if (typeof value !== 'object') throw new WaybillError('invalid', `reads a value of type ${typeof value}`);
  const map = new Map<string, unknown>();
  for (const [key, item] of Object.entries(value)) {
    if (item !== undefined && (only === null || only.has(key))) map.set(key, toCel(item, budget));
  }
  return map;
}

/** Of a result as JSON, about: it goes into workflow history. */
const maxResultCharacters = 1_048_576;

/** CEL to JSON. Throws `invalid` for bytes, types, infinities, and integers that JSON readers would round. */
function toJson(value: unknown, budget: { characters: number }, depth = 0): Json {
  if (depth > expressionLimits.depth) throw new WaybillError('invalid', 'gives a value that is nested too deeply');
  budget.characters -= typeof value === 'string' ? value.length + 2 : 4;
  if (budget.characters < 0)
    throw new WaybillError('invalid', `gives more than ${maxResultCharacters} characters of JSON`);
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'bigint') {
    if (!Number.isSafeInteger(Number(value)))
      throw new WaybillError('invalid', `gives the integer ${value}, which is beyond 2^53`);
    return Number(value);
  }
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new WaybillError('invalid', `gives ${value}`);
    // JSON has no -0: a run that goes on from its history would see another value.
    return value === 0 ? 0 : value;
  }
  if (Array.isArray(value)) return value.map((item) => toJson(item, budget, depth + 1));
  if (value instanceof Date) return value.toISOString();
  if (typeof value !== 'object') throw new WaybillError('invalid', 'gives a value that JSON cannot carry');
  if ('nanos' in value && 'seconds' in value) return `${(value as { valueOf(): number }).valueOf() / 1000}s`;
  const isPlain = [Object.prototype, null].includes(Object.getPrototypeOf(value));
  if (!isPlain && !(value instanceof Map)) throw new WaybillError('invalid', 'gives a value that JSON cannot carry');
  const entries = value instanceof Map ? [...value] : Object.entries(value);
  return Object.fromEntries(entries.map(([key, item]) => [mapKey(key), toJson(item, budget, depth + 1)]));
}

function mapKey(key: unknown): string {
  if (typeof key === 'object') throw new WaybillError('invalid', 'gives a mapping whose keys are not texts');
  return String(key);
}

function describe(value: Json): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a mapping';
  return typeof value === 'string' ? 'a text' : typeof value === 'boolean' ? 'true or false' : 'a number';
}

function quote(text: string): string {
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}...` : text);
}
