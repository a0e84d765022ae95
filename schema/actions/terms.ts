import { Type } from 'typebox';
import type { ErrorKind } from '../errors.ts';
import type { RetryPolicy, TimeoutPolicy } from '../plan.ts';

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

export const exclude = Type.Array(Type.String({ minLength: 1, 'x-path': 'glob' }), {
  maxItems: 100,
  description: 'Globs, relative to the endpoint root, of files to leave out.',
});

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
