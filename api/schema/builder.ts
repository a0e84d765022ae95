import SchemaBuilder from '@pothos/core';
import ScopeAuthPlugin from '@pothos/plugin-scope-auth';
import { GraphQLError, valueFromASTUntyped } from 'graphql';
import { allow, type Permission } from '../../identity/permissions.ts';
import type { ApiContext } from '../context.ts';

/**
 * The GraphQL schema, code first: every file of this folder adds its subject. Every root field and every type that
 * holds a tenant's data names the permission it needs (`authScopes: { may }`, `signedIn` when any credential will do, `anybody` for the ways in); a test refuses a root field without one.
 */
export const builder = new SchemaBuilder<{
  Context: ApiContext;
  DefaultFieldNullability: false;
  AuthScopes: { may: Permission; signedIn: boolean; anybody: boolean };
  Scalars: {
    ID: { Input: string; Output: string };
    DateTime: { Input: Date; Output: Date | string };
    JSON: { Input: unknown; Output: unknown };
    BigInt: { Input: number; Output: number | bigint };
  };
}>({
  plugins: [ScopeAuthPlugin],
  defaultFieldNullability: false,
  scopeAuth: {
    authorizeOnSubscribe: true,
    authScopes: ({ caller }) => ({
      may: (permission) => caller !== null && allow(caller, permission),
      signedIn: caller !== null,
      // The ways in, and out: each proves for itself who comes.
      anybody: true,
    }),
    unauthorizedError: () =>
      new GraphQLError('The credential may not do this.', { extensions: { code: 'FORBIDDEN', retryable: false } }),
  },
});

/** The type parameter of refs that are passed on. */
export type ApiTypes = (typeof builder)['$inferSchemaTypes'];

builder.queryType();
builder.mutationType();
builder.subscriptionType();

builder.scalarType('DateTime', {
  description: 'A moment, ISO 8601 in UTC with milliseconds.',
  serialize: (value) => (value instanceof Date ? value.toISOString() : value),
  parseValue: (value) => {
    const moment = typeof value === 'string' ? new Date(value) : undefined;
    if (!moment || Number.isNaN(moment.getTime())) throw new GraphQLError('expected a moment in ISO 8601');
    return moment;
  },
});

builder.scalarType('JSON', {
  description: 'Any JSON value.',
  serialize: (value) => value,
  parseValue: (value) => value,
  parseLiteral: (node, variables) => valueFromASTUntyped(node, variables),
});

builder.scalarType('BigInt', {
  description: 'A whole number that may exceed 32 bits, as a JSON number (bytes).',
  serialize: (value) => Number(value),
  parseValue: (value) => {
    if (!Number.isSafeInteger(value)) throw new GraphQLError('expected a whole number');
    return value as number;
  },
});
