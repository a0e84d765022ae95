import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

/** RFC 6238 with what every authenticator app takes: SHA-1, six digits, thirty seconds. */
const digits = 6;
const stepMs = 30_000;
/** Steps before and after the present one whose code is good as well: clocks differ. */
const windowSteps = 1;
/** RFC 4226 recommends 160 bits. */
const secretBytes = 20;
const issuer = 'Waybill';

/** A new secret of an authenticator, in the base32 that people type. */
export function newTotpSecret(): string {
  return base32Of(randomBytes(secretBytes));
}

/** What an authenticator app reads from a QR code. It holds the secret. */
export function totpUri(secret: string, tenantName: string, userName: string): string {
  const label = encodeURIComponent(`${issuer} ${tenantName}:${userName}`);
  return `otpauth://totp/${label}?secret=${secret}&issuer=${encodeURIComponent(`${issuer} ${tenantName}`)}&algorithm=SHA1&digits=${digits}&period=${stepMs / 1000}`;
}

/** The step of the code, when it is one of those that are good at that moment and later than the one used last; or undefined. */
export function stepOfCode(secret: string, code: string, nowMs: number, lastStep: number | null): number | undefined {
  const present = Math.floor(nowMs / stepMs);
  const good = [];
  for (let step = present - windowSteps; step <= present + windowSteps; step++)
    if (isSame(totpCode(secret, step), code)) good.push(step);
  return good.find((step) => lastStep === null || step > lastStep);
}

/** The code of a step: the number of half minutes since 1970. */
export function totpCode(secret: string, step: number): string {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const mac = createHmac('sha1', bytesOf(secret)).update(counter).digest();
  const offset = mac.at(-1)! & 0x0f;
  const number = (mac.readUInt32BE(offset) & 0x7fffffff) % 10 ** digits;
  return String(number).padStart(digits, '0');
}

function isSame(one: string, other: string): boolean {
  const [left, right] = [Buffer.from(one), Buffer.from(other)];
  return left.length === right.length && timingSafeEqual(left, right);
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

function base32Of(bytes: Buffer): string {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  return (bits.match(/.{1,5}/g) ?? []).map((five) => alphabet[Number.parseInt(five.padEnd(5, '0'), 2)]).join('');
}

function bytesOf(base32: string): Buffer {
  const bits = [...base32].map((letter) => alphabet.indexOf(letter).toString(2).padStart(5, '0')).join('');
  return Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)));
}
