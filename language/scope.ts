import type { TSchema } from 'typebox';
import type { InputDeclaration } from '../schema/plan.ts';

/** What an expression may name, and the CEL type of each: a type name, or fields. */
export type ScopeType = PrimitiveType | ScopeFields;
export type PrimitiveType = 'string' | 'int' | 'double' | 'bool' | 'dyn' | 'list' | 'map';
export interface ScopeFields {
  readonly [field: string]: ScopeType;
}

/** A reference to a listing in the ledger: loops walk it page by page. */
export const fileSetType: ScopeFields = { count: 'int', bytes: 'int' };

/** One row of a file set; `modified` may be null. */
export const fileFactType: ScopeFields = {
  endpoint: 'string',
  path: 'string',
  name: 'string',
  size: 'int',
  modified: 'dyn',
};

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

/** `steps.<id>` of a loop. */
export const loopOutputType: ScopeFields = {
  count: 'int',
  succeeded: { count: 'int' },
  failed: { count: 'int' },
  bytes: 'int',
};

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
    'x-file-set': isFileSet,
  } = schema as { type?: string; properties?: Record<string, TSchema>; 'x-file-set'?: boolean };
  if (isFileSet) return fileSetType;
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
}
