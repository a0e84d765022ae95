import { setImmediate as nextTurn } from 'node:timers/promises';

/**
 * Lets those who come together begin one after the other, in the order in which they came, each in a turn of the event loop
 * of its own: whatever is under way goes on in between, and does not stand in line behind a crowd.
 */
export function createTurnstile(): () => Promise<void> {
  let last: Promise<void> = Promise.resolve();
  return () => {
    last = last.then(() => nextTurn());
    return last;
  };
}
