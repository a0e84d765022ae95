import { expect, test } from 'vitest';
import { newTotpSecret, stepOfCode, totpCode, totpUri } from './totp.ts';

/** RFC 6238, appendix B: the ASCII digits 1 to 0 twice, in base32; the last six of its eight digits. */
const secret = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ';
const vectors: Array<[seconds: number, code: string]> = [
  [59, '287082'],
  [1111111109, '081804'],
  [1111111111, '050471'],
  [1234567890, '005924'],
  [2000000000, '279037'],
  [20000000000, '353130'],
];

test.each(vectors)('at %i seconds the code is that of RFC 6238', (seconds, code) => {
  expect(totpCode(secret, Math.floor(seconds / 30))).toBe(code);
});

test('a code is good for its step and those beside it, and never at or before the step that was used last', () => {
  const at = (step: number) => step * 30_000 + 7;
  const code = totpCode(secret, 1000);
  for (const step of [999, 1000, 1001]) expect(stepOfCode(secret, code, at(step), null), `${step}`).toBe(1000);
  for (const step of [998, 1002]) expect(stepOfCode(secret, code, at(step), null), `${step}`).toBeUndefined();
  expect(stepOfCode(secret, code, at(1000), 999)).toBe(1000);
  for (const lastStep of [1000, 1001]) expect(stepOfCode(secret, code, at(1000), lastStep)).toBeUndefined();
});

test.each(['', '28708', '2870821', ' 287082', '٢٨٧٠٨٢', 'abcdef'])('%j is no code', (code) => {
  expect(stepOfCode(secret, code, 59_000, null)).toBeUndefined();
});

test('a new secret has 160 bits in base32, and the URI names it, the tenant and the user', () => {
  const made = newTotpSecret();
  expect(made).toMatch(/^[A-Z2-7]{32}$/);
  expect(newTotpSecret()).not.toBe(made);
  const uri = new URL(totpUri(made, 'acme & co', 'jane'));
  expect(decodeURIComponent(uri.pathname)).toContain('Waybill acme & co:jane');
  expect(uri.searchParams.get('secret')).toBe(made);
  expect(uri.searchParams.get('issuer')).toBe('Waybill acme & co');
});
