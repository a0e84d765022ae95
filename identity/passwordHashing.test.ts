import { expect, test } from 'vitest';
import { createPasswordHashing, noPassword } from './passwordHashing.ts';

const hashing = createPasswordHashing(2);

test('a hash is argon2id with a salt of its own, and only its password matches it', async () => {
  const [one, other] = await Promise.all([hashing.hash('correct horse'), hashing.hash('correct horse')]);
  expect(one).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
  expect(other).not.toBe(one);
  expect(await hashing.matches(one!, 'correct horse')).toBe(true);
  expect(await hashing.matches(one!, 'Correct horse')).toBe(false);
});

test('nothing matches where there is no hash', async () => {
  for (const stored of [null, noPassword]) expect(await hashing.matches(stored, '*')).toBe(false);
});

test('where there is no hash the processor works as much as for a wrong password', async () => {
  const stored = await hashing.hash('correct horse');
  const workOf = async (compared: string | null) => {
    const before = process.cpuUsage();
    for (let turn = 0; turn < 8; turn++) await hashing.matches(compared, 'wrong');
    const { user, system } = process.cpuUsage(before);
    return user + system;
  };
  const wrong = await workOf(stored);
  // The processor's time, which other work on the machine does not stretch; far apart, since only its absence is meant.
  for (const none of [null, noPassword]) expect(await workOf(none)).toBeGreaterThan(wrong / 3);
});

test('a hash of other parameters is outdated', async () => {
  const now = await hashing.hash('correct horse');
  expect(hashing.isOutdated(now)).toBe(false);
  for (const [today, before] of [
    ['argon2id', 'argon2i'],
    ['m=19456', 'm=9216'],
    ['t=2', 't=3'],
  ] as const)
    expect(hashing.isOutdated(now.replace(today, before)), before).toBe(true);
});

test('of a crowd two are computed together and a hundred wait; who comes then is told to come again, and the next is served', async () => {
  const crowd = await Promise.allSettled(Array.from({ length: 105 }, () => hashing.matches(null, 'x')));
  const refused = crowd.filter((one) => one.status === 'rejected');
  expect(refused).toHaveLength(3);
  expect(refused[0]!.reason).toMatchObject({ kind: 'rate-limited', context: { retryAfterMs: expect.any(Number) } });
  expect(await hashing.matches(null, 'x')).toBe(false);
});
