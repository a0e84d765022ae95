import { expect, test } from 'vitest';
import { createTurnstile } from './turnstile.ts';

test('of a crowd each begins in a turn of its own, in order, and who has nothing to do with it goes on in between', async () => {
  const pass = createTurnstile();
  const happened: string[] = [];
  const crowd = ['a', 'b', 'c'].map((name) => pass().then(() => happened.push(name)));
  let isOver = false;
  const other = (async () => {
    while (!isOver) {
      await new Promise(setImmediate);
      happened.push('other');
    }
  })();
  await Promise.all(crowd);
  isOver = true;
  await other;
  expect(happened.filter((name) => name !== 'other')).toEqual(['a', 'b', 'c']);
  expect(happened.join(' ')).toMatch(/a other.* b other.* c/);
});
