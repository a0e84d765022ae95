import { type Static, type TSchema, Type } from 'typebox';
import { errorKinds } from './errors.ts';
import { identifierPattern, resourceNamePattern } from './names.ts';
import { durationPattern } from './quantities.ts';

/**
 * The closed schema of a pipeline file. Blocks hold blocks: the schemas are made by a function over the schema of a list
 * of blocks, so that the checker can look at one level at a time (its messages then name the right kind of step) while
 * the schema for editors refers to itself.
 */
export const languageVersion = 'waybill/v1';
export const pipelineLimits = {
  steps: 500,
  blockDepth: 8,
  inputs: 100,
  endpoints: 100,
  labels: 50,
  outputs: 100,
  maxParallel: 500,
} as const;

/** Values when a pipeline does not say. Retry and timeout come from the action. */
export const pipelineDefaults = { as: 'item', maxParallel: 8, application: 10 } as const;

/** Parts of the language that are designed but not built yet: they get a message of their own. */
export const unavailableKeys: Readonly<Record<string, readonly string[]>> = {
  pipeline: ['triggers', 'concurrency', 'vars'],
  step: ['parallel', 'wait', 'approve', 'expect', 'call', 'tolerate', 'compensate', 'node', 'branches'],
};

const closed = { additionalProperties: false } as const;
const apiVersion = Type.Literal(languageVersion, { description: 'The version of the language.' });
const resourceName = (description: string) => Type.String({ pattern: resourceNamePattern, description });
const duration = (description: string) =>
  Type.String({ pattern: durationPattern, description: `${description} For example 30s, 5m, 2h, 7d.` });
const identifier = (description: string) => Type.String({ pattern: identifierPattern, description });
const condition = Type.String({
  minLength: 1,
  description: 'CEL that gives true or false. Without it the step always runs.',
  'x-expression': true,
});
const labelName = '^[a-z][a-z0-9-]{0,62}$';

export const RetrySettings = Type.Object(
  {
    for: Type.Optional(duration('How long to try; progress starts the time again.')),
    attempts: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000, description: 'Attempts at most.' })),
    first: Type.Optional(duration('Wait before the second attempt.')),
    factor: Type.Optional(
      Type.Number({ minimum: 1, maximum: 10, description: 'Each wait is this much longer than the one before.' }),
    ),
    max: Type.Optional(duration('The longest wait.')),
    jitter: Type.Optional(
      Type.String({ pattern: '^(100|[0-9]{1,2})%$', description: 'Random part of each wait, such as 20%.' }),
    ),
    notOn: Type.Optional(
      Type.Array(Type.Union(Object.keys(errorKinds).map((kind) => Type.Literal(kind))), {
        uniqueItems: true,
        description: 'Errors that are not tried again.',
      }),
    ),
  },
  { ...closed, description: 'How a failed step is tried again.' },
);
export type RetrySettings = Static<typeof RetrySettings>;

export const TimeoutSettings = Type.Object(
  {
    stall: Type.Optional(duration('No byte and no answer for so long ends the attempt; progress starts it again.')),
    total: Type.Optional(duration('The whole step, with all its attempts.')),
  },
  { ...closed, description: 'When a step is given up.' },
);
export type TimeoutSettings = Static<typeof TimeoutSettings>;

export const InputSettings = Type.Object(
  {
    type: Type.Union(
      ['string', 'integer', 'number', 'boolean', 'list', 'map'].map((type) => Type.Literal(type)),
      { description: 'The type of the value.' },
    ),
    description: Type.Optional(Type.String({ maxLength: 500 })),
    default: Type.Optional(Type.Unknown({ description: 'The value when a run gives none.' })),
    required: Type.Optional(
      Type.Boolean({ description: 'Whether a run must give it. Default: when there is no default.' }),
    ),
  },
  closed,
);

/** The schemas of a pipeline and of the three kinds of block, over the schema of a list of blocks. */
export function pipelineSchemas(blocks: (description: string) => TSchema) {
  const base = {
    id: Type.Optional(
      identifier('Name of the step, for `steps.<id>` and in every view. A step that transfers needs one.'),
    ),
    if: Type.Optional(condition),
    onError: Type.Optional(blocks('Run when the step has failed for good; `error` tells why.')),
  };
  return {
    action: Type.Object(
      {
        ...base,
        use: Type.String({ description: 'The action and its major version, such as transfer.copy@1.' }),
        with: Type.Optional(Type.Record(Type.String(), Type.Unknown(), { description: 'The input of the action.' })),
        retry: Type.Optional(RetrySettings),
        timeout: Type.Optional(TimeoutSettings),
        summary: Type.Optional(
          Type.String({
            minLength: 1,
            maxLength: 200,
            description: 'What the step does, for the operator; may hold ${{ }}.',
          }),
        ),
      },
      closed,
    ),
    forEach: Type.Object(
      {
        ...base,
        forEach: Type.String({
          minLength: 1,
          description: 'CEL that gives a list or a file set.',
          'x-expression': true,
        }),
        as: Type.Optional(identifier(`The loop variable. Default: ${pipelineDefaults.as}.`)),
        maxParallel: Type.Optional(
          Type.Integer({
            minimum: 1,
            maximum: pipelineLimits.maxParallel,
            default: pipelineDefaults.maxParallel,
            description: 'Items at the same time.',
          }),
        ),
        steps: blocks('Run for each item.'),
      },
      closed,
    ),
    group: Type.Object(
      {
        ...base,
        steps: blocks('Run in order, when `if` holds.'),
        else: Type.Optional(blocks('Run in order, when `if` does not hold.')),
      },
      closed,
    ),
    pipeline: Type.Object(
      {
        pipeline: resourceName('Name of the pipeline: it becomes the Temporal workflow type.'),
        apiVersion,
        description: Type.Optional(Type.String({ maxLength: 2000 })),
        labels: Type.Optional(
          Type.Record(Type.String({ pattern: labelName }), Type.String({ maxLength: 500 }), {
            ...closed,
            maxProperties: pipelineLimits.labels,
            description: 'Words of your own, such as partner and owner.',
          }),
        ),
        inputs: Type.Optional(
          Type.Record(Type.String({ pattern: identifierPattern }), InputSettings, {
            ...closed,
            maxProperties: pipelineLimits.inputs,
            description: 'What a run can be given.',
          }),
        ),
        endpoints: Type.Optional(
          Type.Record(
            Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_-]{0,62}$' }),
            resourceName('Name of an endpoint.'),
            {
              ...closed,
              maxProperties: pipelineLimits.endpoints,
              description: 'Aliases of the endpoints that the pipeline uses.',
            },
          ),
        ),
        session: Type.Optional(
          Type.Object(
            {
              application: Type.Optional(
                Type.Integer({
                  minimum: 1,
                  description: `Registered application. Default: ${pipelineDefaults.application}, pipelines.`,
                }),
              ),
              as: Type.Optional(
                Type.String({
                  pattern: '^[A-Za-z0-9][A-Za-z0-9._@-]{0,126}$',
                  description: 'Account that the run acts as. Default: the one that published it.',
                }),
              ),
            },
            { ...closed, description: 'The session that the run opens.' },
          ),
        ),
        defaults: Type.Optional(
          Type.Object(
            { retry: Type.Optional(RetrySettings), timeout: Type.Optional(TimeoutSettings) },
            { ...closed, description: 'For every step that does not say otherwise.' },
          ),
        ),
        steps: blocks('What the pipeline does, in order.'),
        onError: Type.Optional(blocks('Run when the pipeline has failed.')),
        finally: Type.Optional(blocks('Run at the end, however the pipeline ended.')),
        outputs: Type.Optional(
          Type.Record(Type.String({ pattern: identifierPattern }), Type.String({ minLength: 1 }), {
            ...closed,
            maxProperties: pipelineLimits.outputs,
            description: 'Name to CEL: the result of a run.',
          }),
        ),
      },
      closed,
    ),
  };
}
