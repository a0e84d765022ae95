import { expect, test } from 'vitest';
import { formatBytes, parseSizeBytes, sizePattern } from './quantities.ts';

test.each([
  ['0B', 0],
  ['500B', 500],
  ['10KB', 10_000],
  ['10KiB', 10_240],
  ['5GiB', 5 * 2 ** 30],
  ['4096MB', 4_096_000_000],
  ['2TB', 2_000_000_000_000],
])('the size %s is %d bytes', (text, bytes) => {
  expect(parseSizeBytes(text)).toBe(bytes);
  expect(text).toMatch(new RegExp(sizePattern));
});

test.each(['', '5', 'B', '1kb', '1.5GB', '-1B', '1 GB', '1iB', '99999TB'])('%j is no size', (text) => {
  expect(parseSizeBytes(text)).toBeUndefined();
});

test('sizes beyond 2^32 are told as they are', () => {
  expect(formatBytes(2 ** 32 + 1)).toBe('4.0 GiB');
  expect(formatBytes(2 ** 50)).toBe('1.0 PiB');
});
