import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';

/** What the texts of keys and sessions have in common: digits of base 62, and a checksum that a typing mistake fails. */
const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

export const secretBytes = 32;
/** Digits that 256 bits take. */
export const secretCharacters = 43;
export const checksumCharacters = 6;

/** That many random bytes, as digits. */
export function randomDigits(bytes: number, characters: number): string {
  return digitsOf(randomBytes(bytes), characters);
}

export function digitsOf(bytes: Uint8Array, characters: number): string {
  return base62(BigInt(`0x${Buffer.from(bytes).toString('hex')}`), characters);
}

/** The text with its checksum behind it. */
export function withChecksum(body: string): string {
  return body + checksumOf(body);
}

/** Whether a text ends in the checksum of what is before it. */
export function hasChecksum(text: string): boolean {
  return checksumOf(text.slice(0, -checksumCharacters)) === text.slice(-checksumCharacters);
}

function checksumOf(body: string): string {
  return base62(BigInt(crc32(body)), checksumCharacters);
}

function base62(value: bigint, characters: number): string {
  let text = '';
  for (let rest = value; rest > 0n; rest /= 62n) text = alphabet[Number(rest % 62n)] + text;
  return text.padStart(characters, '0');
}
