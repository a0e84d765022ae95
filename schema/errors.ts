/**
 * The one error class of the product and its closed table of kinds.
 *
 * A connector names the kind; `activities/failure.ts` maps it to Temporal; the API, the command line and the ledger
 * show it. `permanent` kinds are never retried by default. `scope` says what else is likely to fail with it.
 */
export const errorKinds = {
  unauthenticated: {
    permanent: true,
    scope: 'connection',
    advice: 'Check the user name, key or password of the endpoint.',
  },
  forbidden: { permanent: true, scope: 'file', advice: 'Ask the owner of the endpoint for the missing right.' },
  'not-found': { permanent: true, scope: 'file', advice: 'Check the path; the file may have been moved or deleted.' },
  exists: { permanent: true, scope: 'file', advice: 'Choose another target, or another onConflict.' },
  conflict: {
    permanent: false,
    scope: 'file',
    advice: 'The file changed while it was used; the next attempt reads the new version.',
  },
  unsupported: { permanent: true, scope: 'request', advice: 'The connector cannot do this; see its capabilities.' },
  invalid: { permanent: true, scope: 'request', advice: 'Correct the named field.' },
  integrity: {
    permanent: true,
    scope: 'file',
    advice: 'What arrived is not what left; nothing was published. Check the line and the source.',
  },
  'rate-limited': {
    permanent: false,
    scope: 'endpoint',
    advice: 'The server asks for fewer requests; lower limits.concurrency.',
  },
  unavailable: {
    permanent: false,
    scope: 'connection',
    advice: 'The server cannot be reached or refuses to answer; it is tried again.',
  },
  timeout: { permanent: false, scope: 'connection', advice: 'No byte and no answer for too long; it is tried again.' },
  'disk-full': { permanent: false, scope: 'endpoint', advice: 'Free space at the target.' },
  quota: { permanent: false, scope: 'endpoint', advice: 'Raise the quota at the target.' },
  cancelled: {
    permanent: true,
    scope: 'request',
    advice: 'Somebody cancelled the run; start it again when it should go on.',
  },
  'egress-denied': {
    permanent: true,
    scope: 'endpoint',
    advice: 'The address is not allowed by the egress guard; ask the operator to open it.',
  },
  protocol: {
    permanent: false,
    scope: 'connection',
    advice: 'The server broke its protocol; it is tried again. If it persists, report the server.',
  },
  internal: { permanent: false, scope: 'request', advice: 'A fault in Waybill; report it with the error id.' },
} as const satisfies Record<string, { permanent: boolean; scope: ErrorScope; advice: string }>;

export type ErrorScope = 'request' | 'connection' | 'file' | 'endpoint';
export type ErrorKind = keyof typeof errorKinds;

/** Facts for logs and ledger rows. Never a secret, never file content. */
export interface ErrorContext {
  operation?: string;
  endpoint?: string;
  path?: string;
  field?: string;
  retryAfterMs?: number;
  /** What to do, where the advice of the kind does not fit. A sentence. */
  advice?: string;
  cause?: unknown;
  [fact: string]: unknown;
}

export class WaybillError extends Error {
  override readonly name = 'WaybillError';
  readonly kind: ErrorKind;
  readonly context: ErrorContext;

  constructor(kind: ErrorKind, message: string, context: ErrorContext = {}) {
    const { cause, ...facts } = context;
    super(message, cause === undefined ? undefined : { cause });
    this.kind = kind;
    this.context = facts;
  }

  get permanent(): boolean {
    return errorKinds[this.kind].permanent;
  }

  get scope(): ErrorScope {
    return errorKinds[this.kind].scope;
  }
}

/** The error as a WaybillError: itself, or an `internal` one (or `cancelled` for an AbortError) that keeps it as cause. */
export function asWaybillError(error: unknown): WaybillError {
  if (error instanceof WaybillError) return error;
  if (error instanceof Error && error.name === 'AbortError')
    return new WaybillError('cancelled', 'cancelled', { cause: error });
  return new WaybillError('internal', error instanceof Error ? error.message : String(error), { cause: error });
}
