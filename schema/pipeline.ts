import { type Static, type TSchema, Type } from 'typebox';
import { errorKinds } from './errors.ts';
import { accountPattern, identifierPattern, resourceNamePattern } from './names.ts';
import { durationPattern, percentagePattern } from './quantities.ts';

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
  vars: 100,
  varsCharacters: 16_384,
  endpoints: 100,
  labels: 50,
  outputs: 100,
  maxParallel: 500,
  branches: 500,
  concurrency: 1_000,
  concurrencyKeyCharacters: 200,
  toleratedFailures: 1_000_000,
  pollEveryMs: 1_000,
  waitMs: 365 * 86_400_000,
} as const;

/** Values when a pipeline does not say. Retry and timeout come from the action. A `parallel` runs all its branches at once. */
export const pipelineDefaults = {
  as: 'item',
  maxParallel: 8,
  application: 10,
  failFast: false,
  concurrencyLimit: 1,
  onLimit: 'queue',
  waitDeadlineMs: 86_400_000,
} as const;

/** Parts of the language that are designed but not built yet: they get a message of their own. */
export const unavailableKeys: Readonly<Record<string, readonly string[]>> = {
  pipeline: ['triggers'],
  step: ['approve', 'expect', 'call', 'node'],
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

const tolerance = (what: string) =>
  Type.Union(
    [
      Type.Integer({ minimum: 0, maximum: pipelineLimits.toleratedFailures }),
      Type.String({ pattern: percentagePattern }),
    ],
    {
      description: `How many ${what} may fail, as a number or as a part of all (5%): up to so many leave the step successful and the run \`partial\`. Default: none.`,
      examples: [3, '5%'],
    },
  );
const failFast = (description: string) => Type.Boolean({ default: pipelineDefaults.failFast, description });

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
    description: Type.Optional(Type.String({ maxLength: 500, description: 'What the input is for.' })),
    default: Type.Optional(Type.Unknown({ description: 'The value when a run gives none.' })),
    required: Type.Optional(
      Type.Boolean({ description: 'Whether a run must give it. Default: when there is no default.' }),
    ),
  },
  closed,
);

/** The schemas of a pipeline and of the kinds of block, over the schema of a list of blocks. */
export function pipelineSchemas(blocks: (description: string) => TSchema) {
  const base = {
    id: Type.Optional(
      identifier('Name of the step, for `steps.<id>` and in every view. A step that transfers needs one.'),
    ),
    if: Type.Optional(condition),
    when: Type.Optional(
      Type.String({
        minLength: 1,
        description:
          'In an onError list only: CEL over `error` that says which failures the step is for, such as error.kind == "not-found".',
        'x-expression': true,
      }),
    ),
    onError: Type.Optional(
      blocks(
        'Run when the step has failed for good; `error` tells why. Of a loop: run for each item that failed. It does not undo the failure.',
      ),
    ),
    compensate: Type.Optional(
      blocks(
        'Run when the step had succeeded and its loop item, or the run, fails or is cancelled later; the last step done is the first undone.',
      ),
    ),
    summary: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 200,
        description: 'What the step does, for the operator; may hold ${{ }}.',
      }),
    ),
  };
  return {
    action: Type.Object(
      {
        ...base,
        use: Type.String({ description: 'The action and its major version, such as transfer.copy@1.' }),
        with: Type.Optional(Type.Record(Type.String(), Type.Unknown(), { description: 'The input of the action.' })),
        retry: Type.Optional(RetrySettings),
        timeout: Type.Optional(TimeoutSettings),
        tolerate: Type.Optional(tolerance('files of a transfer')),
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
        tolerate: Type.Optional(tolerance('items')),
        failFast: Type.Optional(
          failFast('true: no further item is begun once more have failed than are tolerated. false: all are tried.'),
        ),
        steps: blocks('Run for each item.'),
      },
      closed,
    ),
    parallel: Type.Object(
      {
        ...base,
        parallel: blocks('Branches that run at the same time: each entry is a step, or a group of several.'),
        maxParallel: Type.Optional(
          Type.Integer({
            minimum: 1,
            maximum: pipelineLimits.maxParallel,
            description: 'Branches at the same time. Default: all.',
          }),
        ),
        failFast: Type.Optional(
          failFast('true: the other branches are cancelled when one has failed. false: they go on.'),
        ),
      },
      closed,
    ),
    wait: Type.Object(
      {
        ...base,
        wait: Type.Union(
          [
            Type.String({ minLength: 1 }),
            Type.Object(
              {
                until: Type.String({
                  minLength: 1,
                  description:
                    'CEL: alone it gives a time with its zone; beside `steps` it gives true or false, and is looked at after each round of them.',
                  'x-expression': true,
                }),
                every: Type.Optional(duration('From the end of one round of the steps to the beginning of the next.')),
                deadline: Type.Optional(
                  duration(
                    `The wait fails with \`timeout\` when so long has passed. Default: ${pipelineDefaults.waitDeadlineMs / 3_600_000}h.`,
                  ),
                ),
                steps: Type.Optional(blocks('Run before each look at `until`, which sees their outputs.')),
              },
              closed,
            ),
          ],
          {
            description:
              'How long, or until when: 30s, "2026-11-22T18:00:00+01:00", a text with ${{ }} that gives one of them, or { until }.',
          },
        ),
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
        description: Type.Optional(Type.String({ maxLength: 2000, description: 'What the pipeline is for.' })),
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
        vars: Type.Optional(
          Type.Record(
            Type.String({ pattern: identifierPattern }),
            Type.Unknown({ description: 'Any value; texts in it may hold ${{ }} over `inputs` and `run`.' }),
            {
              ...closed,
              maxProperties: pipelineLimits.vars,
              description: 'Named constants, read as `vars.<name>`; filled once, when the run starts.',
            },
          ),
        ),
        concurrency: Type.Optional(
          Type.Object(
            {
              key: Type.String({
                minLength: 1,
                maxLength: pipelineLimits.concurrencyKeyCharacters,
                description:
                  'Runs with the same key share the limit, whatever their pipeline; may hold ${{ }} over `inputs`, `vars` and `run`.',
              }),
              limit: Type.Optional(
                Type.Integer({
                  minimum: 1,
                  maximum: pipelineLimits.concurrency,
                  default: pipelineDefaults.concurrencyLimit,
                  description: 'Runs at the same time.',
                }),
              ),
              onLimit: Type.Optional(
                Type.Union([Type.Literal('queue'), Type.Literal('skip'), Type.Literal('cancel-oldest')], {
                  default: pipelineDefaults.onLimit,
                  description:
                    'queue: the new run waits; skip: it ends `refused`; cancel-oldest: the oldest run is cancelled, and then the new one begins.',
                }),
              ),
            },
            { ...closed, description: 'How many runs may go on at the same time. Without it: any number.' },
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
                  pattern: accountPattern,
                  description:
                    'Account that the run acts as, and is audited as. Default: the one that published it. Publishing it needs `actAs` on that account and `use` on each endpoint; both are looked at again at each start.',
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
        onError: Type.Optional(
          blocks('Run when the pipeline has failed, after what was to be undone; not when it was cancelled.'),
        ),
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
