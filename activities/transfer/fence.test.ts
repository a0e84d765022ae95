import { expect, test, vi } from 'vitest';
import { createFence } from './fence.ts';

test('a claim that was renewed a moment ago is not asked for', () => {
  const renew = vi.fn(async () => true);
  expect(createFence({ leaseMs: 60_000, renew }).pass()).toBeUndefined();
  expect(renew).not.toHaveBeenCalled();
});

test('after an absence nothing passes before the claim is confirmed, and then everything does', async () => {
  const clocks = standStill();
  let confirm = (_held: boolean) => {};
  const fence = createFence({
    leaseMs: 60_000,
    renew: () =>
      new Promise((resolve) => {
        confirm = resolve;
      }),
  });
  clocks.forward(6_000);
  let passed = 0;
  const waiting = [fence.pass(), fence.pass()].map((pass) => pass!.then(() => passed++));
  // A checkpoint that was asked for before the absence says nothing of what happened in it.
  fence.renewed(0);
  expect(fence.pass()).toBeInstanceOf(Promise);
  expect(passed).toBe(0);
  confirm(true);
  await Promise.all(waiting);
  expect(fence.pass()).toBeUndefined();
  clocks.restore();
});

test('a confirmation that was on its way during another absence is asked for again', async () => {
  const clocks = standStill();
  let renewals = 0;
  const held = [true, false];
  const fence = createFence({
    leaseMs: 60_000,
    async renew() {
      const answer = held[renewals++]!;
      clocks.forward(6_000);
      // The pulse may be the first to notice.
      if (renewals === 1) fence.look();
      return answer;
    },
  });
  clocks.forward(6_000);
  await expect(fence.pass()).rejects.toMatchObject({ context: { leaseLost: true } });
  expect(renewals).toBe(2);
  clocks.restore();
});

test('a database that takes long to answer is no absence', async () => {
  vi.useFakeTimers();
  const renew = vi.fn(async () => {
    vi.advanceTimersByTime(9_000);
    return true;
  });
  const fence = createFence({ leaseMs: 60_000, renew });
  vi.setSystemTime(Date.now() + 6_000);
  await fence.pass();
  expect(renew).toHaveBeenCalledTimes(1);
  vi.useRealTimers();
});

test('a lease that no renewal can be quick enough for does not keep a copy waiting', async () => {
  const clocks = standStill();
  const renew = vi.fn(async () => {
    clocks.forward(10);
    return true;
  });
  const fence = createFence({ leaseMs: 1, renew });
  clocks.forward(10);
  await fence.pass();
  expect(renew).toHaveBeenCalledTimes(3);
  clocks.restore();
});

test('a pulse that looks first does not hide the absence', () => {
  const clocks = standStill();
  const fence = createFence({ leaseMs: 60_000, renew: async () => true });
  clocks.forward(6_000);
  fence.look();
  expect(fence.pass()).toBeInstanceOf(Promise);
  clocks.restore();
});

test('a machine that slept, whose monotonic clock stood still, asks too', () => {
  const clocks = standStill();
  const fence = createFence({ leaseMs: 60_000, renew: async () => true });
  clocks.forward(6_000, 'wall');
  expect(fence.pass()).toBeInstanceOf(Promise);
  clocks.restore();
});

test('a claim that nobody could renew for most of its lease is confirmed, however busy the process was', () => {
  const clocks = standStill();
  const fence = createFence({ leaseMs: 60_000, renew: async () => true });
  for (let second = 0; second < 44; second++) {
    clocks.forward(1_000);
    expect(fence.pass()).toBeUndefined();
  }
  clocks.forward(1_000);
  expect(fence.pass()).toBeInstanceOf(Promise);
  clocks.restore();
});

test('a claim that is lost stops the copy', async () => {
  const clocks = standStill();
  const fence = createFence({ leaseMs: 60_000, renew: async () => false });
  clocks.forward(6_000);
  await expect(fence.pass()).rejects.toMatchObject({ kind: 'conflict', context: { leaseLost: true } });
  clocks.restore();
});

function standStill() {
  let monotonicMs = 1_000;
  let wallMs = 1_700_000_000_000;
  const spies = [
    vi.spyOn(performance, 'now').mockImplementation(() => monotonicMs),
    vi.spyOn(Date, 'now').mockImplementation(() => wallMs),
  ];
  return {
    forward(byMs: number, only?: 'wall') {
      if (only === undefined) monotonicMs += byMs;
      wallMs += byMs;
    },
    restore() {
      for (const spy of spies) spy.mockRestore();
    },
  };
}
