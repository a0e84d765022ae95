import type { Environment } from '@marcbachmann/cel-js';
import { baseEnvironment } from './cel.ts';
import { firstOfSet } from './celFunctions.ts';
import { isFields, isList, rowsOf, type ScopeFields, type ScopeType } from './scope.ts';

export interface TypedEnvironment {
  environment: Environment;
  /** The types that were registered for fields and for elements of lists, by their CEL name. */
  named: ReadonlyMap<string, ScopeType>;
}

/**
 * An environment that knows the given variables with their types: types are registered for fields, so that a field of a
 * wrong name or type is found where it stands. `usesRows`: `first(n)` of file sets gives rows of a known type.
 */
export function typedEnvironment(variables: ReadonlyMap<string, ScopeType>, usesRows: boolean): TypedEnvironment {
  const key = JSON.stringify([usesRows, ...variables]);
  const known = environments.get(key);
  if (known) return known;
  const made = makeEnvironment(variables, usesRows);
  if (environments.size >= maxEnvironments) environments.clear();
  environments.set(key, made);
  return made;
}

/** A memo: an environment never changes once it is made, and a file has many expressions over the same names. */
const environments = new Map<string, TypedEnvironment>();
const maxEnvironments = 200;

type CelSchema = { [field: string]: string | CelSchema };

function makeEnvironment(variables: ReadonlyMap<string, ScopeType>, usesRows: boolean): TypedEnvironment {
  const environment = baseEnvironment.clone();
  const named = new Map<string, ScopeType>();
  /** The types of elements have no variable to be named after. */
  const listName = (element: ScopeType): string => {
    if (isList(element)) return `list<${listName(element[0])}>`;
    if (!isFields(element)) return `list<${element}>`;
    const known = [...named].find(([, type]) => type === element)?.[0];
    const name = known ?? `$row${named.size}`;
    if (!known) {
      named.set(name, element);
      environment.registerType({ name, schema: schemaOf(element, name) as never });
    }
    return `list<${name}>`;
  };
  /** The library registers the fields of fields as `$steps.list.files` itself. */
  const schemaOf = (fields: ScopeFields, name: string): CelSchema => {
    const entries = Object.entries(fields).map(([field, type]): [string, string | CelSchema] => {
      if (isList(type)) return [field, listName(type[0])];
      if (!isFields(type)) return [field, type];
      named.set(`${name}.${field}`, type);
      return [field, schemaOf(type, `${name}.${field}`)];
    });
    return Object.fromEntries(entries);
  };
  for (const [variable, type] of variables) {
    if (isFields(type)) {
      named.set(`$${variable}`, type);
      environment.registerVariable({ name: variable, schema: schemaOf(type, `$${variable}`) as never });
    } else environment.registerVariable(variable, isList(type) ? listName(type[0]) : type);
  }
  if (usesRows) registerFirst(environment, named, listName);
  return { environment, named };
}

function registerFirst(
  environment: Environment,
  named: ReadonlyMap<string, ScopeType>,
  listName: (element: ScopeType) => string,
): void {
  for (const [receiver, type] of [...named]) {
    const row = rowsOf(type);
    if (row === undefined) continue;
    const handler = firstOfSet as (...args: unknown[]) => unknown;
    const shared = { name: 'first', returnType: listName(row), handler, async: false };
    environment.registerFunction({ ...shared, receiverType: receiver, params: [{ name: 'count', type: 'int' }] });
    environment.registerFunction({
      ...shared,
      params: [
        { name: 'rows', type: receiver },
        { name: 'count', type: 'int' },
      ],
    });
  }
}
