import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createPasswordCheck } from '../identity/passwords.ts';
import { createOpenSession } from '../identity/sessions/openSession.ts';
import { createTicketLimit } from '../identity/tickets/ticketLimit.ts';
import { WaybillError } from '../schema/errors.ts';
import { allowTemporalUi, answerCodec, answerOperatorCodec, codecWorkOf, isCodecToken } from './codec.ts';
import type { ApiContext, ApiDependencies } from './context.ts';
import type { ApiErrorCode } from './errorCatalogue.ts';
import { type CountFailure, createFailureCount } from './failedAuthentication.ts';
import { graphiqlPage, graphiqlPolicy } from './graphiql.ts';
import { createGraphql } from './graphql.ts';
import { limits } from './limits.ts';
import { createLoaders } from './loaders.ts';
import type { SignInOperation } from './operations/signIn.ts';
import { createReadiness } from './readiness.ts';
import { createRead } from './reading.ts';
import { type HttpRefusal, readBody, refusalOfHeaders, refuse, safeHeaders, tooLarge } from './request.ts';
import { findRoute } from './routes.ts';
import { createSignInLimit } from './signInLimit.ts';
import { createSubscriptionLimit } from './subscriptions.ts';
import { createTemporalCalls, type TemporalCalls } from './temporalCalls.ts';
import { createTurnstile } from './turnstile.ts';
import { answerValidate } from './validate.ts';
import { onlySignsIn } from './visitors.ts';
import { createWayIn, type Entered, withoutCredential } from './wayIn.ts';

export type { ApiDependencies } from './context.ts';

export interface Api {
  /** Listens; port 0 takes a free one. Throws what the system says of a taken port (EADDRINUSE). */
  listen(address: { host: string; port: number }): Promise<{ url: string }>;
  /** Ends open subscriptions and takes no more requests; those under way are answered. Close it before its store and its Temporal client. Safe twice. */
  close(): Promise<void>;
}

/**
 * The API over HTTP, by the table of api/routes.ts. Nothing of the request but its method, path and the headers named here
 * decides anything: the Host says no more than which site a visitor means, no X-Forwarded says anything.
 */
export async function createApi(dependencies: ApiDependencies): Promise<Api> {
  const temporalCalls = createTemporalCalls(dependencies.temporal);
  const closing = new AbortController();
  const answer = createAnswer(dependencies, temporalCalls, closing.signal);
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

type Answer = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

function createAnswer(dependencies: ApiDependencies, temporalCalls: TemporalCalls, closing: AbortSignal): Answer {
  const isReady = createReadiness(dependencies, temporalCalls);
  const countFailure = createFailureCount();
  const enter = createWayIn(dependencies, countFailure);
  const answerGraphql = createGraphqlAnswer(dependencies, temporalCalls, countFailure, closing);

  return async (request, response) => {
    const route = findRoute(request.url ?? '');
    if (route === undefined) return refuse(response, nothingHere);
    const { path, site, token } = route;
    if (path === '/health') return answerJson(response, 200, { status: 'ok', version: dependencies.version });
    if (path === '/ready') {
      const readiness = await isReady();
      return answerJson(response, readiness.ready ? 200 : 503, readiness);
    }
    if (path === '/graphql' && wantsPage(request)) return answerPage(response);
    if (token !== null) return answerTokenHolder(dependencies, countFailure, token, request, response);
    const codecWork = codecWorkOf(path);
    if (codecWork !== null && allowTemporalUi(dependencies, request, response)) return;
    const entered = await enter(request, site);
    if (path === '/graphql') return answerGraphql(entered, request, response);
    if (entered.caller === null) return refuseVisitor(countFailure, entered);
    if (codecWork !== null) return answerCodec(dependencies, codecWork, entered.caller, request, response);
    return answerValidate(dependencies.store, entered.caller, request, response);
  };
}

/** To whom the token does not open it, the route is not there. */
async function answerTokenHolder(
  dependencies: ApiDependencies,
  countFailure: CountFailure,
  token: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (!isCodecToken(dependencies, token, request)) {
    await countFailure(request.socket.remoteAddress);
    return refuse(response, nothingHere);
  }
  if (allowTemporalUi(dependencies, request, response)) return;
  return answerOperatorCodec(dependencies, request, response);
}

async function refuseVisitor(countFailure: CountFailure, { visitor }: Entered): Promise<never> {
  await countFailure(visitor.address);
  throw withoutCredential();
}

function createGraphqlAnswer(
  dependencies: ApiDependencies,
  temporalCalls: TemporalCalls,
  countFailure: CountFailure,
  closing: AbortSignal,
) {
  const graphql = createGraphql(dependencies.log);
  const visitorBegins = createTurnstile();
  const contextOf = createContexts({
    ...dependencies,
    temporalCalls,
    passwords: createPasswordCheck(dependencies),
    openSession: createOpenSession(dependencies),
    ticketLimit: createTicketLimit(dependencies),
    signInLimit: createSignInLimit(),
  });

  return async (entered: Entered, request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const isVisitor = entered.caller === null;
    if (request.method !== 'POST')
      return isVisitor ? refuseVisitor(countFailure, entered) : refuse(response, notByPost);
    const mostBytes = isVisitor ? limits.visitorBodyBytes : limits.bodyBytes;
    const refusal = refusalOfHeaders(request, mostBytes);
    if (refusal !== null) return refuse(response, refusal);
    const body = await readBody(request, mostBytes);
    if (body === null) return refuse(response, tooLarge(mostBytes));
    if (isVisitor) {
      await visitorBegins();
      if (!onlySignsIn(body)) return refuseVisitor(countFailure, entered);
    }

    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const context = contextOf(entered, AbortSignal.any([gone.signal, closing]));
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
}

/** The contexts of requests, over what they all share. */
function createContexts(parts: Omit<SignInOperation, 'visitor'>) {
  const openSubscription = createSubscriptionLimit();
  return (entered: Entered, signal: AbortSignal): ApiContext => {
    const { caller, visitor } = entered;
    const common = { signal, signIn: { ...parts, visitor } };
    if (caller === null) return visitorContext(common);
    const read = createRead(parts.store, caller.tenantId);
    return {
      ...common,
      caller,
      operation: { ...parts, caller },
      read,
      loaders: createLoaders(read),
      authenticateAgain: entered.verifyAgain,
      openSubscription: () => openSubscription(caller.credential.id),
    };
  };
}

/** Nothing of a tenant is within its reach: a field that forgot its rule meets this. */
function visitorContext(common: Pick<ApiContext, 'signal' | 'signIn'>): ApiContext {
  const refuseVisitor = (): never => {
    throw withoutCredential();
  };
  return {
    ...common,
    caller: null,
    get operation() {
      return refuseVisitor();
    },
    get loaders() {
      return refuseVisitor();
    },
    read: refuseVisitor,
    authenticateAgain: refuseVisitor,
    openSubscription: refuseVisitor,
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

const nothingHere: HttpRefusal = {
  status: 404,
  code: 'NOT_FOUND',
  message: 'There is nothing here; the API is at /graphql.',
};
const notByPost: HttpRefusal = {
  status: 405,
  code: 'METHOD_NOT_ALLOWED',
  message: 'Send GraphQL by POST.',
  headers: { allow: 'POST' },
};

function refusalOfError(error: unknown): HttpRefusal {
  const kind = error instanceof WaybillError ? error.kind : 'internal';
  if (kind === 'rate-limited') {
    const { message, context } = error as WaybillError;
    const headers = { 'retry-after': String(Math.ceil((context.retryAfterMs ?? 0) / 1000)) };
    return { status: 429, code: 'UNAUTHENTICATED_TOO_OFTEN', message, headers };
  }
  if (kind === 'unauthenticated') {
    const headers = { 'www-authenticate': 'Bearer realm="waybill"' };
    const { message, context } = error as WaybillError;
    return { status: 401, code: (context.code ?? 'UNAUTHENTICATED') as ApiErrorCode, message, headers };
  }
  if (kind === 'not-found') return { status: 404, code: 'NOT_FOUND', message: (error as WaybillError).message };
  if (kind === 'invalid') return { status: 400, code: 'BAD_REQUEST', message: (error as WaybillError).message };
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
