/** The rules of names and the form of public ids. */

/** Pipelines, endpoints, webhooks. */
export const resourceNamePattern = '^[a-z][a-z0-9-]{2,62}$';
/** Steps, inputs, loop variables: a hyphen would be a minus in an expression. */
export const identifierPattern = '^[a-z][A-Za-z0-9_]{0,62}$';

/** The first id that a tenant gives to an application of its own. */
export const firstApplicationId = 1_000;

/** Users and service accounts, as `session.as` names them. */
export const accountPattern = '^[A-Za-z0-9][A-Za-z0-9._@-]{0,126}$';

/** Words an identifier cannot be: the roots of the scope, and the reserved words of CEL. */
export const reservedIdentifiers: readonly string[] = [
  'inputs',
  'vars',
  'trigger',
  'run',
  'steps',
  'error',
  'true',
  'false',
  'null',
  'in',
  'as',
  'break',
  'const',
  'continue',
  'else',
  'for',
  'function',
  'if',
  'import',
  'let',
  'loop',
  'package',
  'namespace',
  'return',
  'var',
  'void',
  'while',
  'constructor',
  'prototype',
];

/**
 * Names a pipeline cannot have although their form is right: a pipeline's name is its Temporal workflow type, which is
 * looked up as a property of the workflow bundle, and `default` is the interpreter itself.
 */
export const reservedResourceNames: readonly string[] = ['default', 'constructor', 'prototype', 'then'];

/** Prefix of each kind of public id: `run_0192c0de...` (UUIDv7 in 32 hexadecimal digits). */
export const idPrefixes = {
  run: 'run',
  transfer: 'tr',
  delivery: 'dlv',
  pipeline: 'pl',
  pipelineVersion: 'plv',
  endpoint: 'ep',
  webhook: 'wh',
  webhookDelivery: 'whd',
  session: 'ses',
  auditEvent: 'evt',
  apiKey: 'key',
  principal: 'usr',
  secret: 'sec',
  integration: 'itg',
} as const;
export type IdKind = keyof typeof idPrefixes;

/** The public form of a row's UUID. */
export function publicId(kind: IdKind, uuid: string): string {
  return `${idPrefixes[kind]}_${uuid.replaceAll('-', '')}`;
}

/** The UUID of a public id of that kind, or undefined when the text is not one. */
export function rowId(kind: IdKind, id: string): string | undefined {
  const match = /^([a-z]+)_([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})$/.exec(id);
  return match?.[1] === idPrefixes[kind] ? match.slice(2).join('-') : undefined;
}

/** The kind of a public id, or undefined. */
export function idKind(id: string): IdKind | undefined {
  const prefix = id.slice(0, id.indexOf('_'));
  return (Object.keys(idPrefixes) as IdKind[]).find((kind) => idPrefixes[kind] === prefix);
}
