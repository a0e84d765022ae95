import { availableParallelism } from 'node:os';
import { type Algorithm, hash, parseOptions, verify } from '@node-rs/argon2';
import { WaybillError } from '../schema/errors.ts';

/** argon2id; a `const enum` of the library's, which Node cannot read as a value. */
const argon2id = 2 as Algorithm.Argon2id;
const parameters = { algorithm: argon2id, memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;
const printedParameters = `m=${parameters.memoryCost},t=${parameters.timeCost},p=${parameters.parallelism}`;
/** Hashes that are computed together: each holds 19 MiB and a core, and one core is left to other requests. */
const hashesTogether = Math.max(1, Math.min(2, availableParallelism() - 1));
/** Those that wait besides. More of them would only be answered when their callers have gone. */
const hashesWaiting = 100;
const retryAfterMs = 5_000;
/** Of no password: what a name without a user is compared with, so that it costs what a user costs. */
const nobodysHash = `$argon2id$v=19$${printedParameters}$d2F5YmlsbC9ub2JvZHkvdg$4xT7vC0wQk1m9Zs2eYb5uH8nL3pRjXaGdFoI6tKqWhU`;

export interface PasswordHashing {
  /** The argon2id hash in PHC form. Throws rate-limited when too many wait. */
  hash(password: string): Promise<string>;
  /** Whether the password is that of the hash; of null, or of what is no hash, false at the same cost. Throws rate-limited. */
  matches(stored: string | null, password: string): Promise<boolean>;
  /** Whether the hash was made with other parameters than today's. */
  isOutdated(stored: string): boolean;
}

/** What stands in the place of a hash that no password matches any more. */
export const noPassword = '*';

/** The hashing of one process, off its main thread, with a limit on what is computed together and on what waits for it. */
export function createPasswordHashing(together = hashesTogether): PasswordHashing {
  const inTurn = createTurns(together);
  return {
    hash: (password) => inTurn(() => hash(password, parameters)),
    matches: (stored, password) =>
      inTurn(async () => {
        const known = stored !== null && stored !== noPassword;
        const isRight = await verify(known ? stored : nobodysHash, password);
        return known && isRight;
      }),
    isOutdated: (stored) => {
      const { algorithm, memoryCost, timeCost, parallelism } = parseOptions(stored);
      const today = parameters;
      return (
        algorithm !== today.algorithm ||
        memoryCost !== today.memoryCost ||
        timeCost !== today.timeCost ||
        parallelism !== today.parallelism
      );
    },
  };
}

function createTurns(together: number): <Result>(work: () => Promise<Result>) => Promise<Result> {
  const waiting: Array<() => void> = [];
  let underWay = 0;
  return async (work) => {
    if (underWay >= together) {
      if (waiting.length >= hashesWaiting)
        throw new WaybillError('rate-limited', 'too many passwords are being checked; try again in a few seconds', {
          retryAfterMs,
        });
      // Whoever ends hands its place over: one that comes in between does not overtake.
      await new Promise<void>((resolve) => waiting.push(resolve));
    } else underWay++;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) underWay--;
      else next();
    }
  };
}
