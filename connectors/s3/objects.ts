import { WaybillError } from '../../schema/errors.ts';
import { baseName, normalisePath } from '../../schema/paths.ts';
import type { Entry } from '../contract.ts';
import { isoTime } from '../temporary.ts';
import { folderEntry } from './address.ts';
import type { Bucket } from './bucket.ts';
import { hasStatus } from './failures.ts';
import { listOf, readXml } from './xml.ts';

/** Names the delivery that an object came by, and the modified time of its source as rclone writes it: seconds since 1970. */
export const deliveryHeader = 'x-amz-meta-waybill-delivery';
const modifiedHeader = 'x-amz-meta-mtime';

export interface Found {
  entry: Entry;
  /** By lower-case name. */
  headers: Record<string, string>;
}

/** Facts of the object, or null when there is none. */
export async function findObject(
  bucket: Bucket,
  path: string,
  operation: string,
  signal: AbortSignal,
): Promise<Found | null> {
  try {
    const { headers } = await bucket.ask({ method: 'HEAD', key: bucket.keyOf(path), operation, path }, signal);
    return { entry: entryOf(path, headers), headers };
  } catch (error) {
    if (hasStatus(error, 404)) return null;
    // An answer to HEAD has no words: only a listing tells a key that is not known from a right that is missing.
    if (hasStatus(error, 403)) await hasFolder(bucket, path, operation, signal);
    throw error;
  }
}

/** Whether there is any key below the folder, its marker included. Throws not-found when there is no such bucket. */
export async function hasFolder(
  bucket: Bucket,
  path: string,
  operation: string,
  signal: AbortSignal,
): Promise<boolean> {
  const query = { 'list-type': '2', prefix: bucket.folderOf(path), 'max-keys': '1' };
  const { text } = await bucket.ask({ method: 'GET', query, operation, path }, signal);
  const result = readXml(text, 'ListBucketResult');
  return listOf(result, 'Contents').length > 0;
}

/** An object, or a folder, which is there as long as keys begin with its name. The root is always there. Throws not-found. */
export async function statPath(bucket: Bucket, path: string, signal: AbortSignal): Promise<Entry> {
  const operation = 'looking at';
  const normal = normalisePath(path);
  const folder = normal === '/' ? '/' : normal.replace(/\/$/, '');
  if (!normal.endsWith('/')) {
    const found = await findObject(bucket, normal, operation, signal);
    if (found !== null) return found.entry;
  }
  if ((await hasFolder(bucket, folder, operation, signal)) || folder === '/') return folderEntry(folder);
  throw notFound(normal, operation);
}

/** Throws not-found, or invalid when it is a folder. */
export async function requireObject(
  bucket: Bucket,
  path: string,
  operation: string,
  signal: AbortSignal,
): Promise<Found> {
  const found = await findObject(bucket, path, operation, signal);
  if (found !== null) return found;
  if (await hasFolder(bucket, path, operation, signal))
    throw new WaybillError('invalid', `${path}: is a folder`, { operation, path });
  throw notFound(path, operation);
}

/**
 * The modified time is when the object was written, in whole seconds: a listing says no other, and the headers say no finer one. That of
 * the source is in the metadata, which listings do not show.
 */
export function entryOf(path: string, headers: Record<string, string>): Entry {
  const modifiedMs = Date.parse(headers['last-modified'] ?? '');
  return {
    path,
    name: baseName(path),
    kind: 'file',
    size: Number(headers['content-length'] ?? 0),
    modified: Number.isNaN(modifiedMs) ? null : isoTime(modifiedMs),
    ...etagOf(headers.etag),
  };
}

/** Without its quotes; what no quotes held is no entity tag to compare by. */
export function etagOf(text: string | undefined): { etag?: string } {
  const bare = text?.replace(/^"|"$/g, '') ?? '';
  return bare === '' ? {} : { etag: bare };
}

/** Metadata of a new object. */
export function metadataOf({
  deliveryId,
  modified,
}: {
  deliveryId: string;
  modified: string | null;
}): Record<string, string> {
  return {
    'content-type': 'application/octet-stream',
    // Names of deliveries are plain; anything else could not be a header.
    [deliveryHeader]: encodeURIComponent(deliveryId),
    ...(modified !== null && { [modifiedHeader]: String(Date.parse(modified) / 1000) }),
  };
}

/** Whether what is there was put by that delivery: the answer to its own commit was lost. */
export function isOf({ entry, headers }: Found, { deliveryId, size }: { deliveryId: string; size: number }): boolean {
  return entry.size === size && headers[deliveryHeader] === encodeURIComponent(deliveryId);
}

function notFound(path: string, operation: string): WaybillError {
  return new WaybillError('not-found', `${path}: does not exist`, { operation, path });
}
