import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';

const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const secretBytes = 32;
const secretCharacters = 43;
const keyIdBytes = 9;
const keyIdCharacters = 13;
const checksumCharacters = 6;
const form = new RegExp(
  `^wb_[a-z]{1,16}_(?<keyId>[0-9A-Za-z]{${keyIdCharacters}})_[0-9A-Za-z]{${secretCharacters}}(?<checksum>[0-9A-Za-z]{${checksumCharacters}})$`,
);

export interface ApiKeyText {
  /** `wb_<environment>_<keyid>_<43 base62><6 base62 of CRC32>`: recognisable by secret scanners, checkable offline. */
  text: string;
  keyId: string;
}

/** A new random key of 256 bits. `environment` is for people and scanners: `live`, `dev`. */
export function newApiKeyText(environment: string): ApiKeyText {
  const keyId = base62(BigInt(`0x${randomBytes(keyIdBytes).toString('hex')}`), keyIdCharacters);
  const secret = base62(BigInt(`0x${randomBytes(secretBytes).toString('hex')}`), secretCharacters);
  const body = `wb_${environment}_${keyId}_${secret}`;
  return { text: body + checksumOf(body), keyId };
}

/** The key id of a well-formed key, or undefined: mistyped, cut and invented ones never reach the database. */
export function parseApiKeyText(text: string): { keyId: string } | undefined {
  const found = form.exec(text)?.groups;
  if (!found || checksumOf(text.slice(0, -checksumCharacters)) !== found.checksum) return undefined;
  return { keyId: found.keyId! };
}

function checksumOf(body: string): string {
  return base62(BigInt(crc32(body)), checksumCharacters);
}

function base62(value: bigint, characters: number): string {
  let text = '';
  for (let rest = value; rest > 0n; rest /= 62n) text = alphabet[Number(rest % 62n)] + text;
  return text.padStart(characters, '0');
}
