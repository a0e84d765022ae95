import type { TSchema } from 'typebox';
import type { InputDeclaration, Json } from '../schema/plan.ts';

/** What an expression may name, and the CEL type of each: a type name, the type of a list's elements, or fields. */
export type ScopeType = PrimitiveType | ScopeList | ScopeFields;
export type PrimitiveType = 'string' | 'int' | 'double' | 'bool' | 'dyn' | 'list' | 'map';
export type ScopeList = readonly [elements: ScopeType];
export interface ScopeFields {
  readonly [field: string]: ScopeType;
}

export function isList(type: ScopeType | undefined): type is ScopeList {
  return Array.isArray(type);
}

export function isFields(type: ScopeType | undefined): type is ScopeFields {
  return typeof type === 'object' && !Array.isArray(type);
}

/** One row of a file set; `modified` may be null. */
export const fileFactType: ScopeFields = {
  endpoint: 'string',
  path: 'string',
  name: 'string',
  size: 'int',
  modified: 'dyn',
};

/** Holds the first rows of what is too long for an expression; read by `first(n)` alone, since it is as long as the pipeline asks for. */
export const headField = 'head';

/** A reference to a listing in the ledger: loops walk it page by page. */
export const fileSetType: ScopeFields = { count: 'int', bytes: 'int', [headField]: [fileFactType] };

/** What `first(n)` of a reference gives rows of, or undefined. */
export function rowsOf(type: ScopeType | undefined): ScopeType | undefined {
  const head =
    isFields(type) && Object.hasOwn(type, 'count') && Object.hasOwn(type, headField) ? type[headField] : undefined;
  return isList(head) ? head[0] : undefined;
}

export const runType: ScopeFields = {
  id: 'string',
  pipeline: 'string',
  version: 'string',
  date: 'string',
  startedAt: 'string',
};

/** `run` in `finally`: how the run ended is known there. */
export const finishedRunType: ScopeFields = { ...runType, status: 'string' };

/** `error` in an `onError` block; step, endpoint and path may be null. */
export const errorType: ScopeFields = { kind: 'string', message: 'string', step: 'dyn', endpoint: 'dyn', path: 'dyn' };

/** `steps.<id>` of a loop over such items. */
export function loopOutputType(item: ScopeType): ScopeFields {
  return {
    count: 'int',
    succeeded: { count: 'int' },
    failed: { count: 'int', [headField]: [{ item, error: errorType }] },
    bytes: 'int',
  };
}

/** `steps.<id>` of a wait: the time it ended at, and how often it looked. */
export const waitOutputType: ScopeFields = { until: 'string', polls: 'int' };

/** The type of a value that is written out. */
export function literalType(value: Json): ScopeType {
  if (typeof value === 'string') return 'string';
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'number') return Number.isSafeInteger(value) ? 'int' : 'double';
  if (value === null) return 'dyn';
  if (Array.isArray(value)) return listOf(value.map(literalType));
  const fields = Object.entries(value).map(([name, field]) => [name, literalType(field)] as const);
  return fields.length === 0 ? 'map' : Object.fromEntries(fields);
}

/** A list of elements of these types: of one type when they are alike. */
export function listOf(elements: readonly ScopeType[]): ScopeType {
  const [first] = elements;
  const isAlike = first !== undefined && new Set(elements.map((element) => JSON.stringify(element))).size === 1;
  return isAlike && first !== 'dyn' ? [first] : 'list';
}

const inputTypes: Record<InputDeclaration['type'], PrimitiveType> = {
  string: 'string',
  integer: 'int',
  number: 'double',
  boolean: 'bool',
  list: 'list',
  map: 'map',
};

export function inputType(type: InputDeclaration['type']): PrimitiveType {
  return inputTypes[type];
}

/** The type of what an action gives, from the schema in its manifest. */
export function outputType(schema: TSchema): ScopeType {
  const {
    type,
    properties,
    items,
    'x-file-set': isFileSet,
  } = schema as { type?: string; properties?: Record<string, TSchema>; items?: TSchema; 'x-file-set'?: boolean };
  if (isFileSet) return fileSetType;
  if (type === 'array' && items) {
    const element = outputType(items);
    return element === 'dyn' ? 'list' : [element];
  }
  if (type === 'object' && properties)
    return Object.fromEntries(Object.entries(properties).map(([name, field]) => [name, outputType(field)]));
  const names: Record<string, PrimitiveType> = {
    string: 'string',
    integer: 'int',
    number: 'double',
    boolean: 'bool',
    array: 'list',
    object: 'map',
  };
  return (type !== undefined && names[type]) || 'dyn';
}

/** What can be named at one place of a pipeline. */
export interface ExpressionScope {
  /** `inputs`, `run`, `steps`, loop variables ... */
  roots: ScopeFields;
  /** Ids of all steps of the file: to tell "not there yet" from "no such step". */
  allSteps: ReadonlySet<string>;
  /** What the expressions of the pipeline have named so far. */
  uses?: ExpressionUses;
}

export interface ExpressionUses {
  vars: Set<string>;
  /** The largest n of `first(n)`, by the id of the step whose rows it reads. */
  heads: Map<string, number>;
}
