import { afterAll, beforeAll, expect, test } from 'vitest';
import { printTime, readTime, readTokenTime } from './times.ts';

// Half an hour beside all others, and with a summer time: whoever reads the machine's own time is found out.
const zone = process.env.TZ;
beforeAll(() => {
  process.env.TZ = 'Australia/Lord_Howe';
  expect(new Date('2026-03-04T05:06:07Z').getTimezoneOffset()).toBe(-660);
});
afterAll(() => {
  if (zone === undefined) delete process.env.TZ;
  else process.env.TZ = zone;
});

test('times are those of UTC, wherever the machine stands', () => {
  const at = Date.UTC(2026, 2, 4, 5, 6, 7);
  expect(printTime(new Date(at))).toBe('03/04/2026 05:06:07');
  expect(readTime('03/04/2026 05:06:07')).toBe(at);
  // An hour that summer time leaves out there.
  expect(readTime('10/04/2026 02:15:00')).toBe(Date.UTC(2026, 9, 4, 2, 15));
});

test.each<[string, string]>([
  ['10/04/2013 11:05 PM', '2013-10-04T23:05:00Z'],
  ['10/04/2013 1:05 AM', '2013-10-04T01:05:00Z'],
  ['10/04/2013 12:00 AM', '2013-10-04T00:00:00Z'],
  ['10/04/2013 12:00 PM', '2013-10-04T12:00:00Z'],
  ['10/04/2013 11:05:11', '2013-10-04T11:05:11Z'],
  ['02/29/2024 00:00:00', '2024-02-29T00:00:00Z'],
])('a token’s %s is %s', (text, moment) => {
  expect(readTokenTime(text)).toBe(Date.parse(moment));
});

test.each([
  '13/04/2026 05:06:07',
  '02/29/2026 05:06:07',
  '3/4/2026 05:06:07',
  '03/04/26 05:06:07',
  '03/04/2026 24:00:00',
  '03/04/2026 05:60:07',
  '03/04/2026 05:06:60',
  '03/04/2026 05:06:07Z',
  ' 03/04/2026 05:06:07',
  '03/04/2026 0:06 PM',
  '03/04/2026 13:06 PM',
  '03/04/2026 5:06 pm',
])('%j is no time', (text) => {
  expect(readTokenTime(text)).toBeUndefined();
});
