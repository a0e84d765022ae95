import { type Dispatcher, request } from 'undici';
import { cancellation, throwIfCancelled } from '../network/cancellation.ts';
import { WaybillError } from '../schema/errors.ts';
import { outOfOpenFiles, raiseOpenFiles } from '../schema/openFiles.ts';
import type { RequestAnswer } from './contract.ts';

export interface Exchange {
  dispatcher: Dispatcher;
  url: URL;
  method: string;
  /** Lower-case names. */
  headers: Record<string, string>;
  body: string | null;
  maxAnswerBytes: number;
  timeoutMs: number;
  /** Takes the endpoint's secrets out of a text. */
  redact(text: string): string;
}

/** Steps of one request: a GET or HEAD follows its server to another path, never to another server. */
const maxRedirects = 5;

/**
 * Asks once and gives the answer, whatever its status; the secrets are taken out of it. Only the host is named in errors,
 * since an address may itself be a secret. Throws invalid when the answer is too large, protocol when it is no text,
 * unauthenticated for a certificate that is not trusted, unavailable, timeout, egress-denied, cancelled.
 */
export async function exchange(terms: Exchange, signal: AbortSignal): Promise<RequestAnswer> {
  throwIfCancelled(signal);
  const deadline = AbortSignal.timeout(terms.timeoutMs);
  const both = AbortSignal.any([signal, deadline]);
  let url = terms.url;
  try {
    for (let redirects = 0; ; redirects++) {
      const answer = await askOnce(terms, url, both);
      const next = redirectWithin(terms, url, answer);
      if (next === null || redirects >= maxRedirects) return answer;
      url = next;
    }
  } catch (error) {
    if (signal.aborted) throw cancellation(signal);
    const facts = { operation: 'asking', host: url.host, cause: error };
    if (deadline.aborted)
      throw new WaybillError('timeout', `${url.host} did not answer within ${terms.timeoutMs / 1000} s`, facts);
    throw exchangeError(error, url.host, facts);
  }
}

async function askOnce(terms: Exchange, url: URL, signal: AbortSignal): Promise<RequestAnswer> {
  const { dispatcher, method, body } = terms;
  const answer = await request(url, {
    dispatcher,
    method: method as Dispatcher.HttpMethod,
    headers: { 'user-agent': 'waybill', 'accept-encoding': 'identity', ...terms.headers },
    body,
    signal,
    headersTimeout: terms.timeoutMs,
    bodyTimeout: terms.timeoutMs,
  });
  try {
    const headers = readHeaders(answer.headers, terms);
    const encoding = headers['content-encoding'];
    if (encoding !== undefined && encoding !== 'identity')
      throw new WaybillError('protocol', `${url.host} sent an answer in ${encoding} although none was asked for`);
    const bytes = await readBounded(answer.body, terms.maxAnswerBytes, url.host);
    return { status: answer.statusCode, headers, text: terms.redact(decode(bytes, headers['content-type'], url.host)) };
  } finally {
    answer.body.on('error', () => undefined).destroy();
  }
}

function readHeaders(
  headers: Record<string, string | string[] | undefined>,
  { redact }: Exchange,
): Record<string, string> {
  const cookies = new Set(['set-cookie', 'set-cookie2']);
  const entries = Object.entries(headers).filter(([name, value]) => !cookies.has(name) && value !== undefined);
  return Object.fromEntries(
    entries.map(([name, value]) => [name, redact(Array.isArray(value) ? value.join(', ') : value!)]),
  );
}

async function readBounded(body: AsyncIterable<Buffer>, maxBytes: number, host: string): Promise<Buffer> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of body) {
    bytes += part.length;
    if (bytes > maxBytes)
      throw new WaybillError(
        'invalid',
        `the answer of ${host} has more than ${maxBytes} bytes; ask for less of it, or let it be put where a transfer can fetch it`,
        { operation: 'asking', host },
      );
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function decode(bytes: Buffer, contentType: string | undefined, host: string): string {
  const charset = /charset="?([^";\s]+)/i.exec(contentType ?? '')?.[1] ?? 'utf-8';
  try {
    return new TextDecoder(charset, { fatal: true }).decode(bytes);
  } catch {
    throw new WaybillError('protocol', `the answer of ${host} is no text in ${charset.slice(0, 40)}`, {
      operation: 'asking',
      host,
    });
  }
}

function redirectWithin({ method }: Exchange, url: URL, { status, headers }: RequestAnswer): URL | null {
  const isRedirect = [301, 302, 303, 307, 308].includes(status);
  if (!isRedirect || headers.location === undefined || !['GET', 'HEAD'].includes(method)) return null;
  const next = URL.parse(headers.location, url);
  return next !== null && next.origin === url.origin ? next : null;
}

const timeoutCodes = ['UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'ETIMEDOUT'];

/** What a failure below HTTP means: the connection, the certificate, the words of the protocol. */
export function exchangeError(error: unknown, host: string, facts: Record<string, unknown>): WaybillError {
  for (let cause = error; cause instanceof Error; cause = cause.cause) if (cause instanceof WaybillError) return cause;
  const code = codeOf(error);
  if (isCertificateCode(code)) return untrustedCertificate(host, code, facts);
  if (timeoutCodes.includes(code)) return new WaybillError('timeout', `${host} did not answer in time`, facts);
  if (code === 'ECONNREFUSED') return new WaybillError('unavailable', `${host} refuses connections`, facts);
  const noneLeft = outOfOpenFiles(code);
  if (noneLeft !== undefined)
    return new WaybillError('unavailable', `${host} cannot be reached: ${noneLeft}`, {
      ...facts,
      advice: raiseOpenFiles,
    });
  if (
    code.startsWith('HPE_') ||
    code.startsWith('ERR_SSL') ||
    code === 'EPROTO' ||
    code === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH'
  )
    return new WaybillError('protocol', `${host} does not speak HTTP as expected (${code})`, facts);
  if (code.startsWith('UND_ERR_INVALID') || code === 'UND_ERR_HEADERS_OVERFLOW' || code === 'UND_ERR_NOT_SUPPORTED')
    return new WaybillError('invalid', `the request to ${host} cannot be sent as it is (${code})`, facts);
  return new WaybillError('unavailable', `the connection to ${host} is lost (${code || 'no reason given'})`, facts);
}

/** A certificate that cannot be trusted. What to do is in the message, since no retry helps. */
export function untrustedCertificate(host: string, code: string, facts: Record<string, unknown>): WaybillError {
  return new WaybillError(
    'unauthenticated',
    `the certificate of ${host} is not to be trusted (${code}); nothing was sent`,
    { ...facts, advice: 'Give its authority as the secret `ca` of the endpoint, or ask the owner of the server.' },
  );
}

/** Codes by which OpenSSL and Node.js refuse a certificate. */
export function isCertificateCode(code: string): boolean {
  return /CERT|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)|CRL_|HOSTNAME_MISMATCH|INVALID_CA|PATH_LENGTH_EXCEEDED/.test(code);
}

/** `ECONNREFUSED`, or an empty text. */
export function codeOf(error: unknown): string {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (typeof code === 'string') return code;
    if (cause.name === 'HTTPParserError') return 'HPE_INVALID';
    if (cause instanceof AggregateError && cause.errors.length > 0) return codeOf(cause.errors.at(-1));
  }
  return '';
}
