/**
 * The only place that opens AES-256-CBC. Nothing protects such a text from being changed, and a difference between its
 * errors, in words or in time, would tell whoever changes it what it holds: here is one way through for all of them.
 */
import { isUtf8 } from 'node:buffer';
import { createCipheriv, createDecipheriv } from 'node:crypto';

const blockBytes = 16;
/** Of a ticket or token as it is sent; the longest that the forms allow are half of it. */
export const maxLegacyCharacters = 4_096;

export interface LegacyKey {
  /** 32 bytes. */
  key: Buffer;
  /** 16 bytes. */
  iv: Buffer;
}

/**
 * The bytes of a ticket or token as it is sent, or undefined when it is longer than any, has another form, or is not made
 * of whole blocks. A `+` that a URL turned into a space is repaired and line breaks are let pass; beyond that one text
 * stands for one ciphertext, so that a changed or cut one is never taken for another way to write it.
 */
export function readLegacyText(text: string): Buffer | undefined {
  if (text.length > maxLegacyCharacters) return undefined;
  const repaired = text.replace(/\r?\n/g, '').replaceAll(' ', '+');
  const bytes = readBase64(repaired);
  if (bytes === undefined || bytes.length === 0 || bytes.length % blockBytes !== 0) return undefined;
  return bytes.toString('base64') === repaired ? bytes : undefined;
}

/** The bytes of base64, with its padding or without, and whatever bits nothing reads in the last character: keys come so. */
export function readBase64(text: string): Buffer | undefined {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return undefined;
  const digits = text.replace(/=+$/, '');
  // One digit over holds six bits: no byte.
  return digits.length % 4 === 1 ? undefined : Buffer.from(digits, 'base64');
}

/**
 * What the first of the keys that opens the text says, and which key that was. All keys are tried, and each goes the whole
 * way: decrypted, its padding compared without an early end, its bytes checked for UTF-8, and read. Where one of these
 * fails `decoy`, a text that can be read, is read too, so that a failure does the work of a success.
 */
export function openLegacy<Key extends LegacyKey, Content>(
  keys: readonly Key[],
  bytes: Buffer,
  read: (text: string) => Content | undefined,
  decoy: string,
): { key: Key; content: Content } | undefined {
  let opened: { key: Key; content: Content } | undefined;
  for (const key of keys) {
    const { plain, padded } = decrypt(key, bytes);
    const isText = isUtf8(plain);
    const content = read(isText ? plain.toString('utf8') : decoy);
    if (content === undefined) read(decoy);
    else if (padded && isText) opened ??= { key, content };
  }
  return opened;
}

export function sealLegacy({ key, iv }: LegacyKey, text: string): string {
  const cipher = createCipheriv('aes-256-cbc', key, iv);
  return Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]).toString('base64');
}

function decrypt({ key, iv }: LegacyKey, bytes: Buffer): { plain: Buffer; padded: boolean } {
  const decipher = createDecipheriv('aes-256-cbc', key, iv);
  // Node's own check of the padding throws, which takes longer than not to throw.
  decipher.setAutoPadding(false);
  const padded = Buffer.concat([decipher.update(bytes), decipher.final()]);
  const length = padded[padded.length - 1]!;
  let different = Number(length === 0) | Number(length > blockBytes);
  for (let at = 1; at <= blockBytes; at++)
    different |= Number(at <= length) & Number(padded[padded.length - at]! !== length);
  return { plain: padded.subarray(0, padded.length - (different === 0 ? length : 1)), padded: different === 0 };
}
