import { WaybillError } from '../../schema/errors.ts';
import { baseName } from '../../schema/paths.ts';
import type { Entry } from '../contract.ts';
import type { Bucket } from './bucket.ts';
import { hasCode, isRefusal, isTaken } from './failures.ts';
import { findObject, isOf } from './objects.ts';

export interface Publication {
  path: string;
  size: number;
  deliveryId: string;
  replace: boolean;
}

/**
 * Makes an object visible by one request, `publish`, which gives its entity tag. When the server refuses, what is there decides: it may
 * be ours, and the answer to an earlier request was lost. Throws exists when something else is there and `replace` is false.
 */
export async function publishOnce(
  bucket: Bucket,
  publication: Publication,
  publish: () => Promise<string | undefined>,
  signal: AbortSignal,
): Promise<Entry> {
  const { path, size, replace } = publication;
  // A server that may ignore the condition is at least asked before.
  if (!replace && !bucket.isStrict) await refuseWhenThere(bucket, publication, signal);
  try {
    const etag = await publish();
    return { path, name: baseName(path), kind: 'file', size, modified: null, ...(etag !== undefined && { etag }) };
  } catch (error) {
    const isGone = hasCode(error, 'NoSuchUpload');
    if (!isGone && !isRefusal(error)) throw error;
    const found = await findObject(bucket, path, 'publishing', signal);
    if (found !== null && isOf(found, publication)) return { ...found.entry, modified: null };
    if (isGone)
      throw new WaybillError('conflict', `${path}: the upload is gone from the server`, {
        operation: 'publishing',
        path,
        cause: error,
      });
    if (!replace && (found !== null || isTaken(error))) throw exists(path, error);
    throw error;
  }
}

async function refuseWhenThere(bucket: Bucket, publication: Publication, signal: AbortSignal): Promise<void> {
  const found = await findObject(bucket, publication.path, 'publishing', signal);
  if (found !== null && !isOf(found, publication)) throw exists(publication.path);
}

function exists(path: string, cause?: unknown): WaybillError {
  return new WaybillError('exists', `${path}: exists`, { operation: 'publishing', path, cause });
}
