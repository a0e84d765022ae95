import {
  type GraphQLField,
  type GraphQLObjectType,
  type GraphQLOutputType,
  getNamedType,
  isInterfaceType,
  isLeafType,
  isObjectType,
  isRequiredArgument,
  isUnionType,
} from 'graphql';
import { apiSchema } from '../../api/schema/index.ts';
import type { Arguments } from './schemaArguments.ts';

/** A field with these arguments, and everything of its answer that the depth allows. */
export interface Question {
  query: string;
  variables: Arguments;
}

/** Objects below the first one that are looked into: enough to see a row by way of its neighbours. */
const levels = 1;

export function question(
  operation: 'query' | 'mutation' | 'subscription',
  field: GraphQLField<unknown, unknown>,
  variables: Arguments,
  /** Of an interface, the type whose fields are wanted. */
  only?: string,
): Question {
  const given = field.args.filter(({ name }) => name in variables);
  const head = given.length === 0 ? '' : `(${given.map(({ name, type }) => `$${name}: ${type}`).join(', ')})`;
  const passed = given.length === 0 ? '' : `(${given.map(({ name }) => `${name}: $${name}`).join(', ')})`;
  return {
    query: `${operation}${head} { ${field.name}${passed} ${everythingOf(field.type, levels, only)} }`,
    variables,
  };
}

function everythingOf(type: GraphQLOutputType, depth: number, only?: string): string {
  const named = getNamedType(type);
  if (isLeafType(named)) return '';
  if (isObjectType(named)) return `{ __typename ${fieldsOf(named, depth).join(' ')} }`;
  if (!isUnionType(named) && !isInterfaceType(named)) return '';
  const types = apiSchema.getPossibleTypes(named).filter(({ name }) => only === undefined || name === only);
  return `{ __typename ${types.map((each) => `... on ${each.name} ${everythingOf(each, depth)}`).join(' ')} }`;
}

function fieldsOf(type: GraphQLObjectType, depth: number): string[] {
  return Object.values(type.getFields()).flatMap((field) => {
    const named = getNamedType(field.type);
    if (field.args.some(isRequiredArgument)) return [];
    if (isLeafType(named)) return [field.name];
    // Connections, edges and payloads hold nothing of their own.
    const isFrame =
      /(Connection|Edge|Payload|PageInfo)$/.test(named.name) || /(Edge|Connection|Payload)$/.test(type.name);
    const isList = field.args.some(({ name }) => name === 'first');
    if (depth === 0 && (isList || !isFrame)) return [];
    const inner = everythingOf(field.type, isFrame && !isList ? depth : depth - 1);
    return [`${field.name}${isList ? '(first: 3)' : ''} ${inner}`];
  });
}
