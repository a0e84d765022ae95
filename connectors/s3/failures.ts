import { type ErrorKind, WaybillError } from '../../schema/errors.ts';
import { readRetryAfter } from '../httpStatus.ts';
import type { Answer } from './requests.ts';
import { limits } from './settings.ts';
import { type Element, readError, textOf } from './xml.ts';

export interface Asked {
  /** `reading`, `sealing` ... */
  operation: string;
  /** Path of the file or folder, for the message. */
  path: string;
  bucket: string;
  region: string;
  /** Takes the secrets out of a text. */
  redact(text: string): string;
}

/** Whether the server answered with one of those codes. */
export function hasCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof WaybillError && codes.includes(String(error.context.code));
}

/** Whether the server answered with one of those statuses. */
export function hasStatus(error: unknown, ...statuses: number[]): boolean {
  return error instanceof WaybillError && statuses.includes(Number(error.context.status));
}

/** A condition of ours did not hold, or somebody was at it at the same time: also in an answer that began as a success. */
export function isRefusal(error: unknown): boolean {
  return isTaken(error) || hasStatus(error, 409) || hasCode(error, 'ConditionalRequestConflict');
}

/** A condition of ours did not hold. */
export function isTaken(error: unknown): boolean {
  return hasStatus(error, 412) || hasCode(error, 'PreconditionFailed');
}

/** What an answer that is no success means, in a sentence; `now` tells how far the clocks are apart. */
export function answerError(answer: Answer, asked: Asked, now = new Date()): WaybillError {
  const { status, headers } = answer;
  const error = readError(answer.text);
  const code = error?.code ?? '';
  const reading = readingOf(code, answer, asked, error?.element ?? {}, now);
  const quoted = asked.redact((error?.message ?? '').replace(/\s+/g, ' ')).slice(0, limits.quotedCharacters);
  const says =
    reading.says ?? (quoted === '' ? `the server answers with ${status}` : `the server says: ${quoted.toWellFormed()}`);
  const retryAfterMs = readRetryAfter(headers['retry-after']);
  return new WaybillError(reading.kind, `${asked.path}: ${says}`, {
    operation: asked.operation,
    path: asked.path,
    status,
    ...(code !== '' && { code: code.slice(0, 100) }),
    ...(retryAfterMs !== null && { retryAfterMs }),
    ...(reading.advice !== undefined && { advice: reading.advice }),
    // What the owner of the server asks for to find the request again.
    ...(headers['x-amz-request-id'] !== undefined && { requestId: headers['x-amz-request-id'].slice(0, 100) }),
  });
}

interface Reading {
  kind: ErrorKind;
  /** Absent: the server's own words are better. */
  says?: string;
  advice?: string;
}

function readingOf(code: string, answer: Answer, asked: Asked, element: Element, now: Date): Reading {
  const known = readings.get(code);
  if (known !== undefined) return known;
  switch (code) {
    case 'NoSuchBucket':
      return {
        kind: 'not-found',
        says: `there is no bucket ${asked.bucket}`,
        advice: 'Check bucket, endpoint and region of the endpoint.',
      };
    case 'RequestTimeTooSkewed':
      return { kind: 'unauthenticated', ...skewOf(answer, now) };
    case 'PermanentRedirect':
    case 'TemporaryRedirect':
    case 'AuthorizationHeaderMalformed':
    case 'IllegalLocationConstraintException':
    case 'IncorrectEndpoint':
      return elsewhere(answer, asked, element);
    default:
      return readingOfStatus(answer, asked, element);
  }
}

const missingRight = 'Ask the owner of the bucket for the missing right.';
const wrongKey = 'Check accessKeyId and the secret secretAccessKey of the endpoint.';
const renewToken = 'Renew the secret sessionToken and the keys that belong to it.';

const readings: ReadonlyMap<string, Reading> = new Map(
  Object.entries({
    NoSuchKey: { kind: 'not-found', says: 'does not exist' },
    NoSuchUpload: { kind: 'not-found', says: 'the upload is gone from the server' },
    AccessDenied: { kind: 'forbidden', says: 'the server denies access', advice: missingRight },
    AllAccessDisabled: { kind: 'forbidden', says: 'the server denies access', advice: missingRight },
    AccountProblem: { kind: 'forbidden' },
    InvalidObjectState: {
      kind: 'forbidden',
      says: 'is in an archive and cannot be read',
      advice: 'Let the owner of the bucket restore it first.',
    },
    InvalidAccessKeyId: { kind: 'unauthenticated', says: 'the server does not know the accessKeyId', advice: wrongKey },
    // versitygw answers so, with 404.
    XAdminUserNotFound: { kind: 'unauthenticated', says: 'the server does not know the accessKeyId', advice: wrongKey },
    SignatureDoesNotMatch: {
      kind: 'unauthenticated',
      says: 'the server does not accept the signature',
      advice: wrongKey,
    },
    ExpiredToken: { kind: 'unauthenticated', says: 'the session token has expired', advice: renewToken },
    InvalidToken: { kind: 'unauthenticated', says: 'the server does not accept the session token', advice: renewToken },
    TokenRefreshRequired: { kind: 'unauthenticated', says: 'the session token has expired', advice: renewToken },
    SlowDown: { kind: 'rate-limited', says: 'the server asks for fewer requests' },
    ServiceUnavailable: { kind: 'rate-limited', says: 'the server asks for fewer requests' },
    Throttling: { kind: 'rate-limited', says: 'the server asks for fewer requests' },
    ThrottlingException: { kind: 'rate-limited', says: 'the server asks for fewer requests' },
    RequestLimitExceeded: { kind: 'rate-limited', says: 'the server asks for fewer requests' },
    TooManyRequests: { kind: 'rate-limited', says: 'the server asks for fewer requests' },
    InternalError: { kind: 'unavailable', says: 'the server failed and asks to try again' },
    RequestTimeout: { kind: 'timeout', says: 'the server waited too long for bytes' },
    PreconditionFailed: { kind: 'conflict', says: 'is another version than expected' },
    ConditionalRequestConflict: { kind: 'conflict', says: 'somebody else writes there at the same time' },
    OperationAborted: { kind: 'conflict', says: 'somebody else changes it at the same time' },
    BadDigest: { kind: 'integrity', says: 'the server received other bytes than were sent' },
    XAmzContentSHA256Mismatch: { kind: 'integrity', says: 'the server received other bytes than were sent' },
    XAmzContentChecksumMismatch: { kind: 'integrity', says: 'the server received other bytes than were sent' },
    InvalidPart: { kind: 'integrity', says: 'the server does not have the parts that were sent' },
    EntityTooLarge: { kind: 'invalid', says: 'is larger than the server takes' },
    KeyTooLongError: { kind: 'invalid', says: 'is a longer name than the server takes' },
    NotImplemented: { kind: 'unsupported' },
    MethodNotAllowed: { kind: 'unsupported' },
    QuotaExceeded: { kind: 'quota', says: 'the quota on the server is used up' },
    QuotaExceededException: { kind: 'quota', says: 'the quota on the server is used up' },
    XMinioStorageFull: { kind: 'disk-full', says: 'no space left on the server' },
    InsufficientStorage: { kind: 'disk-full', says: 'no space left on the server' },
    ExistingObjectIsDirectory: { kind: 'exists', says: 'is a folder' },
    ObjectParentIsFile: { kind: 'exists', says: 'a file is where a folder is needed' },
  } satisfies Record<string, Reading>),
);

const kindsByStatus: ReadonlyMap<number, ErrorKind> = new Map([
  [401, 'unauthenticated'],
  [403, 'forbidden'],
  [404, 'not-found'],
  [405, 'unsupported'],
  [408, 'timeout'],
  [409, 'conflict'],
  [412, 'conflict'],
  [429, 'rate-limited'],
  [501, 'unsupported'],
  [507, 'disk-full'],
]);

/** Answers to HEAD have no body, and a proxy before the server has no codes. */
function readingOfStatus(answer: Answer, asked: Asked, element: Element): Reading {
  const { status, headers } = answer;
  if (status === 301 || status === 307) return elsewhere(answer, asked, element);
  if (status === 404) return { kind: 'not-found', says: 'does not exist' };
  if (status === 403 && answer.text === '')
    return { kind: 'forbidden', says: 'the server denies access', advice: missingRight };
  if (status === 412) return { kind: 'conflict', says: 'is another version than expected' };
  if (status === 503 && headers['retry-after'] !== undefined)
    return { kind: 'rate-limited', says: 'the server asks for fewer requests' };
  const known = kindsByStatus.get(status);
  if (known !== undefined) return { kind: known };
  if (status >= 500) return { kind: 'unavailable' };
  return { kind: status >= 400 ? 'invalid' : 'protocol' };
}

/** The bucket is in another region, or behind another address. */
function elsewhere({ headers }: Answer, asked: Asked, element: Element): Reading {
  const region = headers['x-amz-bucket-region'] || textOf(element, 'Region');
  const address = textOf(element, 'Endpoint');
  const place = [
    ...(/^[a-z0-9-]{1,50}$/.test(region) ? [`in the region ${region}, not ${asked.region}`] : []),
    ...(/^[a-z0-9.:-]{1,250}$/i.test(address) ? [`behind ${address}`] : []),
  ].join(', ');
  return {
    kind: 'invalid',
    says: `the bucket ${asked.bucket} is ${place || 'in another region or behind another address'}`,
    advice: 'Correct region or endpoint in the configuration of the endpoint.',
  };
}

function skewOf({ headers }: Answer, now: Date): Omit<Reading, 'kind'> {
  const theirsMs = Date.parse(headers.date ?? '');
  const seconds = Math.round((now.getTime() - theirsMs) / 1000);
  const how = Number.isNaN(seconds)
    ? 'apart'
    : `${Math.abs(seconds)} s apart (ours is ${seconds > 0 ? 'ahead' : 'behind'})`;
  return {
    says: `the clocks of the server and of this machine are ${how}, too far for a signature`,
    advice: 'Set the clock of the worker, or ask the owner of the server to set theirs.',
  };
}
