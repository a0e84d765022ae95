import { limits } from './limits.ts';

/**
 * The codes that the API's errors carry: what each means, and what to do. They are stable; docs/errors.md is made from
 * this table. A code of the same name as a kind of schema/errors.ts shares its place there.
 */
export const apiErrorCodes = {
  UNAUTHENTICATED: [
    'The request has no API key or session, or not a valid one (HTTP 401).',
    'Send `Authorization: Bearer` with a key (`wb_...`) or a session (`wbs_...`).',
  ],
  UNAUTHENTICATED_TOO_OFTEN: [
    'Too many requests of the same address came without a valid credential (HTTP 429); a valid one is answered all the same.',
    'Correct it, and wait as long as `Retry-After` says.',
  ],
  SESSION_REPLACED: [
    'The same user has signed in again with the same application, which replaced the session (HTTP 401).',
    'Sign in again, or let each client have an application of its own, or `openImmutable`.',
  ],
  SESSION_ENDED: [
    'The session was closed, or its user or tenant may not come in any more (HTTP 401).',
    'Sign in again.',
  ],
  SESSION_EXPIRED: ['The session is too old, or was not used for too long (HTTP 401).', 'Sign in again.'],
  TENANT_SUSPENDED: [
    'The API key is good, and its tenant is suspended (HTTP 401).',
    'Ask the operator of the installation.',
  ],
  SIGN_IN_REFUSED: [
    'User name, password or one-time code is not right, or the user is locked or disabled. Which of these is not told.',
    'Check them; the event `session.denied` holds the reason, for who may read the audit log.',
  ],
  TICKET_REFUSED: [
    'The ticket is not good, or names nobody. Why is not told.',
    'Make a new one with the key of the integration; the event `session.denied` holds the reason.',
  ],
  IMPERSONATION_REFUSED: [
    'The service session may not act as that user. Why is not told.',
    'See docs/identity.md; the event `session.denied` holds the reason.',
  ],
  APPLICATION_REFUSED: [
    'The application is not registered, reserved or disabled.',
    'Register it: `waybill apps register`.',
  ],
  FORBIDDEN: [
    'The key, or the role behind it, does not have the permission.',
    'Ask an owner for a key with the scope.',
  ],
  NOT_FOUND: ['Nothing of that name or id is there for this tenant.', 'Check the name.'],
  INVALID_INPUT: [
    'A value of the input is not valid; `path` names it.',
    'Correct it; `diagnostics` holds every mistake in a document.',
  ],
  CONFLICT: ['The state of the object does not allow the operation.', 'Read the object again, then decide.'],
  IN_USE: ['The endpoint is used by a live pipeline or by a run that goes on.', 'Remove or change what uses it first.'],
  IDEMPOTENCY_KEY_CONFLICT: [
    'The idempotency key was used for another request within 24 hours.',
    'Use a new key for a new request.',
  ],
  NOTHING_TO_RESEND: [
    'The delivery has not delivered its file, so that it cannot be sent once more.',
    'Retry the run of a failed delivery.',
  ],
  NOTHING_TO_RETRY: ['The run or the delivery has nothing that can be tried again.', 'Start a new run.'],
  SECRET_MISSING: [
    'A document names a secret that was neither sent nor stored.',
    'Publish with `waybill apply`, which sends the files, or store it with `waybill secrets set`.',
  ],
  SECRET_INVALID: ['The value of a secret cannot be what it is said to be.', 'Follow the message.'],
  UNAVAILABLE: ['PostgreSQL or Temporal does not answer (HTTP 503).', 'Send the same request later.'],
  RATE_LIMITED: [
    'Too many sign-ins of the same address or user, too many password checks at once, or too many subscriptions of one credential.',
    'Wait and try again; close subscriptions.',
  ],
  COST_LIMIT: [
    'The operation would cost more than is allowed; `extensions.cost` tells what an allowed one costs.',
    'Ask for fewer rows (`first`) or fewer nested lists.',
  ],
  BAD_REQUEST: ['The request is JSON, but not a GraphQL request.', 'Send `query`, and `variables` when it has some.'],
  GRAPHQL_PARSE_FAILED: ['The document is not GraphQL.', 'Correct it at the given line and column.'],
  GRAPHQL_VALIDATION_FAILED: [
    'The document does not fit the schema, or is too deep or has too many aliases, directives or tokens.',
    'Compare it with schema/api.graphql.',
  ],
  BODY_TOO_LARGE: [
    `The request body is larger than ${limits.bodyBytes / 2 ** 20} MiB (HTTP 413).`,
    'Publish in several parts.',
  ],
  UNSUPPORTED_ENCODING: ['The request body is compressed (HTTP 415).', 'Send it without Content-Encoding.'],
  UNSUPPORTED_MEDIA_TYPE: ['The request body is not JSON (HTTP 415).', 'Send `Content-Type: application/json`.'],
  METHOD_NOT_ALLOWED: ['GraphQL comes by POST only (HTTP 405).', 'Send a POST.'],
  INTERNAL: [
    'A fault in Waybill; the log holds the rest under the `errorId` of the answer.',
    'Report it with the error id.',
  ],
} as const satisfies Record<string, readonly [meaning: string, advice: string]>;

export type ApiErrorCode = keyof typeof apiErrorCodes;

/** Place of a code in the error catalogue. */
export function docsUrl(code: string): string {
  return `docs/errors.md#${code.toLowerCase().replaceAll('_', '-')}`;
}
