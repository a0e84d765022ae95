import { type ErrorKind, WaybillError } from '../../schema/errors.ts';
import type { SftpSettings } from './settings.ts';

/** SFTP 3 status codes (draft-ietf-secsh-filexfer-02, section 7). */
export const status = {
  eof: 1,
  noSuchFile: 2,
  permissionDenied: 3,
  failure: 4,
  badMessage: 5,
  noConnection: 6,
  connectionLost: 7,
  unsupported: 8,
} as const;

/** SSH disconnect reason (RFC 4253, section 11.1). */
const tooManyConnections = 12;

/** Whether the server answered with one of those status codes. */
export function hasStatus(error: unknown, ...codes: number[]): boolean {
  const code = error instanceof WaybillError ? error.context.status : (error as { code?: unknown }).code;
  return typeof code === 'number' && codes.includes(code);
}

/** A status answer to one request, as an error that names the path. */
export function statusError(error: Error, operation: string, path: string): WaybillError {
  if (error instanceof WaybillError) return error;
  const code = (error as { code?: unknown }).code;
  const { kind, says } = reading(typeof code === 'number' ? code : undefined, error.message);
  return new WaybillError(kind, `${path}: ${says}`, { operation, path, status: code, cause: error });
}

function reading(code: number | undefined, text: string): { kind: ErrorKind; says: string } {
  switch (code) {
    case status.noSuchFile:
      return { kind: 'not-found', says: 'does not exist' };
    case status.permissionDenied:
      return { kind: 'forbidden', says: 'permission denied' };
    case status.badMessage:
      return { kind: 'invalid', says: 'the server does not take that name or request' };
    case status.noConnection:
    case status.connectionLost:
      return { kind: 'unavailable', says: 'the server lost its own connection to the file' };
    case status.unsupported:
      return { kind: 'unsupported', says: 'the server does not know that operation' };
    case undefined:
      return { kind: 'protocol', says: `the answer makes no sense (${text})` };
    default:
      return readingOfText(text);
  }
}

/** Code 4 says only "failure": some servers tell more in the text. */
function readingOfText(text: string): { kind: ErrorKind; says: string } {
  if (/no space|disk (is )?full|not enough (free )?space/i.test(text))
    return { kind: 'disk-full', says: 'no space left on the server' };
  if (/quota/i.test(text)) return { kind: 'quota', says: 'the quota on the server is used up' };
  if (/exist/i.test(text)) return { kind: 'exists', says: 'exists' };
  if (/is a directory/i.test(text)) return { kind: 'invalid', says: 'is a folder' };
  if (/read-?only/i.test(text)) return { kind: 'forbidden', says: 'the filesystem of the server is read-only' };
  return {
    kind: 'unavailable',
    says: `the server failed and does not say why (${JSON.stringify(text.slice(0, 200))})`,
  };
}

/** A failure of the connection itself, before or after sign-in. */
export function connectionError(
  error: Error & { level?: string; code?: unknown },
  settings: SftpSettings,
): WaybillError {
  if (error instanceof WaybillError) return error;
  const server = `${settings.host}:${settings.port}`;
  const facts = { operation: 'connecting', host: settings.host, port: settings.port, cause: error };
  if (error.level === 'client-authentication' || /authentication failures/i.test(error.message)) {
    return new WaybillError('unauthenticated', `${server} refuses the sign-in of ${settings.username}`, facts);
  }
  if (error.level === 'client-timeout') return new WaybillError('timeout', `${server} does not answer`, facts);
  if (error.code === tooManyConnections)
    return new WaybillError('rate-limited', `${server} has too many connections`, facts);
  if (
    error.level === 'client-socket' ||
    typeof error.code === 'number' ||
    /^connection lost|no response/i.test(error.message)
  ) {
    return new WaybillError('unavailable', `the connection to ${server} is lost (${error.message})`, facts);
  }
  return new WaybillError('protocol', `${server} does not speak SSH as expected (${error.message})`, facts);
}
