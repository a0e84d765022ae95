import { type DocumentNode, Kind, OperationTypeNode, parse } from 'graphql';
import { limits } from './limits.ts';

/** The mutations that need no credential: they are the ways to one, and out of it. */
export const signInMutations = [
  'open',
  'openWithTicket',
  'openWithTicketEx',
  'openImmutable',
  'openImmutableImpersonate',
  'openImmutableUserString',
  'close',
] as const;
export type SignInMutation = (typeof signInMutations)[number];

/** Whether a request body asks for nothing but to sign in or out: whatever of it is executed, in whatever form it comes. */
export function onlySignsIn(body: Buffer): boolean {
  const document = documentOf(body);
  if (document === undefined) return false;
  const operations = document.definitions.filter((definition) => definition.kind !== Kind.FRAGMENT_DEFINITION);
  return operations.every(
    (definition) =>
      definition.kind === Kind.OPERATION_DEFINITION &&
      definition.operation === OperationTypeNode.MUTATION &&
      // A fragment at the root could hold any field; nobody needs one there.
      definition.selectionSet.selections.every(
        (selection) =>
          selection.kind === Kind.FIELD && (signInMutations as readonly string[]).includes(selection.name.value),
      ),
  );
}

function documentOf(body: Buffer): DocumentNode | undefined {
  try {
    const request: unknown = JSON.parse(body.toString('utf8'));
    if (typeof request !== 'object' || request === null || !('query' in request)) return undefined;
    return typeof request.query === 'string' ? parse(request.query, { maxTokens: limits.tokens }) : undefined;
  } catch {
    return undefined;
  }
}
