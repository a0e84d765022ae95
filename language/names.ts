import { identifierPattern, reservedIdentifiers, reservedResourceNames, resourceNamePattern } from '../schema/names.ts';
import type { Report, SourceRange } from './report.ts';

/** Members that every JavaScript object has: names of this kind become property names in the workflow and its bundle. */
const objectMembers: ReadonlySet<string> = new Set(Object.getOwnPropertyNames(Object.prototype));
/** Types of CEL are names of their own in an expression. */
const expressionNames: readonly string[] = [
  'string',
  'bool',
  'int',
  'uint',
  'double',
  'map',
  'list',
  'bytes',
  'null_type',
  'type',
  'google',
  'cel',
  'optional',
  'dyn',
];

/** A pipeline, endpoint or webhook. Reports a reserved name; a name of wrong form has been reported by the schema. */
export function checkResourceName(name: unknown, range: SourceRange, report: Report): void {
  if (typeof name !== 'string') return;
  if (reservedResourceNames.includes(name) || objectMembers.has(name))
    report.add('RESERVED_NAME', range, `"${name}" is a reserved name`);
}

/** A step, input, output or loop variable. Gives whether the name can be used in expressions. */
export function checkIdentifier(name: unknown, range: SourceRange, report: Report, isVariable = false): name is string {
  if (typeof name !== 'string' || !new RegExp(identifierPattern).test(name)) return false;
  if (
    !reservedIdentifiers.includes(name) &&
    !objectMembers.has(name) &&
    !(isVariable && expressionNames.includes(name))
  )
    return true;
  report.add('RESERVED_NAME', range, `"${name}" is a reserved name`);
  return false;
}

export function isResourceName(name: unknown): name is string {
  return typeof name === 'string' && new RegExp(resourceNamePattern).test(name);
}
