import { throwIfCancelled } from '../../network/cancellation.ts';
import type { BeginOptions, Sink } from '../contract.ts';
import type { Bucket } from './bucket.ts';
import { beginInParts } from './partsSink.ts';
import { limits } from './settings.ts';
import { SmallSink } from './smallSink.ts';

/**
 * A file of one part at most waits in memory and is put at once when it is published, as long as there is room for it; all others go in
 * parts. Throws what creating an upload throws; the first request for a small file is that of its commit.
 */
export async function beginSink(
  bucket: Bucket,
  path: string,
  options: BeginOptions,
  signal: AbortSignal,
): Promise<Sink> {
  throwIfCancelled(signal);
  const key = bucket.keyOf(path);
  const hasRoom = bucket.waitingBytes + options.size <= limits.waitingBytes;
  if (options.size <= limits.partBytes && hasRoom && options.resume?.kind !== 'multipart')
    return new SmallSink(bucket, path, key, options);
  return beginInParts(bucket, path, options, signal);
}
