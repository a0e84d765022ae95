import { describe, expect, test } from 'vitest';
import { actions, defaultRetry, findAction, isIdempotent } from './actions.ts';
import { errorKinds } from './errors.ts';

const request = findAction('http.request@1')!;
const notify = findAction('notify.send@1')!;

describe('trying again', () => {
  test.each(['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', undefined])(
    '%s is asked again as patiently as a transfer',
    (method) => {
      const input = method === undefined ? {} : { method };
      expect(isIdempotent(request, input)).toBe(true);
      expect(defaultRetry(request, input)).toMatchObject({ attempts: null, forMs: 12 * 3_600_000 });
    },
  );

  test.each(['POST', 'PATCH', '${{ inputs.method }}', 7])('%s gets one attempt', (method) => {
    expect(isIdempotent(request, { method })).toBe(false);
    expect(defaultRetry(request, { method })).toMatchObject({ attempts: 1 });
  });

  test('a message is tried again, and known to arrive twice', () => {
    expect(isIdempotent(notify, {})).toBe(false);
    expect(defaultRetry(notify, {})).toMatchObject({ attempts: null, forMs: 3_600_000 });
  });
});

describe('every manifest', () => {
  test.each(actions.map((action) => [action.use, action] as const))(
    '%s says what it is, what it takes and how it fails',
    (use, action) => {
      expect(use).toMatch(/^[a-z]+\.[a-zA-Z]+@\d+$/);
      expect(action.summary).toMatch(/\.$/);
      expect(action.input).toMatchObject({ additionalProperties: false });
      expect(
        Object.entries(action.input.properties).filter(([, field]) => !(field as { description?: string }).description),
      ).toEqual([]);
      expect(action.errorKinds.filter((kind) => !(kind in errorKinds))).toEqual([]);
      expect(new Set(action.errorKinds).size).toBe(action.errorKinds.length);
      expect(action.retry.notOn.every((kind) => kind in errorKinds)).toBe(true);
    },
  );
});
