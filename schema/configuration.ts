import { Type } from 'typebox';
import { resourceNamePattern } from './names.ts';
import { languageVersion } from './pipeline.ts';
import { sizePattern } from './quantities.ts';

/** The closed schemas of endpoint and webhook documents. `config` and the names of secrets are checked against the connector. */
const closed = { additionalProperties: false } as const;
const apiVersion = Type.Literal(languageVersion, { description: 'The version of the language.' });

/** Where a secret comes from. Never the secret itself. */
const storedReferences = [
  Type.Object(
    { file: Type.String({ minLength: 1, description: 'A file that the command line reads, relative to this one.' }) },
    closed,
  ),
  Type.Object(
    {
      env: Type.String({
        pattern: '^[A-Za-z_][A-Za-z0-9_]*$',
        description: 'A variable that the command line reads.',
      }),
    },
    closed,
  ),
  Type.Object(
    {
      secret: Type.String({
        pattern: '^[a-z][a-z0-9-]{0,62}$',
        description: 'A secret set with `waybill secrets set`.',
      }),
    },
    closed,
  ),
];
const hostReferences = [
  Type.Object(
    {
      workerFile: Type.String({
        pattern: '^/[^*\\u0000-\\u001f]+$',
        maxLength: 1024,
        description: "A file on the worker's machine that the operator lends to the tenant.",
      }),
    },
    closed,
  ),
  Type.Object(
    {
      workerEnv: Type.String({
        pattern: '^[A-Za-z_][A-Za-z0-9_]*$',
        maxLength: 255,
        description: "A variable of the worker's environment that the operator lends to the tenant.",
      }),
    },
    closed,
  ),
];
const words = { description: 'Where the secret comes from; it never stands in the file.' };
const StoredReferenceSchema = Type.Union(storedReferences, words);
const SecretReferenceSchema = Type.Union([...storedReferences, ...hostReferences], words);
const secrets = Type.Record(Type.String(), SecretReferenceSchema, { description: 'Secrets by name.' });

/** What an endpoint bears, over all workers together; what is absent is not limited. */
export interface EndpointLimits {
  /** Files at the same time. */
  concurrency?: number;
  /** Bytes a second, both directions together: `20MB`. */
  bandwidth?: string;
}

/** The least `limits.bandwidth`: below it a copy could not be told from one that stands still. */
export const leastBandwidthBytes = 64_000;

export type SecretReference =
  | { file: string }
  | { env: string }
  | { secret: string }
  | { workerFile: string }
  | { workerEnv: string };

export const EndpointDocument = Type.Object(
  {
    endpoint: Type.String({ pattern: resourceNamePattern, description: 'Name of the endpoint.' }),
    apiVersion,
    connector: Type.String({ description: 'Kind of connector, such as sftp or local.' }),
    config: Type.Optional(Type.Record(Type.String(), Type.Unknown(), { description: 'Settings of the connector.' })),
    secrets: Type.Optional(secrets),
    limits: Type.Optional(
      Type.Object(
        {
          concurrency: Type.Optional(
            Type.Integer({
              minimum: 1,
              maximum: 256,
              description: 'Files at the same time, over all workers together.',
            }),
          ),
          bandwidth: Type.Optional(
            Type.String({
              pattern: sizePattern,
              description:
                'Bytes a second, over all workers and both directions together: 20MB, 512KiB. At least 64KB.',
              examples: ['20MB'],
            }),
          ),
        },
        { ...closed, description: 'What the endpoint bears.' },
      ),
    ),
  },
  closed,
);

/** `orders.*`, `run.failed`, `*`. */
export const eventFilterPattern = '^(\\*|[a-z][a-z0-9-]*(\\.[a-z][a-z0-9-]*)*(\\.\\*)?)$';

export const WebhookDocument = Type.Object(
  {
    webhook: Type.String({ pattern: resourceNamePattern, description: 'Name of the webhook.' }),
    apiVersion,
    url: Type.String({ minLength: 1, maxLength: 2048, description: 'Where events are posted.' }),
    events: Type.Array(Type.String({ pattern: eventFilterPattern }), {
      minItems: 1,
      maxItems: 50,
      uniqueItems: true,
      description: 'Events to send: run.failed, orders.*',
    }),
    secrets: Type.Optional(
      Type.Object(
        { signing: Type.Optional(StoredReferenceSchema) },
        { ...closed, description: 'signing: a whsec_... text that signs every message.' },
      ),
    ),
  },
  closed,
);
