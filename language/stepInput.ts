import type { ActionManifest } from '../schema/actions.ts';
import { WaybillError } from '../schema/errors.ts';
import { customEventPattern, isCustomEvent } from '../schema/events.ts';
import { normalisePath } from '../schema/paths.ts';
import type { Json } from '../schema/plan.ts';
import { checkApplication } from './applicationCheck.ts';
import { checkFilter, checkTemplate } from './checking.ts';
import { typeWords, type ValueType } from './expressions.ts';
import { normaliseGlob } from './location.ts';
import { checkEndpointAlias, checkLocation, type LocationContext, type LocationKind } from './locationCheck.ts';
import type { Report } from './report.ts';
import { checkSchema, pointerTo } from './schemaCheck.ts';
import type { ExpressionScope } from './scope.ts';
import type { Located } from './source.ts';
import { hasExpression, withoutExpressions } from './template.ts';

export interface InputContext extends LocationContext {
  scope: ExpressionScope;
  report: Report;
  applications: ReadonlySet<number> | undefined;
}

/** The parts of a schema that the checker looks at. `x-` words are ours: see `schema/actions.ts`. */
interface InputSchema {
  type?: string;
  const?: unknown;
  pattern?: string;
  anyOf?: InputSchema[];
  properties?: Record<string, InputSchema>;
  items?: InputSchema;
  'x-expression'?: unknown;
  'x-endpoint'?: boolean;
  'x-application'?: boolean;
  'x-location'?: LocationKind;
  'x-one-of'?: readonly string[];
  'x-path'?: 'path' | 'glob';
}

/** Checks the `with` of a step against its action, with the types of the expressions in it. Gives its form for the plan. */
export function checkStepInput(input: Located, action: ActionManifest, context: InputContext): Record<string, Json> {
  checkSchema(input, action.input, context.report, { expressions: expressionPointers(input) });
  checkOneOf(input, (action.input as InputSchema)['x-one-of'] ?? [], context.report);
  return compileValue(input, action.input as InputSchema, context) as Record<string, Json>;
}

/** Of some keys exactly one has to be there. */
function checkOneOf(input: Located, keys: readonly string[], report: Report): void {
  if (keys.length === 0) return;
  const given = keys.filter((key) => input.entries?.has(key));
  const words = keys.map((key) => `\`${key}\``);
  if (given.length === 0) report.add('MISSING_KEY', input.range, `one of ${words.join(', ')} is missing`);
  if (given.length > 1)
    report.add('INVALID_VALUE', input.entries!.get(given[1]!)!.key, `give ${words.join(' or ')}, not both`);
}

function expressionPointers(input: Located): Set<string> {
  const pointers = new Set<string>();
  const visit = (value: Located, pointer: string): void => {
    if (typeof value.value === 'string' && hasExpression(value.value)) pointers.add(pointer);
    for (const [name, entry] of value.entries ?? []) visit(entry.value, pointerTo(pointer, name));
    for (const [index, item] of (value.items ?? []).entries()) visit(item, pointerTo(pointer, index));
  };
  visit(input, '');
  return pointers;
}

function compileValue(value: Located, given: InputSchema | undefined, context: InputContext): Json {
  const schema = listForm(given, value) ?? given;
  if (schema?.['x-endpoint']) return checkEndpointAlias(value, context);
  if (schema?.['x-application']) checkApplication(value, context.applications, context.report);
  if (schema?.['x-location']) return compileLocation(value, schema, schema['x-location'], context);
  if (typeof value.value === 'string') return compileText(value, schema, context);
  if (value.items) return value.items.map((item) => compileValue(item, schema?.items, context));
  if (!value.entries) return value.value;
  const shape = objectShape(schema, value);
  const entries = [...value.entries].map(
    ([name, entry]) => [name, compileValue(entry.value, shape?.properties?.[name], context)] as const,
  );
  return Object.fromEntries(entries);
}

/** Where a location may be a list of them, and is one. */
function listForm(schema: InputSchema | undefined, value: Located): InputSchema | undefined {
  return value.items && schema?.['x-location'] ? schema.anyOf?.find(({ type }) => type === 'array') : undefined;
}

/** The location, with what else its mapping says. */
function compileLocation(value: Located, schema: InputSchema, accepts: LocationKind, context: InputContext): Json {
  const location = checkLocation(value, accepts, context);
  const more = [...(value.entries ?? [])].filter(([name]) => !['endpoint', 'path', 'glob'].includes(name));
  if (more.length === 0 || location === value.value) return location;
  const properties = objectShape(schema, value)?.properties;
  const compiled = more.map(([name, entry]) => [name, compileValue(entry.value, properties?.[name], context)] as const);
  return { ...(location as { [key: string]: Json }), ...Object.fromEntries(compiled) };
}

/** Of a union the mapping that has most of the keys. */
function objectShape(schema: InputSchema | undefined, value: Located): InputSchema | undefined {
  if (!schema?.anyOf) return schema;
  const known = (branch: InputSchema) =>
    [...(value.entries?.keys() ?? [])].filter((key) => branch.properties && Object.hasOwn(branch.properties, key))
      .length;
  return [...schema.anyOf].sort((left, right) => known(right) - known(left))[0];
}

function compileText(text: Located, schema: InputSchema | undefined, context: InputContext): Json {
  const { scope, report } = context;
  if (schema?.['x-expression']) return checkFilter(text, scope, report);
  const source = String(text.value);
  const { type, text: compiled } = checkTemplate(text, scope, report);
  const isEvent = schema?.pattern === customEventPattern;
  if (!hasExpression(source)) {
    if (isEvent && new RegExp(customEventPattern).test(source) && !isCustomEvent(source)) {
      report.add(
        'RESERVED_EVENT',
        text.range,
        `events that begin with "${source.split('.')[0]}." are written by Waybill only`,
      );
    }
    return schema?.['x-path'] ? checkPath(text, schema['x-path'], context) : source;
  }
  if (isEvent)
    report.add(
      'EXPRESSION_NOT_ALLOWED',
      text.range,
      'the name of an event must be written out; put what varies into `data`',
    );
  if (schema?.['x-path']) checkPath(text, schema['x-path'], context);
  if (schema && !accepts(schema, type)) {
    report.add(
      'TYPE_MISMATCH',
      text.range,
      `the expression gives ${typeWords(type)}, but ${expectation(schema)} is expected`,
    );
  }
  return compiled;
}

/** A path on the endpoint that the step already names. Expressions in it are looked at as if they were a name. */
function checkPath(text: Located, kind: 'path' | 'glob', context: InputContext): string {
  const source = String(text.value);
  const sample = withoutExpressions(source);
  const alias = /^([A-Za-z_][A-Za-z0-9_-]*):\//.exec(source)?.[1];
  if (kind === 'path' && alias !== undefined && Object.hasOwn(context.aliases, alias)) {
    context.report.add('INVALID_PATH', text.range, `this is a path on the endpoint of \`from\`; leave out "${alias}:"`);
    return source;
  }
  try {
    const normal = kind === 'path' ? normalisePath(sample) : normaliseGlob(sample);
    return sample === source ? normal : source;
  } catch (error) {
    if (!(error instanceof WaybillError)) throw error;
    context.report.add('INVALID_PATH', text.range, error.message);
    return source;
  }
}

function accepts(schema: InputSchema, type: ValueType): boolean {
  if (type === 'any') return true;
  return jsonTypes(schema).some((json) => {
    if (json === 'any') return true;
    if (json === 'number') return type === 'number' || type === 'integer';
    return (
      {
        text: 'string',
        integer: 'integer',
        number: 'number',
        bool: 'boolean',
        list: 'array',
        mapping: 'object',
        'file set': 'object',
        null: 'null',
      }[type] === json
    );
  });
}

function jsonTypes(schema: InputSchema): string[] {
  if (schema.anyOf) return schema.anyOf.flatMap(jsonTypes);
  if (schema.const !== undefined) return [typeof schema.const];
  return [schema.type ?? 'any'];
}

function expectation(schema: InputSchema): string {
  const words: Record<string, string> = {
    string: 'a text',
    integer: 'a whole number',
    number: 'a number',
    boolean: 'true or false',
    array: 'a list',
    object: 'a mapping',
  };
  return [...new Set(jsonTypes(schema).map((type) => words[type] ?? type))].join(' or ');
}
