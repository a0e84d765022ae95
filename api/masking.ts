import { randomUUID } from 'node:crypto';
import { GraphQLError } from 'graphql';
import type { Log } from '../connectors/contract.ts';
import { type ErrorKind, WaybillError } from '../schema/errors.ts';
import { type ApiErrorCode, apiErrorCodes } from './errorCatalogue.ts';

/** Kinds whose message was written for the caller. */
const shown: Partial<Record<ErrorKind, ApiErrorCode>> = {
  'not-found': 'NOT_FOUND',
  invalid: 'INVALID_INPUT',
  forbidden: 'FORBIDDEN',
  unauthenticated: 'UNAUTHENTICATED',
  'rate-limited': 'RATE_LIMITED',
};

/**
 * What the caller sees of an error: mistakes of the request as they are; that something is away; and of all else only
 * an id, under which the log holds the rest.
 */
export function maskError(error: unknown, log: Log): GraphQLError {
  if (!(error instanceof GraphQLError)) return masked(error, undefined, log);
  const cause = error.originalError;
  return cause === undefined || cause === null || cause instanceof GraphQLError ? error : masked(cause, error, log);
}

function masked(cause: unknown, located: GraphQLError | undefined, log: Log): GraphQLError {
  const place = located ? { nodes: located.nodes ?? null, path: located.path ?? null } : {};
  if (cause instanceof WaybillError) {
    const ofKind = shown[cause.kind];
    if (ofKind !== undefined) {
      const told = cause.context.code;
      // How a session has ended is told in a stream, and by a mutation that it ends under, as it is to the next request.
      const code = typeof told === 'string' && told in apiErrorCodes ? told : ofKind;
      const field = typeof cause.context.field === 'string' ? { field: cause.context.field } : {};
      return new GraphQLError(cause.message, { ...place, extensions: { code, retryable: !cause.permanent, ...field } });
    }
  }
  const errorId = randomUUID();
  const isAway = cause instanceof WaybillError && (cause.kind === 'unavailable' || cause.kind === 'timeout');
  log.error(
    { errorId, cause: describe(cause), path: located?.path },
    isAway ? 'a request met a part that is away' : 'a request broke',
  );
  const message = isAway
    ? 'A part of Waybill cannot be reached; try again.'
    : 'A fault in Waybill; report it with the error id.';
  const extensions = { code: isAway ? 'UNAVAILABLE' : 'INTERNAL', retryable: isAway, errorId };
  return new GraphQLError(message, { ...place, extensions });
}

function describe(cause: unknown): string {
  return cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
}
