import { createCipheriv } from 'node:crypto';
import { expect, test } from 'vitest';
import { maxLegacyCharacters, openLegacy, readBase64, readLegacyText, sealLegacy } from './legacyCipher.ts';

// Fixed: one wrong key in some ten thousand makes a text of a block.
const key = { key: Buffer.alloc(32, 1), iv: Buffer.alloc(16, 2) };
const read = (text: string) => (text === 'decoy' || text.startsWith('good') ? text : undefined);
const open = (bytes: Buffer) => openLegacy([key], bytes, read, 'decoy')?.content;
const sealRaw = (plain: Buffer) => {
  const cipher = createCipheriv('aes-256-cbc', key.key, key.iv).setAutoPadding(false);
  return Buffer.concat([cipher.update(plain), cipher.final()]);
};

test('a text of any length comes back, its padding 1 to 16 bytes', () => {
  for (let length = 0; length <= 40; length++) {
    const text = `good${'x'.repeat(length)}`;
    expect(open(readLegacyText(sealLegacy(key, text))!)).toBe(text);
  }
});

test('every wrong padding is refused: 0, more than a block, and one byte of it that differs', () => {
  const block = (bytes: number[]) =>
    Buffer.concat([Buffer.from('good'), Buffer.alloc(12 - bytes.length, 0x20), Buffer.from(bytes)]);
  expect(open(sealRaw(block([3, 3, 3])))).toBe('good         ');
  for (const wrong of [[0], [17], [255], [3, 2, 3], [1, 3, 3], [2, 3], [16], [12]])
    expect(open(sealRaw(block(wrong))), wrong.join()).toBeUndefined();
});

test('what is no text is never taken for the decoy that is read in its place', () => {
  expect(open(sealRaw(Buffer.from([0xff, 0xfe, ...Array(13).fill(0xff), 1])))).toBeUndefined();
  expect(open(sealRaw(Buffer.alloc(16, 0xc3)))).toBeUndefined();
});

test('every key reads a text and, when that fails, the decoy: as much with a wrong key as with a right one', () => {
  const reads: number[] = [];
  const keys = [key, { key: Buffer.alloc(32, 3), iv: key.iv }];
  for (const plain of ['good', 'bad!'].map((text) => readLegacyText(sealLegacy(key, text))!)) {
    let count = 0;
    const counted = (text: string) => {
      count++;
      return read(text);
    };
    openLegacy(keys, plain, counted, 'decoy');
    reads.push(count);
  }
  // The wrong key reads the decoy alone, in place of what is no text; the right one the text, and then the decoy if it has to.
  expect(reads).toEqual([2, 3]);
});

test('a text has one form, but for spaces that were + and line breaks', () => {
  const bytes = Buffer.alloc(16, 0xfb);
  const text = bytes.toString('base64');
  expect(text).toContain('+');
  for (const same of [text, text.replaceAll('+', ' '), text.replace(/.{8}/g, '$&\r\n')])
    expect(readLegacyText(same)).toEqual(bytes);
  const spareBits = `${text.slice(0, -3)}${text.at(-3) === 'x' ? 'y' : 'x'}==`;
  for (const other of [
    '',
    '=',
    text.slice(0, -1),
    text.slice(0, -2),
    `${text}=`,
    spareBits,
    text.replaceAll('+', '-'),
    `${text}\t`,
  ])
    expect(readLegacyText(other), other).toBeUndefined();
  expect(readLegacyText(Buffer.alloc(3_072).toString('base64'))).toHaveLength(3_072);
  expect(readLegacyText('A'.repeat(maxLegacyCharacters + 4))).toBeUndefined();
});

test('a key may lack its padding, and have bits too many in its last character', () => {
  expect(readBase64('AFA3wdfEuCrdFw8QaHFzN6LRXaBoCTHxcWnqNImp7g3=')).toHaveLength(32);
  expect(readBase64('JHnmhMkTjkl8fHqYx/l7bA')).toHaveLength(16);
  for (const wrong of ['A', 'AAAAA', 'AA-A', 'AA A', 'A=AA']) expect(readBase64(wrong), wrong).toBeUndefined();
});
