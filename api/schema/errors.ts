import type { ObjectRef } from '@pothos/core';
import { GraphQLError } from 'graphql';
import type { Diagnostic } from '../../schema/diagnostics.ts';
import { asWaybillError, type ErrorKind, errorKinds, type WaybillError } from '../../schema/errors.ts';
import { type ApiErrorCode, docsUrl } from '../errorCatalogue.ts';
import { type ApiTypes, builder } from './builder.ts';
import { DiagnosticType, FailureType } from './types.ts';

type Refusal =
  | 'NotFoundError'
  | 'InvalidInputError'
  | 'ForbiddenError'
  | 'ConflictError'
  | 'UnavailableError'
  | 'SignInRefusedError'
  | 'RateLimitedError';

/** A refusal that the caller is meant to read: data of a mutation's answer, not an entry of `errors`. */
export interface UserError {
  refusal: Refusal;
  code: string;
  message: string;
  path: string[] | null;
  /** Public id of the run that was recorded as refused. */
  runId: string | null;
  diagnostics: Diagnostic[];
}

const UserErrorInterface = builder.interfaceRef<UserError>('UserError').implement({
  fields: (t) => ({
    code: t.exposeString('code', { description: 'Stable, for programs.' }),
    message: t.exposeString('message', { description: 'For people.' }),
    path: t.exposeStringList('path', { nullable: true, description: 'The part of the input that is meant.' }),
    runId: t.exposeID('runId', { nullable: true, description: 'The run that was recorded as refused.' }),
    docsUrl: t.string({ resolve: ({ code }) => docsUrl(code) }),
    retryable: t.boolean({
      description: 'The same request may succeed later.',
      resolve: ({ refusal }) => refusal === 'UnavailableError' || refusal === 'RateLimitedError',
    }),
  }),
});

const refusals: Record<Refusal, ObjectRef<ApiTypes, UserError, UserError>> = {
  NotFoundError: refusalType('NotFoundError'),
  InvalidInputError: builder.objectRef<UserError>('InvalidInputError').implement({
    interfaces: [UserErrorInterface],
    fields: (t) => ({ diagnostics: t.expose('diagnostics', { type: [DiagnosticType] }) }),
  }),
  ForbiddenError: refusalType('ForbiddenError'),
  ConflictError: refusalType(
    'ConflictError',
    'IDEMPOTENCY_KEY_CONFLICT, or a state that does not allow the operation.',
  ),
  UnavailableError: refusalType('UnavailableError'),
  SignInRefusedError: refusalType('SignInRefusedError', 'One code for many causes: which of them is not told.'),
  RateLimitedError: refusalType('RateLimitedError'),
};

function refusalType(name: Refusal, description?: string) {
  const options = description === undefined ? {} : { description };
  return builder.objectRef<UserError>(name).implement({ ...options, interfaces: [UserErrorInterface] });
}

const refusalOfKind: Partial<Record<ErrorKind, { refusal: Refusal; code: ApiErrorCode }>> = {
  'not-found': { refusal: 'NotFoundError', code: 'NOT_FOUND' },
  invalid: { refusal: 'InvalidInputError', code: 'INVALID_INPUT' },
  forbidden: { refusal: 'ForbiddenError', code: 'FORBIDDEN' },
  conflict: { refusal: 'ConflictError', code: 'CONFLICT' },
  exists: { refusal: 'ConflictError', code: 'CONFLICT' },
  unavailable: { refusal: 'UnavailableError', code: 'UNAVAILABLE' },
  timeout: { refusal: 'UnavailableError', code: 'UNAVAILABLE' },
};

/** What else refuses a sign-in; other mutations have passed that by. */
const refusalOfSignIn: typeof refusalOfKind = {
  ...refusalOfKind,
  unauthenticated: { refusal: 'SignInRefusedError', code: 'SIGN_IN_REFUSED' },
  'rate-limited': { refusal: 'RateLimitedError', code: 'RATE_LIMITED' },
};

/** The union of a mutation's payload and what it may refuse with. */
export function resultUnion<Payload extends object>(
  name: string,
  payload: ObjectRef<ApiTypes, Payload, Payload>,
  mayRefuseWith: Refusal[],
) {
  return builder.unionType(name, {
    types: [payload, ...mayRefuseWith.map((refusal) => refusals[refusal])] as never,
    resolveType: (value: object) => {
      if (!('refusal' in value)) return payload.name as never;
      const { refusal, code, message, path } = value as UserError;
      if (mayRefuseWith.includes(refusal)) return refusal as never;
      // What the database alone refuses, such as a NUL in a name that is looked up: in `errors` then, with the same code.
      throw new GraphQLError(message, {
        extensions: { code, retryable: false, ...(path && { field: path.join('.') }) },
      });
    },
  }) as unknown as ObjectRef<ApiTypes, Payload | UserError, Payload | UserError>;
}

/** The payload, or the refusal that a thrown WaybillError means; what is no refusal is thrown on, to be masked. */
export async function asResult<Payload>(work: () => Promise<Payload>): Promise<Payload | UserError> {
  try {
    return await work();
  } catch (thrown) {
    const refused = refusalOf(asWaybillError(thrown));
    if (refused === undefined) throw thrown;
    return refused;
  }
}

/** As `asResult`, of a mutation that needs no credential and takes no `input`. */
export async function asSignInResult<Payload>(work: () => Promise<Payload>): Promise<Payload | UserError> {
  try {
    return await work();
  } catch (thrown) {
    const refused = refusalOf(asWaybillError(thrown), refusalOfSignIn);
    if (refused === undefined) throw thrown;
    return { ...refused, path: refused.path?.slice(1) ?? null };
  }
}

/** The answer to a credential without the permission: for `unauthorizedResolver` of a mutation. */
export function forbidden(): UserError {
  return {
    refusal: 'ForbiddenError',
    code: 'FORBIDDEN',
    message: 'The credential may not do this.',
    path: null,
    runId: null,
    diagnostics: [],
  };
}

/** What the caller reads of an error, or undefined when it is none of theirs. */
function refusalOf(error: WaybillError, kinds = refusalOfKind): UserError | undefined {
  const known = kinds[error.kind];
  if (known === undefined) return undefined;
  const { code, field, diagnostics, runId } = error.context;
  return {
    refusal: known.refusal,
    code: typeof code === 'string' ? code : known.code,
    message: error.message,
    path: typeof field === 'string' ? ['input', ...field.split('.')] : null,
    runId: typeof runId === 'string' ? runId : null,
    diagnostics: Array.isArray(diagnostics) ? (diagnostics as Diagnostic[]) : [],
  };
}

DiagnosticType.implement({
  fields: (t) => ({
    code: t.exposeString('code'),
    severity: t.exposeString('severity'),
    message: t.exposeString('message'),
    file: t.exposeString('file'),
    line: t.exposeInt('line'),
    column: t.exposeInt('column'),
    endLine: t.exposeInt('endLine'),
    endColumn: t.exposeInt('endColumn'),
    suggestion: t.exposeString('suggestion', { nullable: true }),
    docsUrl: t.exposeString('docsUrl'),
  }),
});

FailureType.implement({
  fields: (t) => ({
    kind: t.exposeString('kind'),
    message: t.exposeString('message'),
    advice: t.string({ resolve: ({ kind }) => errorKinds[kind]?.advice ?? errorKinds.internal.advice }),
    step: t.exposeString('step', { nullable: true }),
    endpoint: t.exposeString('endpoint', { nullable: true }),
    path: t.exposeString('path', { nullable: true }),
  }),
});
