import { createHash } from 'node:crypto';
import {
  checksumCharacters,
  digitsOf,
  hasChecksum,
  randomDigits,
  secretBytes,
  secretCharacters,
  withChecksum,
} from '../credentialText.ts';
import type { SecretBox } from '../secrets.ts';

/** What the text of a session begins with: that tells it from a key. */
export const sessionTextPrefix = 'wbs_';
const form = new RegExp(`^${sessionTextPrefix}[0-9A-Za-z]{${secretCharacters + checksumCharacters}}$`);

/** A new random text of 256 bits: `wbs_<43 base62><6 base62 of CRC32>`. */
export function newSessionText(): string {
  return withChecksum(sessionTextPrefix + randomDigits(secretBytes, secretCharacters));
}

/** The text of a session that is given out again: the same for the same row, and told by nobody without the tenant's key. */
export async function sessionTextOf(secretBox: SecretBox, tenantId: string, sessionId: string): Promise<string> {
  const stamp = await secretBox.stamp(tenantId, sessionId);
  return withChecksum(sessionTextPrefix + digitsOf(stamp, secretCharacters));
}

/** Whether it has the form of a session: what is mistyped, cut or invented never reaches the database. */
export function isSessionText(text: string): boolean {
  return form.test(text) && hasChecksum(text);
}

/** What is stored of it. */
export function hashOfSessionText(text: string): Buffer {
  return createHash('sha256').update(text, 'utf8').digest();
}
