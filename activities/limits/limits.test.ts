import { describe, expect, test } from 'vitest';
import type { Lease } from '../../prisma/endpointLeases.ts';
import type { EndpointLimits } from '../../schema/configuration.ts';
import { Random } from '../../test/random.ts';
import { createGate } from '../transfer/gate.ts';
import { shareOf } from './share.ts';
import { createThrottle } from './throttle.ts';

const never = new AbortController().signal;

describe('a gate', () => {
  test('that becomes narrower sends nobody out, and lets the next in when enough have left', async () => {
    const gate = createGate(3);
    const leave = [await gate.enter(never), await gate.enter(never), await gate.enter(never)];
    gate.resize(1);
    let entered = false;
    void gate.enter(never).then(() => {
      entered = true;
    });
    leave[0]!();
    leave[1]!();
    await Promise.resolve();
    expect([gate.inside, gate.waiting, entered]).toEqual([1, 1, false]);
    leave[2]!();
    await new Promise((resolve) => setImmediate(resolve));
    expect([gate.inside, gate.waiting, entered]).toEqual([1, 0, true]);
  });

  test('that becomes wider lets in those who wait, in their order', async () => {
    const gate = createGate(0);
    const order: number[] = [];
    const all = [1, 2, 3].map((nth) => gate.enter(never).then(() => order.push(nth)));
    gate.resize(2);
    await Promise.all(all.slice(0, 2));
    expect(order).toEqual([1, 2]);
    expect(gate.waiting).toBe(1);
  });
});

describe('the share of a process', () => {
  const owners = ['a', 'b', 'c', 'd'];
  const wish = { inUse: 0, moves: false };

  test('is everything while nobody else wants any, and no more than it wants', () => {
    const table = { limits: { concurrency: 8 }, leases: [], nowMs: 0 };
    expect(shareOf(table, { owner: 'a', wanted: 100, ...wish })).toMatchObject({ slots: 8, width: 8, short: true });
    expect(shareOf(table, { owner: 'a', wanted: 3, ...wish })).toMatchObject({ slots: 3, width: 3, short: false });
  });

  test('grows only by what the others have given back', () => {
    const other: Lease = { owner: 'b', wanted: 9, slots: 7, moves: true, bytesPerSecond: 900 };
    const table = { limits: { concurrency: 8, bandwidth: '1KB' }, leases: [other], nowMs: 0 };
    expect(shareOf(table, { owner: 'a', wanted: 9, inUse: 0, moves: true })).toMatchObject({ width: 1, rate: 100 });
    const after = { ...table, leases: [{ ...other, slots: 4, bytesPerSecond: 500 }] };
    expect(shareOf(after, { owner: 'a', wanted: 9, inUse: 0, moves: true })).toMatchObject({ width: 4, rate: 500 });
  });

  test('leaves what is under way alone when the limit is lowered, and lets nothing in until it is done', () => {
    const table = { limits: { concurrency: 2 }, leases: [], nowMs: 0 };
    expect(shareOf(table, { owner: 'a', wanted: 9, inUse: 6, moves: false })).toMatchObject({ slots: 6, width: 2 });
  });

  test('without a limit is without end', () => {
    const table = { limits: {}, leases: [], nowMs: 0 };
    expect(shareOf(table, { owner: 'a', wanted: 9, ...wish })).toMatchObject({ width: null, rate: null, short: false });
  });

  test('over any wishes, renewals and deaths never adds up to more than the limit, and everybody gets a turn', () => {
    const random = new Random(20_261_122);
    for (let round = 0; round < 200; round++) {
      const limits: EndpointLimits = { concurrency: random.between(1, 6), bandwidth: '100KB' };
      let leases: Lease[] = [];
      const had = new Set<string>();
      // Each second everybody renews, in any order; now and then one dies, and begins anew.
      for (let renewal = 0; renewal < 120 * owners.length; renewal++) {
        const owner = owners[(renewal + random.between(0, 1)) % owners.length]!;
        const nowMs = (renewal / owners.length) * 1_000;
        const wanted = random.between(1, 8);
        const share = shareOf({ limits, leases, nowMs }, { owner, wanted, inUse: 0, moves: true });
        if (share.slots > 0) had.add(owner);
        const { slots, bytesPerSecond } = share;
        leases = [
          ...leases.filter((lease) => lease.owner !== owner),
          { owner, wanted, slots, moves: true, bytesPerSecond },
        ];
        if (random.chance(0.02)) leases = leases.slice(1);
        expect(leases.reduce((sum, lease) => sum + lease.slots, 0)).toBeLessThanOrEqual(limits.concurrency!);
        expect(leases.reduce((sum, lease) => sum + lease.bytesPerSecond, 0)).toBeLessThanOrEqual(100_000);
      }
      expect(had.size).toBe(owners.length);
    }
  });
});

describe('a throttle', () => {
  test('keeps to its rate for blocks of any size, and saves up no burst', async () => {
    let nowMs = 0;
    const throttle = createThrottle(() => nowMs);
    throttle.setRate(1_000_000);
    nowMs = 60_000;
    let bytes = 0;
    for (const endMs = nowMs + 10_000; nowMs < endMs; nowMs += 1)
      for (const block of [16_384, 262_144]) {
        // Nobody waits: whoever is not let through at once goes away and comes again.
        const gone = new AbortController();
        const taken = throttle.take(block, gone.signal);
        if (taken === undefined) bytes += block;
        else {
          gone.abort(new Error('gone'));
          await taken.catch(() => undefined);
        }
      }
    expect(bytes).toBeGreaterThan(9_500_000);
    expect(bytes).toBeLessThan(10_000_000 + 262_144 + 100_000);
  });

  test('of nothing lets nothing through until it has a rate', async () => {
    const throttle = createThrottle();
    throttle.setRate(0);
    const taken = throttle.take(10, never);
    expect(throttle.waiting).toBe(true);
    throttle.setRate(null);
    await taken;
    expect(throttle.take(10, never)).toBeUndefined();
  });
});
