import { CompactEncrypt, compactDecrypt, decodeProtectedHeader } from 'jose';

/** Of a version 2 ticket or token as it is sent. */
const maxSealedCharacters = 4_096;
const maxIdentifierCharacters = 128;
/** `exp` may be so far ahead: our window, for a clock that is ahead by as much. */
export const maxSealedLifeMs = 10 * 60_000;
const form = /^[A-Za-z0-9_-]+\.\.[A-Za-z0-9_-]{16}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{22}$/;

export interface SealedClaims {
  jti: string;
  aud: string;
  /** Seconds. */
  exp: number;
  [claim: string]: unknown;
}

/** Whether the text has the form of version 2, a JWE in five parts: a base64 text has no dot. */
export function isSealed(text: string): boolean {
  return text.includes('.');
}

/** The `kid` of a JWE of our profile, or undefined. Nothing is proven by it. */
export function readKeyId(text: string): string | undefined {
  if (text.length > maxSealedCharacters || !form.test(text) || !text.split('.').every(isCanonical)) return undefined;
  try {
    const { alg, enc, kid, typ, ...others } = decodeProtectedHeader(text);
    if (alg !== 'dir' || enc !== 'A256GCM' || Object.keys(others).length > 0) return undefined;
    return (typ === undefined || typ === 'JWT') && typeof kid === 'string' ? kid : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The claims of a JWE (`dir`, `A256GCM`) under that key, or undefined: not the key's, changed, not JSON, or without
 * `jti`, `aud` and `exp`. They are not yet compared with site and time.
 */
export async function openSealed(key: Uint8Array, text: string): Promise<SealedClaims | undefined> {
  try {
    const { plaintext } = await compactDecrypt(text, key, {
      keyManagementAlgorithms: ['dir'],
      contentEncryptionAlgorithms: ['A256GCM'],
    });
    const claims: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(plaintext));
    return isClaims(claims) ? claims : undefined;
  } catch {
    return undefined;
  }
}

export async function seal(key: Uint8Array, kid: string, claims: SealedClaims): Promise<string> {
  return new CompactEncrypt(new TextEncoder().encode(JSON.stringify(claims)))
    .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid })
    .encrypt(key);
}

/** `aud` of tickets and tokens for a site. */
export function audienceOf(site: string): string {
  return `waybill/${site}`;
}

/** Bits that nothing reads in the last character would make two texts of one ticket. */
function isCanonical(part: string): boolean {
  return Buffer.from(part, 'base64url').toString('base64url') === part;
}

function isClaims(claims: unknown): claims is SealedClaims {
  if (typeof claims !== 'object' || claims === null) return false;
  const { jti, aud, exp } = claims as Record<string, unknown>;
  return (
    typeof jti === 'string' &&
    jti.length >= 1 &&
    jti.length <= maxIdentifierCharacters &&
    typeof aud === 'string' &&
    typeof exp === 'number' &&
    Number.isFinite(exp)
  );
}
