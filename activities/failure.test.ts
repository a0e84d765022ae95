import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { expect, test } from 'vitest';
import { type ErrorKind, WaybillError } from '../schema/errors.ts';
import type { RetryPolicy } from '../schema/plan.ts';
import { mayRetry, toApplicationFailure } from './failure.ts';

const policy: RetryPolicy = {
  forMs: 60_000,
  attempts: 5,
  firstMs: 1_000,
  factor: 2,
  maxMs: 5_000,
  jitter: 0.2,
  notOn: ['timeout'],
};
const failureOf = (error: unknown, terms: Partial<Parameters<typeof toApplicationFailure>[1]> = {}) =>
  toApplicationFailure(error, {
    policy,
    attempt: 1,
    startedAtMs: 0,
    nowMs: 0,
    random: () => 0.5,
    ...terms,
  }) as ApplicationFailure;
const fault = (kind: ErrorKind, context = {}) => new WaybillError(kind, 'it broke', context);

test('the type is the kind, and the message says place, what happened and what to do', () => {
  const failure = failureOf(
    fault('forbidden', { endpoint: 'acme-sftp', path: '/out/a.csv', cause: new Error('secret') }),
  );
  expect(failure).toBeInstanceOf(ApplicationFailure);
  expect(failure.type).toBe('forbidden');
  expect(failure.message).toBe(
    'forbidden: acme-sftp /out/a.csv: it broke. Ask the owner of the endpoint for the missing right.',
  );
  expect(failure.details).toEqual([
    {
      kind: 'forbidden',
      message: 'acme-sftp /out/a.csv: it broke',
      step: null,
      endpoint: 'acme-sftp',
      path: '/out/a.csv',
    },
  ]);
  expect(JSON.stringify([failure.message, failure.details, failure.cause])).not.toContain('secret');
});

test('an error that knows better than its kind what to do says so', () => {
  const failure = failureOf(fault('unauthenticated', { advice: 'Give its authority as the secret `ca`.' }));
  expect(failure.message).toBe('unauthenticated: it broke. Give its authority as the secret `ca`.');
});

test('permanent kinds, kinds the step names and the last attempt are not retried', () => {
  expect(failureOf(fault('integrity')).nonRetryable).toBe(true);
  expect(failureOf(fault('timeout')).nonRetryable).toBe(true);
  expect(failureOf(fault('unavailable')).nonRetryable).toBe(false);
  expect(failureOf(fault('unavailable'), { attempt: 5 }).nonRetryable).toBe(true);
  expect(mayRetry(fault('unavailable'), { ...policy, attempts: null }, 1_000)).toBe(true);
});

test('no further attempt begins after the step has run out of patience', () => {
  expect(failureOf(fault('unavailable'), { nowMs: 58_000 }).nonRetryable).toBe(false);
  expect(failureOf(fault('unavailable'), { nowMs: 59_500 }).nonRetryable).toBe(true);
});

test('the delay grows, is capped, spread, and never shorter than the server asked for', () => {
  const delay = (attempt: number, random = 0.5, context = {}) =>
    failureOf(fault('unavailable', context), { policy: { ...policy, attempts: null }, attempt, random: () => random })
      .nextRetryDelay;
  expect([1, 2, 3, 4, 50].map((attempt) => delay(attempt))).toEqual([1_000, 2_000, 4_000, 5_000, 5_000]);
  expect([delay(1, 0), delay(1, 1)]).toEqual([800, 1_200]);
  expect(delay(1, 0.5, { retryAfterMs: 30_000 })).toBe(30_000);
});

test('a cancellation stays one, and what nobody foresaw is internal', () => {
  expect(failureOf(new WaybillError('cancelled', 'cancelled'))).toBeInstanceOf(CancelledFailure);
  expect(failureOf(new DOMException('aborted', 'AbortError'))).toBeInstanceOf(CancelledFailure);
  const failure = failureOf(new TypeError('x is not a function'));
  expect([failure.type, failure.nonRetryable]).toEqual(['internal', false]);
});
