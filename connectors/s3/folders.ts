import { WaybillError } from '../../schema/errors.ts';
import { normalisePath, parentFolder } from '../../schema/paths.ts';
import type { Bucket } from './bucket.ts';
import { findObject, hasFolder } from './objects.ts';

/**
 * A folder of S3 is there as long as keys begin with its name: an empty object whose key ends in `/` is one, as other programs make it.
 * Gives whether there was none. Throws exists when a file is in the way.
 */
export async function makeFolder(bucket: Bucket, path: string, signal: AbortSignal): Promise<boolean> {
  const operation = 'making a folder';
  const folder = normalisePath(`${path}/`).slice(0, -1);
  if (folder === '') return false;
  for (let above = folder; above !== '/'; above = parentFolder(above)) {
    if ((await findObject(bucket, above, operation, signal)) !== null)
      throw new WaybillError('exists', `${above}: is a file where a folder is needed`, { operation, path: above });
  }
  if (await hasFolder(bucket, folder, operation, signal)) return false;
  const key = bucket.folderOf(folder);
  await bucket.ask({ method: 'PUT', key, body: new Uint8Array(), operation, path: folder }, signal);
  return true;
}
