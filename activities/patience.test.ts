import { expect, test } from 'vitest';
import { patienceOf } from './patience.ts';

test('patience counts from when the activity was scheduled', () => {
  expect(patienceOf({ scheduledTimestampMs: 1000, heartbeatDetails: undefined }, () => undefined).sinceMs()).toBe(1000);
});

test('a file that has been delivered starts it again; bytes do not', () => {
  let nowMs = 5000;
  const said: unknown[] = [];
  const patience = patienceOf(
    { scheduledTimestampMs: 1000, heartbeatDetails: null },
    (details) => said.push(details),
    () => nowMs,
  );
  patience.heartbeat({ files: 0, bytes: 900 });
  expect(patience.sinceMs()).toBe(1000);
  patience.heartbeat({ files: 1, bytes: 900 });
  nowMs = 9000;
  patience.heartbeat({ files: 1, bytes: 1800 });
  expect(patience.sinceMs()).toBe(5000);
  expect(said.at(-1)).toEqual({ files: 1, bytes: 1800, progressAtMs: 5000, failures: 0 });
});

test('the next attempt counts from the progress of the one before', () => {
  const heartbeatDetails = { files: 3, bytes: 30, progressAtMs: 7000 };
  const patience = patienceOf(
    { scheduledTimestampMs: 1000, heartbeatDetails },
    () => undefined,
    () => 9000,
  );
  patience.heartbeat({ files: 0, bytes: 0 });
  expect(patience.sinceMs()).toBe(7000);
});

test('an attempt counts when it has failed, and not when its worker died', () => {
  let said: unknown;
  const next = (heartbeatDetails: unknown) =>
    patienceOf({ scheduledTimestampMs: 1000, heartbeatDetails }, (details) => {
      said = details;
    });
  const first = next(undefined);
  first.heartbeat({ files: 0 });
  expect(first.attempt()).toBe(1);
  const afterDeath = next(said);
  expect(afterDeath.attempt()).toBe(1);
  afterDeath.heartbeat({ files: 0 });
  afterDeath.failed();
  expect(next(said).attempt()).toBe(2);
});

test('a large file that got further at its target gives back patience and attempts', () => {
  const patience = patienceOf(
    { scheduledTimestampMs: 1000, heartbeatDetails: { failures: 2 } },
    () => undefined,
    () => 9000,
  );
  patience.heartbeat({ files: 0, bytes: 63 * 1024 * 1024, kept: 63 * 1024 * 1024 });
  expect([patience.attempt(), patience.sinceMs()]).toEqual([3, 1000]);
  patience.heartbeat({ files: 0, bytes: 64 * 1024 * 1024, kept: 64 * 1024 * 1024 });
  expect([patience.attempt(), patience.sinceMs()]).toEqual([1, 9000]);
});
