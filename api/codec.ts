import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Payload } from '@temporalio/common';
import { type Static, Type } from 'typebox';
import { Value } from 'typebox/value';
import type { Caller } from '../identity/caller.ts';
import { decodePayload, encodePayloads, payloadOwner } from '../identity/keys/payloadCodec.ts';
import type { TenantKeys } from '../identity/keys/tenantKeys.ts';
import { allow } from '../identity/permissions.ts';
import { WaybillError } from '../schema/errors.ts';
import type { ApiDependencies } from './context.ts';
import { limits } from './limits.ts';
import { type HttpRefusal, readBody, refusalOfHeaders, refuse, safeHeaders, tooLarge } from './request.ts';
import type { RoutePath } from './routes.ts';

type CodecDependencies = Pick<ApiDependencies, 'tenantKeys' | 'namespace'>;

/** What Temporal's UI and command line send: protobuf JSON, with bytes in base64. */
const base64 = Type.String({ pattern: '^[A-Za-z0-9+/]*={0,2}$' });
const bodySchema = Type.Object({
  payloads: Type.Array(
    Type.Object({
      metadata: Type.Optional(Type.Record(Type.String(), base64)),
      data: Type.Optional(base64),
    }),
    { maxItems: limits.codecPayloads },
  ),
});
type WirePayload = Static<typeof bodySchema>['payloads'][number];

/** What a path of this file asks for; null for other paths. */
export function codecWorkOf(path: RoutePath): 'decode' | 'encode' | null {
  if (path === '/codec/decode') return 'decode';
  return path === '/codec/encode' ? 'encode' : null;
}

/**
 * `POST /codec/decode` and `/codec/encode`: Temporal's UI and command line read and write payloads of the caller's own
 * tenant. What belongs to another, to the installation or to no key comes back as it was sent, so that a page that shows
 * both is shown.
 */
export async function answerCodec(
  dependencies: CodecDependencies,
  work: 'decode' | 'encode',
  caller: Caller,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (request.method !== 'POST') return refuse(response, notByPost);
  if (!allow(caller, 'run:decode')) {
    refuse(response, { status: 403, code: 'FORBIDDEN', message: 'The credential may not run:decode.' });
    return;
  }
  const { tenantKeys } = dependencies;
  const { tenantId } = caller;
  await answerPayloads(dependencies, request, response, async (payloads) =>
    work === 'encode'
      ? encodePayloads(tenantKeys, tenantId, payloads)
      : Promise.all(
          payloads.map((payload) => (payloadOwner(payload) === tenantId ? decodeKnown(tenantKeys, payload) : payload)),
        ),
  );
}

/**
 * `POST /codec/{token}/decode`, for a Temporal UI that hands on no sign-in: whoever has the token operates the installation,
 * and reads the payloads of every tenant and of the installation itself. It has no way back: nobody writes without a name.
 */
export async function answerOperatorCodec(
  dependencies: CodecDependencies,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (request.method !== 'POST') return refuse(response, notByPost);
  await answerPayloads(dependencies, request, response, (payloads) =>
    Promise.all(
      payloads.map((payload) =>
        payloadOwner(payload) === null ? payload : decodeKnown(dependencies.tenantKeys, payload),
      ),
    ),
  );
}

/**
 * Whether the token of a path is that of the installation. A page of another origin is refused with the right one too: a
 * foreign site may point its own name at this machine, and a browser that shows it would then read the UI and ask us.
 */
export function isCodecToken(
  { codecToken, temporalUiUrl }: Pick<ApiDependencies, 'codecToken' | 'temporalUiUrl'>,
  presented: string,
  { headers: { origin } }: IncomingMessage,
): boolean {
  if (codecToken === null) return false;
  if (origin !== undefined && !isOfTemporalUi(temporalUiUrl, origin)) return false;
  // Of hashes, which have one length whatever was presented.
  return timingSafeEqual(hashOf(presented), hashOf(codecToken));
}

async function answerPayloads(
  dependencies: CodecDependencies,
  request: IncomingMessage,
  response: ServerResponse,
  change: (payloads: Payload[]) => Promise<Payload[]>,
): Promise<void> {
  const namespace = request.headers['x-namespace'];
  if (namespace !== undefined && namespace !== dependencies.namespace) {
    refuse(response, { status: 404, code: 'NOT_FOUND', message: 'Waybill does not work in that namespace.' });
    return;
  }
  const refusal = refusalOfHeaders(request, limits.bodyBytes);
  if (refusal !== null) return refuse(response, refusal);
  const body = await readBody(request, limits.bodyBytes);
  if (body === null) return refuse(response, tooLarge(limits.bodyBytes));
  const payloads = readPayloads(body);
  if (payloads === null) {
    const message = `Send {"payloads": [{"metadata": {...}, "data": "..."}]}, with bytes in base64 and ${limits.codecPayloads} payloads at most.`;
    return refuse(response, { status: 400, code: 'BAD_REQUEST', message });
  }
  const done = await change(payloads);
  response.writeHead(200, { 'content-type': 'application/json; charset=utf-8', ...safeHeaders });
  response.end(JSON.stringify({ payloads: done.map(toWire) }));
}

/**
 * What lets the pages of Temporal's UI, and no others, read the answers of these routes: set before anything is answered.
 * True when that was all the request asked for.
 */
export function allowTemporalUi(
  { temporalUiUrl }: Pick<ApiDependencies, 'temporalUiUrl'>,
  request: IncomingMessage,
  response: ServerResponse,
): boolean {
  const { origin } = request.headers;
  if (origin === undefined || !isOfTemporalUi(temporalUiUrl, origin)) return false;
  response.setHeader('access-control-allow-origin', origin);
  response.setHeader('vary', 'origin');
  if (request.method !== 'OPTIONS') return false;
  response.writeHead(204, {
    ...safeHeaders,
    'access-control-allow-methods': 'POST',
    'access-control-allow-headers': 'authorization, content-type, x-namespace',
    'access-control-max-age': '600',
  });
  response.end();
  return true;
}

const notByPost: HttpRefusal = {
  status: 405,
  code: 'METHOD_NOT_ALLOWED',
  message: 'Send payloads by POST.',
  headers: { allow: 'POST' },
};

function isOfTemporalUi(temporalUiUrl: string | null, origin: string): boolean {
  return temporalUiUrl !== null && origin === new URL(temporalUiUrl).origin;
}

function hashOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** A payload that cannot be read, of a tenant that is gone or changed on the way, is shown as it is. */
async function decodeKnown(keys: TenantKeys, payload: Payload): Promise<Payload> {
  try {
    return await decodePayload(keys, payload);
  } catch (error) {
    if (error instanceof WaybillError && (error.kind === 'integrity' || error.kind === 'not-found')) return payload;
    throw error;
  }
}

function readPayloads(body: Buffer): Payload[] | null {
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch {
    return null;
  }
  if (!Value.Check(bodySchema, value)) return null;
  return value.payloads.map(({ metadata, data }) => ({
    metadata: Object.fromEntries(
      Object.entries(metadata ?? {}).map(([name, text]) => [name, Buffer.from(text, 'base64')]),
    ),
    data: Buffer.from(data ?? '', 'base64'),
  }));
}

function toWire({ metadata, data }: Payload): WirePayload {
  const fields = Object.entries(metadata ?? {}).map(([name, bytes]) => [name, Buffer.from(bytes).toString('base64')]);
  return { metadata: Object.fromEntries(fields), data: Buffer.from(data ?? '').toString('base64') };
}
