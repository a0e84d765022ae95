import type { OutgoingRequest, RequestAnswer } from '../../connectors/contract.ts';
import { statusError } from '../../connectors/httpStatus.ts';
import { httpMethods, maxRequestBytes, maxResponseBytes } from '../../schema/actions/http.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { Json } from '../../schema/plan.ts';
import { stepDigest } from '../messages.ts';
import type { ActivityContext, TransferDependencies } from '../transfer/context.ts';
import { type FilesInput, recordOfStep } from '../transfer/files.ts';
import { choose } from '../transfer/options.ts';
import { endpointOf } from './endpointAlias.ts';

export interface HttpAnswer {
  status: number;
  headers: Record<string, string>;
  text: string;
  json: Json;
}

/** RFC 9110, section 9.2.1: these only ask, so they need no evidence and no key. */
const safeMethods: readonly string[] = ['GET', 'HEAD', 'OPTIONS'];

/**
 * `http.request`: asks once. A request that may change something bears an Idempotency-Key, the same in every attempt of the
 * step. Throws for a status that the step does not expect the kind that fits it, invalid for what cannot be asked, protocol
 * for an answer that is not what `parse` wants, whatever the endpoint throws.
 */
export async function requestHttp(
  dependencies: Pick<TransferDependencies, 'endpoints' | 'store'>,
  input: FilesInput,
  { signal }: ActivityContext,
): Promise<HttpAnswer> {
  const { with: given } = input;
  const endpoint = endpointOf(input, 'endpoint');
  const request = readRequest(given, stepDigest(input));
  const parse = choose(given, 'parse', ['auto', 'json', 'none']);
  const { method, path } = request;
  const answer = await dependencies.endpoints.useService(input.tenantId, endpoint, 'requests', (requester) =>
    requester.request(request, signal),
  );
  if (!expected(answer.status, given.expect)) throw statusError(answer, `${method} ${path}`, { endpoint, path });
  if (!safeMethods.includes(method))
    await recordOfStep(dependencies, input, (events) => [
      events.step('http.requested', input.stepKey, { endpoint, method, path, status: answer.status }),
    ]);
  return asOutput(answer, parse, { endpoint, path });
}

function readRequest(given: Record<string, Json>, idempotencyKey: string): OutgoingRequest {
  const method = choose(given, 'method', httpMethods);
  if (typeof given.path !== 'string') throw new WaybillError('invalid', '`path` must be a text', { field: 'path' });
  const body = readBody(given);
  const headers = readHeaders(given.headers);
  const names = new Set(Object.keys(headers).map((name) => name.toLowerCase()));
  if (body !== null && (method === 'GET' || method === 'HEAD'))
    throw new WaybillError('invalid', `${method} sends nothing; say \`method: POST\``, { field: 'method' });
  const type = given.json === undefined ? 'text/plain; charset=utf-8' : 'application/json';
  return {
    method,
    path: given.path,
    query: readQuery(given.query),
    headers: {
      ...headers,
      ...(body !== null && !names.has('content-type') && { 'content-type': type }),
      ...(!safeMethods.includes(method) && !names.has('idempotency-key') && { 'idempotency-key': idempotencyKey }),
    },
    body,
    maxAnswerBytes: maxResponseBytes,
  };
}

function readBody({ json, text }: Record<string, Json>): string | null {
  const hasText = text !== undefined && text !== null;
  if (hasText && json !== undefined)
    throw new WaybillError('invalid', 'give `json` or `text`, not both', { field: 'text' });
  if (hasText && typeof text !== 'string')
    throw new WaybillError('invalid', '`text` must be a text; give anything else as `json`', { field: 'text' });
  const body = json !== undefined ? JSON.stringify(json) : hasText ? (text as string) : null;
  const bytes = body === null ? 0 : Buffer.byteLength(body);
  if (bytes > maxRequestBytes)
    throw new WaybillError('invalid', `the body has ${bytes} bytes, more than ${maxRequestBytes}`, {
      field: hasText ? 'text' : 'json',
    });
  return body;
}

function readQuery(given: Json | undefined): Array<[string, string]> {
  if (given === undefined || given === null) return [];
  if (typeof given !== 'object' || Array.isArray(given))
    throw new WaybillError('invalid', '`query` must be a mapping', { field: 'query' });
  return Object.entries(given).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value])
      .filter((one) => one !== null)
      .map((one): [string, string] => {
        if (typeof one === 'object')
          throw new WaybillError('invalid', `\`query.${name}\` must be a text, a number or true/false`, {
            field: 'query',
          });
        return [name, String(one)];
      }),
  );
}

function readHeaders(given: Json | undefined): Record<string, string> {
  if (given === undefined || given === null) return {};
  if (typeof given !== 'object' || Array.isArray(given))
    throw new WaybillError('invalid', '`headers` must be a mapping', { field: 'headers' });
  return Object.fromEntries(
    Object.entries(given)
      .filter(([, value]) => value !== null)
      .map(([name, value]) => {
        if (typeof value === 'object')
          throw new WaybillError('invalid', `the header ${name.slice(0, 100)} must be a text`, { field: 'headers' });
        return [name, String(value)];
      }),
  );
}

function expected(status: number, wanted: Json | undefined): boolean {
  return Array.isArray(wanted) ? wanted.includes(status) : status >= 200 && status <= 299;
}

/** The answer is given once: parsed, or else as text. */
function asOutput(
  { status, headers, text }: RequestAnswer,
  parse: 'auto' | 'json' | 'none',
  place: { endpoint: string; path: string },
): HttpAnswer {
  const isJson = /^application\/([\w.-]+\+)?json\b/i.test(headers['content-type'] ?? '');
  const raw = { status, headers, text, json: null };
  if (parse === 'none' || (parse === 'auto' && !isJson) || (parse === 'auto' && text === '')) return raw;
  try {
    return { status, headers, text: '', json: JSON.parse(text) as Json };
  } catch {
    if (parse === 'auto') return raw;
    throw new WaybillError('protocol', `the answer (${status}) is not JSON`, { operation: 'asking', ...place });
  }
}
