import { expect, test } from 'vitest';
import { isSameVersion, isTemporaryName, temporaryPath } from './temporary.ts';

const version = { size: 3, modified: '2026-01-02T03:04:05.000Z' };

test('a file is the same version when size, modified time and etag agree', () => {
  expect(isSameVersion(version, { ...version })).toBe(true);
  expect(isSameVersion({ ...version, size: 4 }, version)).toBe(false);
  expect(isSameVersion({ ...version, modified: '2026-01-02T03:04:06.000Z' }, version)).toBe(false);
  expect(isSameVersion({ ...version, etag: 'a' }, { ...version, etag: 'b' })).toBe(false);
});

test('what one side does not know is no evidence of change, but the size still is', () => {
  expect(isSameVersion({ ...version, modified: null }, version)).toBe(true);
  expect(isSameVersion({ ...version, etag: 'a' }, version)).toBe(true);
  expect(isSameVersion({ size: 4, modified: null }, version)).toBe(false);
});

test('the temporary file is beside the target, and a folder has none', () => {
  expect(temporaryPath('/in/a.csv', 'dlv_1')).toBe('/in/.waybill-dlv_1.part');
  expect(temporaryPath('/a.csv', 'dlv_1')).toBe('/.waybill-dlv_1.part');
  expect(() => temporaryPath('/in/', 'dlv_1')).toThrow(/is a folder/);
  expect(() => temporaryPath('/in/../a.csv', 'dlv_1')).toThrow(/segment/);
});

test('only our own temporary files are swept', () => {
  expect(['.waybill-dlv_1.part', '.waybill-notes.txt', 'waybill-x.part', 'x.part'].map(isTemporaryName)).toEqual([
    true,
    false,
    false,
    false,
  ]);
});
