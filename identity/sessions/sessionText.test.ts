import { expect, test } from 'vitest';
import { parseApiKeyText } from '../apiKeyText.ts';
import { hashOfSessionText, isSessionText, newSessionText } from './sessionText.ts';

test('a session has the documented form, is no key, and no two are alike', () => {
  const texts = Array.from({ length: 1_000 }, newSessionText);
  expect(new Set(texts).size).toBe(1_000);
  for (const text of texts.slice(0, 20)) {
    expect(text).toMatch(/^wbs_[0-9A-Za-z]{49}$/);
    expect(isSessionText(text)).toBe(true);
    expect(parseApiKeyText(text)).toBeUndefined();
  }
});

test('the checksum is CRC-32 in base 62, so that a session of another version still passes', () => {
  // Computed with Python's binascii.crc32.
  expect(isSessionText(`wbs_${'0'.repeat(43)}49PiPb`)).toBe(true);
});

test('any one changed character is refused, and so is what is cut, longer or padded', () => {
  const text = newSessionText();
  for (let index = 0; index < text.length; index += 1)
    expect(isSessionText(text.slice(0, index) + (text[index] === 'x' ? 'y' : 'x') + text.slice(index + 1))).toBe(false);
  for (const bad of ['', 'wbs_', text.slice(0, -1), `${text}0`, ` ${text}`, `${text}\n`, 'x'.repeat(1_000_000)])
    expect(isSessionText(bad)).toBe(false);
});

test('what is stored of it is its SHA-256', () => {
  expect(hashOfSessionText('wbs_').toString('hex')).toBe(
    'f5713900ec8f3c74555594fc5bd19b836d3f1debd313f3d4bbe95942b2952b3d',
  );
});
