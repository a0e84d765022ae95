import { expect, test } from 'vitest';
import { createDialler } from '../../network/dialler.ts';
import type { Connector } from '../contract.ts';
import { createRegistry } from '../registry.ts';
import { both, capability, type Need, type Opened, offered, Random, whyNotProven } from './steps.ts';

const context = {
  dialler: createDialler({ loopback: false, allow: [] }),
  localRoots: [],
  log: { debug() {}, info() {}, warn() {}, error() {} },
};
/** Declares that it renames, and that it cannot go on after an entry of a listing. */
const connector = createRegistry().open('local', { root: '/' }, {}, context).endpoint as Connector;
const opened: Opened = { connector, close: async () => {} };
const why = (needs: Need | undefined, reason?: string) =>
  whyNotProven({ sentence: 'it does', prove: async () => {}, ...(needs && { needs }) }, opened, reason);

test('what every connector promises is proven, and skipped with a reason', () => {
  expect(why(undefined)).toBeUndefined();
  expect(why(undefined, 'the protocol has no folders')).toBe('the protocol has no folders');
});

test('what is declared is proven and cannot be skipped', () => {
  expect(why(capability('rename'))).toBeUndefined();
  expect(() => why(capability('rename'), 'it is slow')).toThrow(
    /capability rename is declared, so it cannot be skipped/,
  );
});

test('what is not declared is not asked', () => {
  expect(why(capability('listAfter'))).toMatch(/not promised: the capability listAfter/);
  expect(why(capability('listAfter'), 'no such parameter')).toBe('no such parameter');
});

test('what the opener does not offer is not asked, and what it offers can be skipped all the same', () => {
  expect(why(offered('makeLink'))).toMatch(/not promised/);
  expect(why(both(capability('rename'), offered('makeLink')))).toMatch(/not promised/);
  expect(why(offered('close'), 'as the test likes')).toBe('as the test likes');
});

test('the seed alone decides the random choices', () => {
  const drawn = (seed: number) =>
    Array.from(
      { length: 20 },
      (
        (random) => () =>
          random.between(3, 9)
      )(new Random(seed)),
    );
  expect(drawn(7)).toEqual(drawn(7));
  expect(drawn(7)).not.toEqual(drawn(8));
  expect(new Set(drawn(7).map((one) => one >= 3 && one <= 9))).toEqual(new Set([true]));
});
