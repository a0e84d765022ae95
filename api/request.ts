import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ApiErrorCode } from './errorCatalogue.ts';
import { limits } from './limits.ts';

/** An answer below GraphQL: in the form of a GraphQL error, so that every client can show it. */
export interface HttpRefusal {
  status: number;
  code: ApiErrorCode;
  message: string;
  headers?: Record<string, string>;
}

export function refuse(response: ServerResponse, { status, code, message, headers = {} }: HttpRefusal): void {
  const retryable = status === 503 || status === 429;
  const body = JSON.stringify({ errors: [{ message, extensions: { code, retryable } }] });
  // What the client still sends is not read: the connection cannot be used again.
  const close = status === 413 || status === 415 ? { connection: 'close' } : {};
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    ...safeHeaders,
    ...headers,
    ...close,
  });
  response.end(body);
}

/** Headers of every answer. */
export const safeHeaders = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
};

/** Why a POST cannot be GraphQL, or null. A form can be posted by any web page: only JSON is taken, in clear. */
export function refusalOfHeaders(request: IncomingMessage, mostBytes: number): HttpRefusal | null {
  const encoding = request.headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity')
    return { status: 415, code: 'UNSUPPORTED_ENCODING', message: 'Send the body without Content-Encoding.' };
  const type = request.headers['content-type']?.split(';')[0]?.trim().toLowerCase();
  if (type !== 'application/json')
    return { status: 415, code: 'UNSUPPORTED_MEDIA_TYPE', message: 'Send the body as application/json.' };
  if (Number(request.headers['content-length'] ?? 0) > mostBytes) return tooLarge(mostBytes);
  return null;
}

export function tooLarge(mostBytes: number): HttpRefusal {
  const whose = mostBytes < limits.bodyBytes ? ' without a credential' : '';
  return { status: 413, code: 'BODY_TOO_LARGE', message: `A request body${whose} has at most ${mostBytes} bytes.` };
}

/** The whole body, or null when it is larger than allowed. Throws when the client goes away. */
export async function readBody(request: IncomingMessage, mostBytes: number): Promise<Buffer<ArrayBuffer> | null> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    bytes += (chunk as Buffer).length;
    if (bytes > mostBytes) return null;
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks) as Buffer<ArrayBuffer>;
}
