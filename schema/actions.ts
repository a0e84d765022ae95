import { type TObject, Type } from 'typebox';
import type { ErrorKind } from './errors.ts';
import { customEventPattern } from './events.ts';
import type { RetryPolicy, TimeoutPolicy } from './plan.ts';

/**
 * The manifests of the built-in actions: data that the language checks `with` and `steps.*` against, the editor schema
 * and the reference are made from, and the worker registers activities by. What an action does is in `activities/`.
 */
export interface ActionManifest {
  /** `transfer.copy@1` */
  use: string;
  summary: string;
  input: TObject;
  output: TObject;
  /** A second call with the same input changes nothing more. */
  idempotent: boolean;
  heartbeats: boolean;
  /** Its step must have an id: deliveries are shown under it. */
  transfers: boolean;
  errorKinds: readonly ErrorKind[];
  retry: RetryPolicy;
  timeout: TimeoutPolicy;
}

/** `alias:/path`, or `{ endpoint: alias, path | glob }`. `x-location` says what the action takes: one file, a glob too, or a target (a path that ends in `/` is a folder). */
function Location(accepts: 'file' | 'files' | 'target', description: string) {
  const shapes = [
    Type.String({ minLength: 1, maxLength: 4096 }),
    Type.Object({ endpoint: Type.String(), path: Type.String() }, { additionalProperties: false }),
    ...(accepts === 'files'
      ? [Type.Object({ endpoint: Type.String(), glob: Type.String() }, { additionalProperties: false })]
      : []),
  ];
  return Type.Union(shapes, { description, 'x-location': accepts });
}

const conflict = (description: string) =>
  Type.Union(
    [Type.Literal('fail'), Type.Literal('skip-identical'), Type.Literal('overwrite'), Type.Literal('version')],
    {
      description,
      default: 'fail',
    },
  );
const exclude = Type.Array(Type.String({ minLength: 1, 'x-path': 'glob' }), {
  maxItems: 100,
  description: 'Globs, relative to the endpoint root, of files to leave out.',
});
const onEmpty = Type.Union([Type.Literal('succeed'), Type.Literal('fail'), Type.Literal('skip')], {
  default: 'succeed',
  description:
    'What a listing without files means: the step succeeds, fails with not-found, or the steps after it in its block are skipped.',
});
const eventName = Type.String({
  pattern: customEventPattern,
  maxLength: 100,
  description: 'An event name of your own, such as orders.received.',
});
const eventData = Type.Record(Type.String(), Type.Any(), {
  description: 'Data of the event, up to 16 KiB as JSON.',
  'x-template': true,
});
const fileSet = Type.Object(
  { ref: Type.String(), count: Type.Integer(), bytes: Type.Integer() },
  { 'x-file-set': true, description: 'A reference to a listing: .count, .bytes.' },
);

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const patient: RetryPolicy = {
  forMs: 12 * hour,
  attempts: null,
  firstMs: 2 * second,
  factor: 2,
  maxMs: 15 * minute,
  jitter: 0.2,
  notOn: ['unauthenticated', 'forbidden', 'not-found', 'integrity'],
};
const long: TimeoutPolicy = { stallMs: 5 * minute, totalMs: 24 * hour };
const short: TimeoutPolicy = { stallMs: minute, totalMs: 10 * minute };
const reachErrors = [
  'unauthenticated',
  'forbidden',
  'not-found',
  'invalid',
  'rate-limited',
  'unavailable',
  'timeout',
  'protocol',
  'egress-denied',
  'cancelled',
  'internal',
] as const;

export const actions: readonly ActionManifest[] = [
  {
    use: 'files.list@1',
    summary: 'Lists files into a file set: a reference, never an array.',
    input: Type.Object(
      {
        from: Location('files', 'What to list.'),
        where: Type.Optional(
          Type.String({ 'x-expression': 'file', description: 'CEL over each `file`: path, name, size, modified.' }),
        ),
        exclude: Type.Optional(exclude),
        onEmpty: Type.Optional(onEmpty),
      },
      { additionalProperties: false },
    ),
    output: Type.Object({ files: fileSet }),
    idempotent: true,
    heartbeats: true,
    transfers: false,
    errorKinds: reachErrors,
    retry: patient,
    timeout: long,
  },
  {
    use: 'files.move@1',
    summary: 'Moves one file within its endpoint.',
    input: Type.Object(
      {
        from: Location('file', 'The file to move.'),
        to: Type.String({
          minLength: 1,
          maxLength: 4096,
          'x-path': 'path',
          description: 'The new path on the same endpoint; one that ends in / is a folder.',
        }),
        onConflict: Type.Optional(conflict('What to do when the new path exists.')),
      },
      { additionalProperties: false },
    ),
    output: Type.Object({ path: Type.String() }),
    idempotent: true,
    heartbeats: false,
    transfers: false,
    errorKinds: [...reachErrors, 'exists', 'unsupported'],
    retry: patient,
    timeout: short,
  },
  {
    use: 'files.delete@1',
    summary: 'Deletes one file; deleting what is gone succeeds.',
    input: Type.Object({ at: Location('file', 'The file to delete.') }, { additionalProperties: false }),
    output: Type.Object({ path: Type.String() }),
    idempotent: true,
    heartbeats: false,
    transfers: false,
    errorKinds: reachErrors,
    retry: patient,
    timeout: short,
  },
  {
    use: 'transfer.copy@1',
    summary: 'Copies a file, or every file of a glob, whole and once, and then disposes of the source.',
    input: Type.Object(
      {
        from: Location('files', 'A file, or a glob.'),
        to: Location(
          'target',
          'A file, or a folder when it ends in /. A glob needs a folder; paths below the fixed part of the glob are kept.',
        ),
        then: Type.Optional(
          Type.Union(
            [
              Type.Object(
                {
                  move: Type.String({
                    minLength: 1,
                    'x-path': 'path',
                    description: 'Path or folder (ends in /) on the source endpoint.',
                  }),
                  onConflict: Type.Optional(conflict('What to do when that path exists.')),
                },
                { additionalProperties: false },
              ),
              Type.Object({ delete: Type.Literal(true) }, { additionalProperties: false }),
            ],
            { description: 'What happens to the source after the delivery has committed.' },
          ),
        ),
        verify: Type.Optional(
          Type.Union([Type.Literal('hash'), Type.Literal('readback'), Type.Literal('size')], {
            default: 'hash',
            description:
              'hash: the strongest thing the target can say; readback: read the target again; size: the least.',
          }),
        ),
        onConflict: Type.Optional(conflict('What to do when the target path exists.')),
        once: Type.Optional(
          Type.Union([Type.Literal('target'), Type.Literal('version'), Type.Literal('off')], {
            default: 'target',
            description:
              'What counts as the same delivery: source version and target path; source version alone; nothing.',
          }),
        ),
        exclude: Type.Optional(exclude),
        onEmpty: Type.Optional(onEmpty),
      },
      { additionalProperties: false },
    ),
    output: Type.Object({
      transfer: Type.String(),
      files: Type.Integer({ description: 'delivered in this run' }),
      bytes: Type.Integer({ description: 'sent to targets' }),
      skipped: Type.Integer({ description: 'already delivered' }),
      failed: Type.Integer(),
    }),
    idempotent: true,
    heartbeats: true,
    transfers: true,
    errorKinds: [...reachErrors, 'exists', 'conflict', 'integrity', 'disk-full', 'quota', 'unsupported'],
    retry: patient,
    timeout: long,
  },
  {
    use: 'webhook.send@1',
    summary: 'Sends an event to every webhook of the tenant whose filter matches.',
    input: Type.Object({ event: eventName, data: Type.Optional(eventData) }, { additionalProperties: false }),
    output: Type.Object({ messageId: Type.String(), webhooks: Type.Integer() }),
    idempotent: true,
    heartbeats: false,
    transfers: false,
    errorKinds: ['invalid', 'unavailable', 'cancelled', 'internal'],
    retry: patient,
    timeout: short,
  },
  {
    use: 'audit.write@1',
    summary: 'Writes an event of your own into the audit log.',
    input: Type.Object({ event: eventName, data: Type.Optional(eventData) }, { additionalProperties: false }),
    output: Type.Object({ event: Type.String() }),
    idempotent: true,
    heartbeats: false,
    transfers: false,
    errorKinds: ['invalid', 'unavailable', 'cancelled', 'internal'],
    retry: patient,
    timeout: short,
  },
];

const byUse = new Map(actions.map((action) => [action.use, action]));

/** The manifest of `transfer.copy@1`, or undefined. */
export function findAction(use: string): ActionManifest | undefined {
  return byUse.get(use);
}
