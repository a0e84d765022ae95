import { type ErrorKind, WaybillError } from '../schema/errors.ts';
import type { RequestAnswer } from './contract.ts';

/** The longest wait that a server may ask for. */
const maxRetryAfterMs = 24 * 3_600_000;
/** An answer is quoted up to here. */
const quotedCharacters = 300;

const kinds = new Map<number, ErrorKind>([
  [401, 'unauthenticated'],
  [402, 'forbidden'],
  [403, 'forbidden'],
  [404, 'not-found'],
  [405, 'unsupported'],
  [407, 'unauthenticated'],
  [408, 'rate-limited'],
  [409, 'conflict'],
  [410, 'not-found'],
  [412, 'conflict'],
  [423, 'unavailable'],
  [425, 'unavailable'],
  [429, 'rate-limited'],
  [451, 'forbidden'],
  [501, 'unsupported'],
  [507, 'disk-full'],
]);

/** What a status that nobody expected means, with what the server says about it and how long it asks to wait. */
export function statusError(
  answer: RequestAnswer,
  asked: string,
  place: { endpoint?: string; path?: string } = {},
): WaybillError {
  const { status, headers } = answer;
  const retryAfterMs = readRetryAfter(headers['retry-after']);
  return new WaybillError(kindOf(status), `${asked} was answered with ${status}${says(answer)}`, {
    operation: 'asking',
    ...place,
    status,
    ...(retryAfterMs !== null && { retryAfterMs }),
    ...adviceOf(status),
  });
}

function kindOf(status: number): ErrorKind {
  const known = kinds.get(status);
  if (known) return known;
  if (status >= 500) return 'unavailable';
  // A success or a redirect that the step does not take for one: trying again may change it, a correction surely does.
  return status < 400 ? 'protocol' : 'invalid';
}

/** The advice of the kinds speaks of files and of servers in general. */
function adviceOf(status: number): { advice?: string } {
  if (status === 404 || status === 410) return { advice: 'Check the path and the base address of the endpoint.' };
  if (status === 409 || status === 412)
    return { advice: 'The server holds it in another state than the request expects; look at what it says.' };
  if (status === 405 || status === 501)
    return { advice: 'The server does not take this method there; correct the step.' };
  if (status < 400)
    return { advice: 'Name the statuses that are a success under `expect`, or correct the base address.' };
  return {};
}

function says({ status, headers, text }: RequestAnswer): string {
  if (status >= 300 && status < 400 && headers.location !== undefined) {
    const origin = URL.canParse(headers.location) ? new URL(headers.location).origin : 'another path';
    return `, a redirect to ${origin}, which is not followed`;
  }
  const words = text.replace(/\s+/g, ' ').trim();
  return words === '' ? '' : `: ${words.slice(0, quotedCharacters).toWellFormed()}`;
}

/** What a `Retry-After` says, in seconds or as a date; null without one. */
export function readRetryAfter(text: string | undefined): number | null {
  if (text === undefined) return null;
  const ms = /^\d+$/.test(text.trim()) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(ms) ? Math.min(Math.max(0, ms), maxRetryAfterMs) : null;
}
