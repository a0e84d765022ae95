import { WaybillError } from '../../schema/errors.ts';
import type { ConnectorContext, Health, OutgoingRequest, RequestAnswer, Requester } from '../contract.ts';
import { exchange } from '../exchange.ts';
import { statusError } from '../httpStatus.ts';
import { createRedactor } from '../redaction.ts';

export const headerNamePattern = "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$";

export interface HttpSettings {
  baseUrl: string;
  auth: 'none' | 'bearer' | 'basic' | 'header';
  username: string;
  authHeader: string;
  headers: Record<string, string>;
  checkPath: string;
  timeoutMs: number;
}

/** Enough of a check's answer to see who is there. */
const checkAnswerBytes = 1024 * 1024;

/** These speak about the connection, or carry credentials: they are the endpoint's alone. */
const ownHeaders: ReadonlySet<string> = new Set([
  ...['host', 'content-length', 'transfer-encoding', 'connection', 'keep-alive', 'te', 'trailer', 'upgrade', 'expect'],
  ...['authorization', 'proxy-authorization', 'proxy-connection', 'cookie', 'accept-encoding'],
]);

/** Connects on the first request. Throws invalid when a certificate or a key cannot be read. */
export function openHttp(
  settings: HttpSettings,
  secrets: Record<string, string>,
  context: ConnectorContext,
): Requester {
  const { dialler } = context;
  const hasIdentity = ['ca', 'clientCertificate', 'clientKey'].some((name) => secrets[name] !== undefined);
  const dispatcher = hasIdentity
    ? dialler.httpWith({
        ...(secrets.ca !== undefined && { ca: secrets.ca }),
        ...(secrets.clientCertificate !== undefined && { certificate: secrets.clientCertificate }),
        ...(secrets.clientKey !== undefined && { key: secrets.clientKey }),
      })
    : dialler.http;
  const credentials = credentialHeaders(settings, secrets);
  const redact = createRedactor([
    ...[secrets.token, secrets.password].filter((secret) => secret !== undefined),
    ...(settings.auth === 'basic' ? [`${settings.username}:${secrets.password}`] : []),
  ]);

  const ask = async (request: OutgoingRequest, signal: AbortSignal): Promise<RequestAnswer> =>
    exchange(
      {
        dispatcher,
        url: addressOf(settings.baseUrl, request),
        method: request.method,
        headers: {
          accept: 'application/json, */*',
          ...lowerCased(settings.headers),
          ...checkedHeaders(request.headers, credentials),
          ...credentials,
        },
        body: request.body,
        maxAnswerBytes: request.maxAnswerBytes,
        timeoutMs: settings.timeoutMs,
        redact,
      },
      signal,
    );
  return {
    request: ask,
    check: (signal) => check(settings, ask, signal),
    close: async () => {
      if (hasIdentity) await dispatcher.destroy();
    },
  };
}

/** Whatever is not a refusal shows that the server is there: many interfaces have nothing at their root. */
async function check({ checkPath }: HttpSettings, ask: Requester['request'], signal: AbortSignal): Promise<Health> {
  const startedAt = performance.now();
  const request = {
    method: 'GET',
    path: checkPath,
    query: [],
    headers: {},
    body: null,
    maxAnswerBytes: checkAnswerBytes,
  };
  const answer = await ask(request, signal);
  const roundTripMs = Math.round(performance.now() - startedAt);
  if ([401, 403, 407, 429].includes(answer.status) || answer.status >= 500)
    throw statusError(answer, `GET ${checkPath}`);
  const server = answer.headers.server;
  return { server: `${server === undefined ? '' : `${server}, `}HTTP ${answer.status}`, roundTripMs, identity: null };
}

function credentialHeaders(settings: HttpSettings, secrets: Record<string, string>): Record<string, string> {
  const { auth, username, authHeader } = settings;
  const token = checkedCredential(secrets.token ?? '', 'token');
  if (auth === 'bearer') return { authorization: `Bearer ${token}` };
  if (auth === 'header') return { [authHeader.toLowerCase()]: token };
  if (auth === 'none') return {};
  return { authorization: `Basic ${Buffer.from(`${username}:${secrets.password ?? ''}`).toString('base64')}` };
}

/** A file that holds a token often ends in a line break; anything else strange in it would end up in an error of the HTTP library. */
function checkedCredential(secret: string, name: string): string {
  const trimmed = secret.trim();
  if (!/^[\x20-\x7e]*$/.test(trimmed))
    throw new WaybillError('invalid', `the secret ${name} holds characters that no header can carry`, { field: name });
  return trimmed;
}

/** The address of a request: below the base address, whatever dots and escapes the path holds. Throws invalid. */
function addressOf(baseUrl: string, { path, query }: OutgoingRequest): URL {
  const url = new URL(baseUrl);
  const base = url.pathname.replace(/\/+$/, '');
  if (!path.startsWith('/') || /[?#\\]/.test(path) || hasControlOrDots(path))
    throw new WaybillError(
      'invalid',
      `the path ${JSON.stringify(path.slice(0, 200))} cannot be asked for: it begins with a /, and holds no "." or ".." segment, backslash, ? or #`,
      { field: 'path' },
    );
  url.pathname = base + path;
  for (const [name, value] of query) url.searchParams.append(name, value);
  return url;
}

/** A server may decode a path more than once: so do we, before we look at it. */
function hasControlOrDots(path: string): boolean {
  let text = path;
  for (let round = 0; round < 4; round++) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
    if (/[\u0000-\u001f\u007f]/.test(text) || text.split(/[/\\]/).some((part) => part === '.' || part === '..'))
      return true;
    try {
      const decoded = decodeURIComponent(text);
      if (decoded === text) return false;
      text = decoded;
    } catch {
      return false;
    }
  }
  return true;
}

function checkedHeaders(headers: Record<string, string>, credentials: Record<string, string>): Record<string, string> {
  for (const [name, value] of Object.entries(headers)) {
    const lower = name.toLowerCase();
    if (ownHeaders.has(lower) || lower in credentials)
      throw new WaybillError('invalid', `the header ${name} is set by the endpoint, not by a step`, {
        field: 'headers',
      });
    if (!new RegExp(headerNamePattern).test(name) || !/^[\t\x20-\x7e\x80-\xff]*$/.test(value))
      throw new WaybillError(
        'invalid',
        `the header ${JSON.stringify(name.slice(0, 100))} holds characters that no header can carry`,
        {
          field: 'headers',
        },
      );
  }
  return lowerCased(headers);
}

function lowerCased(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}
