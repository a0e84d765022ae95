import { WaybillError } from '../../schema/errors.ts';
import type { Entry, OpenOptions, Source, Version } from '../contract.ts';
import { isSameVersion } from '../temporary.ts';
import type { Bucket } from './bucket.ts';
import { hasStatus } from './failures.ts';
import { etagOf, requireObject } from './objects.ts';

/** Looks at the object; every read then asks for that version and no other. Throws not-found, conflict, invalid for a folder. */
export async function openSource(
  bucket: Bucket,
  path: string,
  options: OpenOptions,
  signal: AbortSignal,
): Promise<Source> {
  const key = bucket.keyOf(path);
  const { entry } = await requireObject(bucket, path, 'opening', signal);
  if (options.ifMatch && !isSameVersion(entry, options.ifMatch))
    throw new WaybillError('conflict', `${path}: changed since it was listed`, { operation: 'opening', path });
  return new S3Source(bucket, key, entry);
}

class S3Source implements Source {
  readonly size: number;
  readonly version: Version;
  readonly #bucket: Bucket;
  readonly #key: string;
  readonly #path: string;

  constructor(bucket: Bucket, key: string, { path, size, modified, etag }: Entry) {
    this.#bucket = bucket;
    this.#key = key;
    this.#path = path;
    this.size = size;
    this.version = { size, modified, ...(etag !== undefined && { etag }) };
  }

  async read(buffer: Uint8Array, at: number, signal: AbortSignal): Promise<number> {
    const wanted = Math.min(buffer.length, this.size - at);
    if (wanted <= 0) return 0;
    const { etag } = this.version;
    try {
      const answer = await this.#bucket.ask(
        {
          method: 'GET',
          key: this.#key,
          headers: { range: `bytes=${at}-${at + wanted - 1}`, ...(etag !== undefined && { 'if-match': `"${etag}"` }) },
          into: buffer.subarray(0, wanted),
          operation: 'reading',
          path: this.#path,
        },
        signal,
      );
      // Not every server looks at the condition.
      if (etag !== undefined && etagOf(answer.headers.etag).etag !== etag) throw this.#changed();
      const isWhole = answer.status === 200 && at === 0 && wanted === this.size;
      if ((answer.status === 206 || isWhole) && answer.bytes === wanted) return wanted;
    } catch (error) {
      if (hasStatus(error, 412, 416, 404)) throw this.#changed(error);
      throw error;
    }
    throw new WaybillError('protocol', `${this.#path}: the server sends other bytes than were asked for`, {
      operation: 'reading',
      path: this.#path,
    });
  }

  #changed(cause?: unknown): WaybillError {
    return new WaybillError('conflict', `${this.#path}: changed while it was read`, {
      operation: 'reading',
      path: this.#path,
      cause,
    });
  }

  /** Nothing is held between reads. */
  async close(): Promise<void> {}
}
