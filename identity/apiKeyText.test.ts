import { expect, test } from 'vitest';
import { newApiKeyText, parseApiKeyText } from './apiKeyText.ts';

test('a key has the documented form and is read back', () => {
  const { text, keyId } = newApiKeyText('dev');
  expect(text).toMatch(/^wb_dev_[0-9A-Za-z]{13}_[0-9A-Za-z]{49}$/);
  expect(parseApiKeyText(text)).toEqual({ keyId });
});

test('the checksum is CRC-32 in base 62, so that a key of another version still passes', () => {
  // Computed with Python's binascii.crc32.
  expect(parseApiKeyText(`wb_live_0000000000001_${'0'.repeat(43)}30JivP`)).toEqual({ keyId: '0000000000001' });
});

test('any one changed character is refused', () => {
  const { text } = newApiKeyText('live');
  for (let index = 0; index < text.length; index += 1) {
    const changed = text.slice(0, index) + (text[index] === 'x' ? 'y' : 'x') + text.slice(index + 1);
    expect(parseApiKeyText(changed), `character ${index}`).toBeUndefined();
  }
});

test('what is cut, longer, padded or nothing like a key is refused', () => {
  const { text } = newApiKeyText('live');
  for (const bad of [
    '',
    ' ',
    'wb_',
    text.slice(0, -1),
    `${text}0`,
    ` ${text}`,
    `${text}\n`,
    text.toUpperCase(),
    'x'.repeat(1_000_000),
  ]) {
    expect(parseApiKeyText(bad)).toBeUndefined();
  }
});

test('no two keys are alike', () => {
  const keys = Array.from({ length: 1000 }, () => newApiKeyText('live'));
  expect(new Set(keys.map(({ text }) => text)).size).toBe(1000);
  expect(new Set(keys.map(({ keyId }) => keyId)).size).toBe(1000);
});
