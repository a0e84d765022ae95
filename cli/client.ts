import { readFileSync } from 'node:fs';
import type { Diagnostic } from '../schema/diagnostics.ts';
import type { ErrorKind } from '../schema/errors.ts';
import { WaybillError } from '../schema/errors.ts';
import type { CommandEnvironment } from './settings.ts';
import { readDevFacts } from './supervisor/stateFolder.ts';

const requestTimeoutMs = 60_000;
const defaultState = '.waybill';

export interface ApiClient {
  /** Where GraphQL is. */
  readonly url: string;
  /**
   * The `data` of one request. Throws unavailable when the server cannot be reached, unauthenticated or forbidden when it
   * refuses the key, invalid or internal with its own words when it answers with errors.
   */
  request<Data>(query: string, variables?: Record<string, unknown>): Promise<Data>;
}

/** The server that WAYBILL_URL and WAYBILL_API_KEY name, or the `waybill dev` of the state folder. Throws unavailable or unauthenticated. */
export function connectClient(environment: CommandEnvironment, state: string | undefined): ApiClient {
  if (state === undefined && environment.url !== null) {
    if (environment.apiKey === null)
      throw new WaybillError('unauthenticated', 'WAYBILL_URL is set, but WAYBILL_API_KEY is not');
    return createClient(graphqlUrl(environment.url), environment.apiKey);
  }
  const folder = state ?? defaultState;
  const facts = readDevFacts(folder);
  if (facts === null) {
    throw new WaybillError(
      'unavailable',
      `no server: \`waybill dev\` does not run on ${folder}; start it, name its folder by --state, or set WAYBILL_URL and WAYBILL_API_KEY`,
    );
  }
  return createClient(facts.graphql, environment.apiKey ?? readFileSync(facts.apiKeyFile, 'utf8').trim());
}

/** A client of one server with one key. */
export function createClient(url: string, apiKey: string): ApiClient {
  return {
    url,
    async request<Data>(query: string, variables: Record<string, unknown> = {}): Promise<Data> {
      const response = await post(url, apiKey, JSON.stringify({ query, variables }));
      const body = await readBody(response, url);
      if (response.status === 401)
        throw new WaybillError('unauthenticated', body.errors?.[0]?.message ?? 'the server refuses the API key');
      if (response.status === 403)
        throw new WaybillError('forbidden', body.errors?.[0]?.message ?? 'the server forbids it');
      if (body.errors !== undefined && body.errors.length > 0 && !isPartial(body.data, body.errors))
        throw fromErrors(body.errors, response.status);
      if (body.data === undefined || body.data === null)
        throw new WaybillError('protocol', `${url} answers ${response.status} without data`);
      return body.data as Data;
    },
  };
}

/** An answer that is one of the typed errors, as an error; the payload otherwise. */
export function payloadOf<Payload extends object>(result: ({ __typename: string } & Payload) | TypedError): Payload {
  const kind = kindOfTypedError[result.__typename];
  if (kind === undefined) return result as Payload;
  const { message, code, diagnostics, runId } = result as TypedError;
  throw new WaybillError(kind, message, {
    code,
    ...(diagnostics === undefined ? {} : { diagnostics }),
    ...(runId == null ? {} : { runId }),
  });
}

/** One mutation with one input. `selects` is of the payload; the typed errors are asked for here. */
export interface Mutation {
  name: string;
  inputType: string;
  input: object;
  selects: string;
}

/** The payload of a mutation. Throws as `request` and `payloadOf` do. */
export async function mutate<Payload extends object>(
  client: ApiClient,
  { name, inputType, input, selects }: Mutation,
): Promise<Payload> {
  const { answer } = await client.request<{ answer: ({ __typename: string } & Payload) | TypedError }>(
    `mutation Change($input: ${inputType}!) { answer: ${name}(input: $input) { ${errorFields} ${selects} } }`,
    { input },
  );
  return payloadOf(answer);
}

/** The selection that `payloadOf` needs in a union of payload and typed errors. */
export const errorFields = `__typename ... on UserError { code message path runId }`;

export interface TypedError {
  __typename: string;
  code: string;
  message: string;
  /** The run that was recorded as refused. */
  runId?: string | null;
  diagnostics?: Diagnostic[];
}

const kindOfTypedError: Record<string, ErrorKind> = {
  NotFoundError: 'not-found',
  InvalidInputError: 'invalid',
  ForbiddenError: 'forbidden',
  ConflictError: 'conflict',
  UnavailableError: 'unavailable',
  SignInRefusedError: 'unauthenticated',
  RateLimitedError: 'rate-limited',
};

interface GraphqlError {
  message: string;
  extensions?: { code?: string };
}

function graphqlUrl(base: string): string {
  const url = base.replace(/\/+$/, '');
  return url.endsWith('/graphql') ? url : `${url}/graphql`;
}

async function post(url: string, apiKey: string, body: string): Promise<Response> {
  try {
    return await fetch(url, {
      method: 'POST',
      headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json', accept: 'application/json' },
      body,
      redirect: 'error',
      signal: AbortSignal.timeout(requestTimeoutMs),
    });
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const reason = cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? cause.message) : String(cause);
    throw new WaybillError('unavailable', `cannot reach the server at ${url} (${reason})`, { cause: error });
  }
}

async function readBody(response: Response, url: string): Promise<{ data?: unknown; errors?: GraphqlError[] }> {
  const text = await response.text().catch((cause: unknown) => {
    throw new WaybillError('unavailable', `the connection to ${url} broke in mid-answer`, { cause });
  });
  try {
    return JSON.parse(text) as { data?: unknown; errors?: GraphqlError[] };
  } catch (cause) {
    throw new WaybillError('unavailable', `${url} answers ${response.status}, and not as Waybill does`, { cause });
  }
}

/**
 * Whether only details are missing that the key may not see: a key for runs is not one for pipelines, and shows its runs
 * without their versions.
 */
function isPartial(data: unknown, errors: readonly GraphqlError[]): boolean {
  if (typeof data !== 'object' || data === null || Object.values(data).includes(null)) return false;
  return errors.every(({ extensions }) => extensions?.code === 'FORBIDDEN');
}

function fromErrors(errors: GraphqlError[], status: number): WaybillError {
  const message = errors.map((error) => error.message).join('; ');
  const code = errors[0]?.extensions?.code ?? '';
  if (/FORBIDDEN/.test(code)) return new WaybillError('forbidden', message);
  if (/UNAUTHENTICATED/.test(code)) return new WaybillError('unauthenticated', message);
  if (/UNAVAILABLE/.test(code) || status === 503) return new WaybillError('unavailable', message);
  return new WaybillError(status === 400 ? 'invalid' : 'internal', message);
}
