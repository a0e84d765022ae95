import {
  checksumCharacters,
  hasChecksum,
  randomDigits,
  secretBytes,
  secretCharacters,
  withChecksum,
} from './credentialText.ts';

const keyIdBytes = 9;
const keyIdCharacters = 13;
const form = new RegExp(
  `^wb_[a-z]{1,16}_(?<keyId>[0-9A-Za-z]{${keyIdCharacters}})_[0-9A-Za-z]{${secretCharacters + checksumCharacters}}$`,
);

export interface ApiKeyText {
  /** `wb_<environment>_<keyid>_<43 base62><6 base62 of CRC32>`: recognisable by secret scanners, checkable offline. */
  text: string;
  keyId: string;
}

/** A new random key of 256 bits. `environment` is for people and scanners: `live`, `dev`. */
export function newApiKeyText(environment: string): ApiKeyText {
  const keyId = randomDigits(keyIdBytes, keyIdCharacters);
  return { text: withChecksum(`wb_${environment}_${keyId}_${randomDigits(secretBytes, secretCharacters)}`), keyId };
}

/** The key id of a well-formed key, or undefined: mistyped, cut and invented ones never reach the database. */
export function parseApiKeyText(text: string): { keyId: string } | undefined {
  const found = form.exec(text)?.groups;
  return found && hasChecksum(text) ? { keyId: found.keyId! } : undefined;
}
