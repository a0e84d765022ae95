import { Type } from 'typebox';
import type { ErrorKind } from '../errors.ts';
import type { RetryPolicy, TimeoutPolicy } from '../plan.ts';
import { durationPattern, sizePattern } from '../quantities.ts';

/** What the manifests share: shapes of inputs, patience, and the failures of a system that is reached over a network. */

/**
 * `alias:/path`, or `{ endpoint: alias, path | glob }`. `x-location` says what the action takes: one file, a glob too, a
 * target (a path that ends in `/` is a folder), or whatever is at a path.
 */
export function Location(accepts: 'file' | 'files' | 'target' | 'place', description: string) {
  const shapes = [
    Type.String({ minLength: 1, maxLength: 4096 }),
    Type.Object({ endpoint: Type.String(), path: Type.String() }, { additionalProperties: false }),
    ...(accepts === 'files'
      ? [Type.Object({ endpoint: Type.String(), glob: Type.String() }, { additionalProperties: false })]
      : []),
  ];
  return Type.Union(shapes, { description, 'x-location': accepts });
}

/** The most targets of one transfer. */
export const targetsAtMost = 16;

/** Where a file goes: one place, or a list of places that each get it. */
export function Targets(description: string) {
  const place = { endpoint: Type.String(), path: Type.String() };
  const required = Type.Boolean({
    default: true,
    description:
      'false: the source is disposed of although this target did not get the file, and nothing waits while it is held.',
  });
  const entry = Type.Union(
    [
      Type.String({ minLength: 1, maxLength: 4096 }),
      Type.Object({ ...place, required: Type.Optional(required) }, { additionalProperties: false }),
    ],
    { 'x-location': 'target' },
  );
  return Type.Union(
    [
      Type.String({ minLength: 1, maxLength: 4096 }),
      Type.Object(place, { additionalProperties: false }),
      Type.Array(entry, { minItems: 1, maxItems: targetsAtMost }),
    ],
    { description, 'x-location': 'target' },
  );
}

/** An alias of `endpoints:`, written out, whose connector does not move files. */
export function EndpointAlias(description: string) {
  return Type.String({ minLength: 1, maxLength: 63, description, 'x-endpoint': true });
}

export function conflict(description: string) {
  return Type.Union(
    [Type.Literal('fail'), Type.Literal('skip-identical'), Type.Literal('overwrite'), Type.Literal('version')],
    { description, default: 'fail' },
  );
}

function globs(description: string) {
  return Type.Array(Type.String({ minLength: 1, 'x-path': 'glob' }), { maxItems: 100, description });
}

function bytes(description: string) {
  return Type.String({ pattern: sizePattern, description, examples: ['10KB', '5GiB'] });
}

function age(description: string) {
  return Type.String({ pattern: durationPattern, description });
}

/** Which files of a listing are meant: the same keys wherever an action lists. */
export const selection = {
  include: Type.Optional(globs('Globs, relative to the endpoint root: only files that match one of them as well.')),
  exclude: Type.Optional(globs('Globs, relative to the endpoint root, of files to leave out.')),
  where: Type.Optional(
    Type.String({
      'x-expression': 'file',
      description: 'CEL over each `file`: endpoint, path, name, size, modified. Only files for which it is true.',
    }),
  ),
  minSize: Type.Optional(bytes('Leaves out smaller files. KB is 1,000 bytes, KiB is 1,024.')),
  maxSize: Type.Optional(bytes('Leaves out larger files.')),
  minAge: Type.Optional(age('Leaves out files that were modified less than this long before the listing.')),
  maxAge: Type.Optional(age('Leaves out files that were modified longer ago.')),
  links: Type.Optional(
    Type.Union([Type.Literal('follow'), Type.Literal('skip'), Type.Literal('refuse')], {
      default: 'follow',
      description:
        'Symbolic links to files: as the files they lead to; left out; or the step fails. Links to folders are never entered.',
    }),
  ),
};

export const onEmpty = Type.Union([Type.Literal('succeed'), Type.Literal('fail'), Type.Literal('skip')], {
  default: 'succeed',
  description:
    'What a listing without files means: the step succeeds, fails with not-found, or the steps after it in its block are skipped.',
});

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;

export const patient: RetryPolicy = {
  forMs: 12 * hour,
  attempts: null,
  firstMs: 2 * second,
  factor: 2,
  maxMs: 15 * minute,
  jitter: 0.2,
  notOn: ['unauthenticated', 'forbidden', 'not-found', 'integrity'],
};
/** For what may have happened although no answer came. */
export const once: RetryPolicy = { ...patient, attempts: 1 };
/** For news that is worth little tomorrow. */
export const brief: RetryPolicy = { ...patient, forMs: hour, maxMs: 5 * minute };

export const long: TimeoutPolicy = { stallMs: 5 * minute, totalMs: 24 * hour };
export const short: TimeoutPolicy = { stallMs: minute, totalMs: 10 * minute };

export const reachErrors = [
  'unauthenticated',
  'forbidden',
  'not-found',
  'invalid',
  'unsupported',
  'rate-limited',
  'unavailable',
  'timeout',
  'protocol',
  'egress-denied',
  'cancelled',
  'internal',
] as const satisfies readonly ErrorKind[];
/** Of an action that touches only the database. */
export const ownErrors = ['invalid', 'unavailable', 'cancelled', 'internal'] as const satisfies readonly ErrorKind[];
