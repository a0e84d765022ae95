import { createHash, createHmac, type Hash } from 'node:crypto';
import { SignatureV4 } from '@smithy/signature-v4';
import { WaybillError } from '../../schema/errors.ts';
import type { S3Settings } from './settings.ts';

export interface Credentials {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
  expiration?: Date;
}

export interface Unsigned {
  method: string;
  /** Encoded as it is sent. */
  path: string;
  query: Record<string, string>;
  /** Lower-case names. */
  headers: Record<string, string>;
}

/** Gives the headers of a request with its Signature Version 4. Throws unauthenticated when there are no credentials to sign with. */
export type Sign = (request: Unsigned, at?: Date) => Promise<Record<string, string>>;

export const unsignedPayload = 'UNSIGNED-PAYLOAD';

export function createSign(
  settings: Pick<S3Settings, 'host' | 'region'>,
  credentials: Credentials | (() => Promise<Credentials>),
): Sign {
  const { host, region } = settings;
  const signer = new SignatureV4({
    credentials,
    region,
    service: 's3',
    sha256: NativeSha256,
    // The path comes encoded once, which is all that S3 wants.
    uriEscapePath: false,
    applyChecksum: false,
  });
  return async ({ method, path, query, headers }, at = new Date()) => {
    const request = { method, protocol: 'https:', hostname: host, path, query, headers: { ...headers, host } };
    try {
      return (await signer.sign(request, { signingDate: at })).headers;
    } catch (error) {
      throw new WaybillError('unauthenticated', `there are no credentials to sign with (${wordsOf(error)})`, {
        operation: 'signing',
        advice: 'Give accessKeyId and secretAccessKey, or let the machine of the worker have credentials of its own.',
        cause: error,
      });
    }
  };
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.name : 'no reason given';
}

/** The library hashes through an interface that is asynchronous; what it hashes here is small. */
class NativeSha256 {
  readonly #hash: Hash | ReturnType<typeof createHmac>;

  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.#hash = secret === undefined ? createHash('sha256') : createHmac('sha256', bytesOf(secret));
  }

  update(data: string | ArrayBuffer | ArrayBufferView): void {
    this.#hash.update(bytesOf(data));
  }

  async digest(): Promise<Uint8Array> {
    return this.#hash.digest();
  }

  reset(): void {
    throw new WaybillError('internal', 'a hash for a signature is used once');
  }
}

function bytesOf(data: string | ArrayBuffer | ArrayBufferView): Uint8Array | string {
  if (typeof data === 'string') return data;
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return new Uint8Array(data);
}
