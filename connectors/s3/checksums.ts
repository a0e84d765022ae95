import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { S3Settings } from './settings.ts';
import { unsignedPayload } from './signing.ts';

/** A checksum that the server computes too, and refuses the bytes when its own differs. */
export interface Checksum {
  /** As in `x-amz-checksum-algorithm`. */
  algorithm: 'SHA256' | 'CRC32';
  /** Name of the header, and of the element in a list of parts. */
  header: 'x-amz-checksum-sha256' | 'x-amz-checksum-crc32';
  element: 'ChecksumSHA256' | 'ChecksumCRC32';
}

export const sha256Checksum: Checksum = {
  algorithm: 'SHA256',
  header: 'x-amz-checksum-sha256',
  element: 'ChecksumSHA256',
};

const crc32Checksum: Checksum = { algorithm: 'CRC32', header: 'x-amz-checksum-crc32', element: 'ChecksumCRC32' };

/** Without TLS the signature needs the SHA-256 of a part anyway; with it a CRC finds what goes wrong, at a fraction of the time. */
export function partChecksum({ checksums, isTls }: S3Settings): Checksum | null {
  if (!checksums) return null;
  return isTls ? crc32Checksum : sha256Checksum;
}

export interface Sums {
  /** For `x-amz-content-sha256`. */
  payload: string;
  /** In base64; null without a checksum. */
  checksum: string | null;
}

/** What has to be known of a part before it is sent. */
export function sumsOf(bytes: Uint8Array, checksum: Checksum | null, { isTls }: S3Settings): Sums {
  if (isTls) return { payload: unsignedPayload, checksum: checksum === null ? null : checksumOf(bytes, checksum) };
  const digest = createHash('sha256').update(bytes).digest();
  return { payload: digest.toString('hex'), checksum: checksum === null ? null : digest.toString('base64') };
}

/** In base64. */
export function checksumOf(bytes: Uint8Array, { algorithm }: Checksum): string {
  if (algorithm === 'SHA256') return createHash('sha256').update(bytes).digest('base64');
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(bytes));
  return sum.toString('base64');
}

export function fromHex(sha256: string): string {
  return Buffer.from(sha256, 'hex').toString('base64');
}
