import { pipelineDefaults, pipelineLimits } from '../schema/pipeline.ts';
import type { ConcurrencyPolicy, Json } from '../schema/plan.ts';
import { checkTemplate } from './checking.ts';
import type { ValueType } from './expressions.ts';
import { checkIdentifier } from './names.ts';
import type { Report } from './report.ts';
import { type ExpressionScope, listOf, literalType, type ScopeFields, type ScopeType } from './scope.ts';
import type { Located } from './source.ts';
import { hasExpression } from './template.ts';

/** `vars:` with the types of what they hold, and their form for the plan. */
export function checkVars(
  vars: Located | undefined,
  scope: ExpressionScope,
  report: Report,
): { vars: Record<string, Json>; types: ScopeFields } {
  const values: Array<[string, Json]> = [];
  const types: Array<[string, ScopeType]> = [];
  for (const [name, { key, value }] of vars?.entries ?? []) {
    if (!checkIdentifier(name, key, report)) continue;
    const { json, type } = compileVar(value, scope, report);
    values.push([name, json]);
    types.push([name, type]);
  }
  const compiled = Object.fromEntries(values);
  if (vars && JSON.stringify(compiled).length > pipelineLimits.varsCharacters)
    report.add('INVALID_VALUE', vars.range, `vars have more than ${pipelineLimits.varsCharacters} characters as JSON`);
  return { vars: compiled, types: Object.fromEntries(types) };
}

function compileVar(value: Located, scope: ExpressionScope, report: Report): { json: Json; type: ScopeType } {
  if (typeof value.value === 'string') {
    const { type, elements, text } = checkTemplate(value, scope, report);
    return { json: text, type: hasExpression(text) ? scopeTypeOf(type, elements) : 'string' };
  }
  if (value.items) {
    const items = value.items.map((item) => compileVar(item, scope, report));
    return { json: items.map(({ json }) => json), type: listOf(items.map(({ type }) => type)) };
  }
  if (!value.entries) return { json: value.value, type: literalType(value.value) };
  const fields = [...value.entries].map(([name, entry]) => [name, compileVar(entry.value, scope, report)] as const);
  return {
    json: Object.fromEntries(fields.map(([name, { json }]) => [name, json])),
    type: fields.length === 0 ? 'map' : Object.fromEntries(fields.map(([name, { type }]) => [name, type])),
  };
}

/** The type of a variable that is one expression. */
function scopeTypeOf(type: ValueType, elements: ScopeType): ScopeType {
  if (type === 'list') return elements === 'dyn' ? 'list' : [elements];
  const types: Partial<Record<ValueType, ScopeType>> = {
    text: 'string',
    integer: 'int',
    number: 'double',
    bool: 'bool',
    mapping: 'map',
  };
  return types[type] ?? 'dyn';
}

/** `concurrency:`; null when there is none. */
export function checkConcurrency(
  concurrency: Located | undefined,
  scope: ExpressionScope,
  report: Report,
): ConcurrencyPolicy | null {
  const key = concurrency?.entries?.get('key')?.value;
  if (!concurrency?.entries || typeof key?.value !== 'string') return null;
  const limit = concurrency.entries.get('limit')?.value.value;
  const onLimit = concurrency.entries.get('onLimit')?.value.value;
  return {
    key: checkTemplate(key, scope, report).text,
    limit: typeof limit === 'number' ? limit : pipelineDefaults.concurrencyLimit,
    onLimit: (onLimit ?? pipelineDefaults.onLimit) as ConcurrencyPolicy['onLimit'],
  };
}

/** Reports the variables that no expression names. */
export function lintVars(vars: Located | undefined, used: ReadonlySet<string>, report: Report): void {
  for (const [name, { key }] of vars?.entries ?? [])
    if (!used.has(name)) report.add('UNUSED_VAR', key, `the variable "${name}" is never used`);
}
