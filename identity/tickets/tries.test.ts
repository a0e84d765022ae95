import { expect, test } from 'vitest';
import { createTries } from './tries.ts';

test('what has ended while the room was asked for is asked for again: it may have taken the last place', async () => {
  const tries = createTries();
  const [firstEnds, oldAnswer] = [Promise.withResolvers<void>(), Promise.withResolvers<number>()];
  const first = tries.take(
    'place',
    async () => 1,
    () => firstEnds.promise,
  );
  let asked = 0;
  const second = tries.take(
    'place',
    async () => {
      if (++asked === 1) return oldAnswer.promise;
      throw new Error('no room');
    },
    async () => 'looked at',
  );
  firstEnds.resolve();
  await first;
  oldAnswer.resolve(1);
  await expect(second).rejects.toThrow('no room');
});

test('those that wait go on when there is room again for all of them, and those of another place never wait', async () => {
  const tries = createTries();
  const ends = Promise.withResolvers<void>();
  let room = 1;
  const take = (place: string) =>
    tries.take(
      place,
      async () => room,
      async () => {
        await (place === 'busy' ? ends.promise : undefined);
        return place;
      },
    );
  const busy = Array.from({ length: 10 }, () => take('busy'));
  expect(await take('free')).toBe('free');
  room = 10;
  ends.resolve();
  expect(await Promise.all(busy)).toEqual(Array(10).fill('busy'));
});
