import { Type } from 'typebox';
import type { ActionManifest } from '../actions.ts';
import { EndpointAlias, once, patient, reachErrors, short } from './terms.ts';

/** What goes out and what comes back travels through the history of the run. */
export const maxRequestBytes = 256 * 1024;
export const maxResponseBytes = 64 * 1024;
export const httpMethods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const;
/** RFC 9110, section 9.2.2: the others may do a thing twice when they are repeated. */
const idempotentMethods = ['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS'] as const;

const queryValue = Type.Union([Type.String(), Type.Number(), Type.Boolean()]);

/** Actions on somebody else's HTTP interface. */
export const httpActions: readonly ActionManifest[] = [
  {
    use: 'http.request@1',
    summary:
      'Asks an HTTP interface, with the credentials of the endpoint. GET, HEAD, PUT, DELETE and OPTIONS are tried again; POST and PATCH only when the step says so.',
    input: Type.Object(
      {
        endpoint: EndpointAlias('Alias of an endpoint of connector http.'),
        path: Type.String({
          pattern: '^/',
          maxLength: 2048,
          description: 'Below the base address of the endpoint; what goes after a ? belongs into `query`.',
        }),
        method: Type.Optional(
          Type.Union(
            httpMethods.map((method) => Type.Literal(method)),
            { default: 'GET', description: 'The request method.' },
          ),
        ),
        query: Type.Optional(
          Type.Record(Type.String(), Type.Union([queryValue, Type.Array(queryValue, { maxItems: 100 })]), {
            description: 'Query parameters; a list gives the name once for each value.',
            'x-template': true,
          }),
        ),
        headers: Type.Optional(
          Type.Record(Type.String({ pattern: '^[A-Za-z0-9-]{1,100}$' }), Type.String({ maxLength: 4096 }), {
            description: 'Headers of this request. Credentials belong to the endpoint and are refused here.',
            additionalProperties: false,
            'x-template': true,
          }),
        ),
        json: Type.Optional(
          Type.Any({ description: 'A value that is sent as JSON, at most 256 KiB.', 'x-template': true }),
        ),
        text: Type.Optional(
          Type.String({ description: 'A text that is sent as it is, at most 256 KiB. Either this or `json`.' }),
        ),
        expect: Type.Optional(
          Type.Array(Type.Integer({ minimum: 100, maximum: 599 }), {
            minItems: 1,
            maxItems: 50,
            description: 'Statuses that are a success. Default: 200 to 299.',
          }),
        ),
        parse: Type.Optional(
          Type.Union([Type.Literal('auto'), Type.Literal('json'), Type.Literal('none')], {
            default: 'auto',
            description:
              'auto: an answer that says it is JSON is given as `json`; json: any other answer is refused with protocol; none: never.',
          }),
        ),
      },
      { additionalProperties: false },
    ),
    output: Type.Object({
      status: Type.Integer(),
      headers: Type.Record(Type.String(), Type.String(), { description: 'by lower-case name; cookies are left out' }),
      text: Type.String({ description: 'the answer, at most 64 KiB; empty when it is given as `json`' }),
      json: Type.Any({ description: 'the parsed answer, or null' }),
    }),
    idempotent: false,
    idempotentWhen: { field: 'method', default: 'GET', values: idempotentMethods, retry: patient },
    heartbeats: false,
    transfers: false,
    errorKinds: [...reachErrors, 'conflict', 'disk-full'],
    retry: once,
    timeout: short,
  },
];
