import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Caller } from '../identity/apiKeys.ts';
import { WaybillError } from '../schema/errors.ts';
import { authenticateKey, logForeignAddress, presentedKey } from './authentication.ts';
import type { ApiContext, ApiDependencies, Operation } from './context.ts';
import { createFailureCount } from './failedAuthentication.ts';
import { graphiqlPage, graphiqlPolicy } from './graphiql.ts';
import { createGraphql } from './graphql.ts';
import { limits } from './limits.ts';
import { createLoaders } from './loaders.ts';
import { createReadiness } from './readiness.ts';
import { createRead } from './reading.ts';
import { type HttpRefusal, readBody, refusalOfHeaders, refuse, safeHeaders, tooLarge } from './request.ts';
import { createSubscriptionLimit } from './subscriptions.ts';
import { createTemporalCalls } from './temporalCalls.ts';

export type { ApiDependencies } from './context.ts';

export interface Api {
  /** Listens; port 0 takes a free one. Throws what the system says of a taken port (EADDRINUSE). */
  listen(address: { host: string; port: number }): Promise<{ url: string }>;
  /** Ends open subscriptions and takes no more requests; those under way are answered. Close it before its store and its Temporal client. Safe twice. */
  close(): Promise<void>;
}

/**
 * The API over HTTP: `/graphql` (POST with an API key; the GraphiQL page on GET), `/health`, `/ready`. Nothing of the
 * request but its method, path and the headers named here decides anything: no Host, no X-Forwarded.
 */
export async function createApi(dependencies: ApiDependencies): Promise<Api> {
  const graphql = createGraphql(dependencies.log);
  const temporalCalls = createTemporalCalls(dependencies.temporal);
  const isReady = createReadiness(dependencies, temporalCalls);
  const openSubscription = createSubscriptionLimit();
  const countFailure = createFailureCount();
  const closing = new AbortController();

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = request.url?.split('?')[0];
    if (path === '/health') return answerJson(response, 200, { status: 'ok', version: dependencies.version });
    if (path === '/ready') {
      const readiness = await isReady();
      return answerJson(response, readiness.ready ? 200 : 503, readiness);
    }
    if (path !== '/graphql')
      return refuse(response, {
        status: 404,
        code: 'NOT_FOUND',
        message: 'There is nothing here; the API is at /graphql.',
      });
    if (wantsPage(request)) return answerPage(response);
    await answerGraphql(request, response);
  };

  const authenticate = async (prove: () => Promise<Caller>, address: string | undefined): Promise<Caller> => {
    try {
      return await prove();
    } catch (error) {
      if (error instanceof WaybillError && error.kind === 'unauthenticated') {
        await countFailure(address);
        logForeignAddress(dependencies.log, error);
      }
      throw error;
    }
  };

  const answerGraphql = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const key = presentedKey(request);
    // Of the connection, and read now: a socket that is gone has none.
    const address = request.socket.remoteAddress;
    const prove = () => authenticateKey(dependencies.store, key, address);
    const caller = await authenticate(prove, address);
    if (request.method !== 'POST')
      return refuse(response, {
        status: 405,
        code: 'METHOD_NOT_ALLOWED',
        message: 'Send GraphQL by POST.',
        headers: { allow: 'POST' },
      });
    const refusal = refusalOfHeaders(request);
    if (refusal !== null) return refuse(response, refusal);
    const body = await readBody(request);
    if (body === null) return refuse(response, tooLarge);

    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const signal = AbortSignal.any([gone.signal, closing.signal]);
    const context = contextOf({ ...dependencies, caller, temporalCalls }, prove, openSubscription, signal);
    const answered = await graphql.fetch(
      new Request('http://waybill/graphql', {
        method: 'POST',
        headers: headersFor(request),
        body,
        signal: gone.signal,
      }),
      context,
    );
    await send(answered, response);
  };

  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => fail(error, request, response, dependencies));
  });
  server.requestTimeout = limits.receiveTimeoutMs;
  server.headersTimeout = limits.receiveTimeoutMs;

  return {
    listen: ({ host, port }) =>
      new Promise((resolve, reject) => {
        server.once('error', reject);
        server.listen({ host, port }, () => {
          server.off('error', reject);
          resolve({ url: urlOf(server.address() as AddressInfo) });
        });
      }),
    close: async () => {
      closing.abort();
      if (!server.listening) return;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      await closed;
      await temporalCalls.settled();
    },
  };
}

function contextOf(
  operation: Operation,
  authenticateAgain: () => Promise<Caller>,
  openSubscription: (apiKeyId: string) => () => void,
  signal: AbortSignal,
): ApiContext {
  const { store, caller } = operation;
  const read = createRead(store, caller.tenantId);
  return {
    operation,
    read,
    loaders: createLoaders(read),
    authenticateAgain,
    openSubscription: () => openSubscription(caller.apiKeyId),
    signal,
  };
}

/** GraphQL sees only these two headers: nothing else of the request changes an answer. */
function headersFor({ headers }: IncomingMessage): Record<string, string> {
  return { 'content-type': 'application/json', accept: headers.accept ?? 'application/json' };
}

async function send(answered: Response, response: ServerResponse): Promise<void> {
  const headers = { ...Object.fromEntries(answered.headers), ...safeHeaders };
  response.writeHead(answered.status, headers);
  // Watchers see that the stream stands before its first value.
  response.flushHeaders();
  if (answered.body === null) {
    response.end();
    return;
  }
  const isGone = (error: unknown) =>
    response.destroyed || (error as NodeJS.ErrnoException).code === 'ERR_STREAM_PREMATURE_CLOSE';
  await pipeline(Readable.from(chunksOf(answered.body)), response).catch((error: unknown) => {
    if (!isGone(error)) throw error;
  });
}

/** Yoga's streams are its own, which Node's `Readable.fromWeb` refuses. A client that goes cancels the stream. */
async function* chunksOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = body.getReader();
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
  } finally {
    await reader.cancel();
  }
}

function wantsPage({ method, headers }: IncomingMessage): boolean {
  return method === 'GET' && headers.authorization === undefined && (headers.accept ?? '').includes('text/html');
}

async function answerPage(response: ServerResponse): Promise<void> {
  // Nine megabytes of text, with everything inside: read when somebody looks at it.
  const { renderGraphiQL } = await import('@graphql-yoga/render-graphiql');
  const page = renderGraphiQL(graphiqlPage);
  response.writeHead(200, {
    'content-type': 'text/html; charset=utf-8',
    ...safeHeaders,
    'content-security-policy': graphiqlPolicy,
  });
  response.end(page);
}

function answerJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', ...safeHeaders });
  response.end(JSON.stringify(body));
}

function fail(error: unknown, request: IncomingMessage, response: ServerResponse, { log }: ApiDependencies): void {
  if (request.destroyed && !request.complete) return;
  const refusal = refusalOfError(error);
  if (refusal.status === 500) log.error({ cause: String(error) }, 'a request broke before GraphQL');
  if (response.headersSent) response.destroy();
  else refuse(response, refusal);
}

function refusalOfError(error: unknown): HttpRefusal {
  const kind = error instanceof WaybillError ? error.kind : 'internal';
  if (kind === 'rate-limited') {
    const { message, context } = error as WaybillError;
    const headers = { 'retry-after': String(Math.ceil((context.retryAfterMs ?? 0) / 1000)) };
    return { status: 429, code: 'UNAUTHENTICATED_TOO_OFTEN', message, headers };
  }
  if (kind === 'unauthenticated') {
    const headers = { 'www-authenticate': 'Bearer realm="waybill"' };
    return { status: 401, code: 'UNAUTHENTICATED', message: (error as WaybillError).message, headers };
  }
  if (kind === 'unavailable' || kind === 'timeout')
    return {
      status: 503,
      code: 'UNAVAILABLE',
      message: 'A part of Waybill cannot be reached; try again.',
      headers: { 'retry-after': '5' },
    };
  return { status: 500, code: 'INTERNAL', message: 'A fault in Waybill.' };
}

function urlOf({ address, family, port }: AddressInfo): string {
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}/graphql`;
}
