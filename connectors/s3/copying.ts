import { createHash } from 'node:crypto';
import { WaybillError } from '../../schema/errors.ts';
import type { CopyOptions, Entry } from '../contract.ts';
import { isSameVersion } from '../temporary.ts';
import { encodePath } from './address.ts';
import type { Bucket } from './bucket.ts';
import { hasCode, isRefusal } from './failures.ts';
import { deliveryHeader, etagOf, type Found, findObject, requireObject } from './objects.ts';
import { limits } from './settings.ts';
import { abortUpload, completeUpload, createUpload, type Part, type Upload } from './uploads.ts';
import { readXml, textOf } from './xml.ts';

/** Says which version of which object a copy was made of. */
const originHeader = 'x-amz-meta-waybill-origin';

/** What of an object's headers its copy has as well, besides its metadata. Tags and access lists are the bucket's affair. */
const carried = [
  'content-type',
  'content-encoding',
  'content-disposition',
  'content-language',
  'cache-control',
  'expires',
];

/** Within the server. Throws not-found, conflict, exists. */
export async function copyObject(
  bucket: Bucket,
  from: string,
  to: string,
  options: CopyOptions,
  signal: AbortSignal,
): Promise<Entry> {
  const source = await requireObject(bucket, from, 'copying', signal);
  if (options.ifMatch && !isSameVersion(source.entry, options.ifMatch))
    throw new WaybillError('conflict', `${from}: changed since it was listed`, { operation: 'copying', path: from });
  await copyVersion(bucket, { source, from, to, key: bucket.keyOf(to) }, options.replace, signal);
  return (await requireObject(bucket, to, 'copying', signal)).entry;
}

/**
 * S3 cannot rename: a copy and then a removal, and whoever looks in between sees both. When the process dies there, the next attempt
 * finds its own copy and goes on. Throws as `copyObject` does.
 */
export async function renameObject(
  bucket: Bucket,
  from: string,
  to: string,
  { replace }: { replace: boolean },
  signal: AbortSignal,
): Promise<void> {
  const source = await requireObject(bucket, from, 'renaming', signal);
  const key = bucket.keyOf(to);
  if (bucket.keyOf(from) === key) return;
  const copy = { source, from, to, key };
  try {
    await copyVersion(bucket, copy, replace, signal);
  } catch (error) {
    if (!(error instanceof WaybillError) || error.kind !== 'exists') throw error;
    const there = await findObject(bucket, to, 'renaming', signal);
    if (there?.headers[originHeader] !== originOf(bucket, copy) || there.entry.size !== source.entry.size) throw error;
  }
  await removeObject(bucket, from, signal);
}

/** One that is gone is success. */
export async function removeObject(bucket: Bucket, path: string, signal: AbortSignal): Promise<void> {
  try {
    await bucket.ask({ method: 'DELETE', key: bucket.keyOf(path), operation: 'removing', path }, signal);
  } catch (error) {
    if (!hasCode(error, 'NoSuchKey')) throw error;
  }
}

interface Copy {
  source: Found;
  from: string;
  to: string;
  key: string;
}

async function copyVersion(bucket: Bucket, copy: Copy, replace: boolean, signal: AbortSignal): Promise<void> {
  const { source, to } = copy;
  const { size } = source.entry;
  // The server cannot be relied on to refuse: it is asked before.
  const isChecked = !replace && !bucket.isStrict;
  if (isChecked && (await findObject(bucket, to, 'copying', signal)) !== null) throw exists(to);
  try {
    if (size <= limits.copyBytes && (replace || isChecked)) await copyAtOnce(bucket, copy, signal);
    else await copyInParts(bucket, copy, replace, signal);
  } catch (error) {
    if (hasCode(error, 'NoSuchKey'))
      throw new WaybillError('not-found', `${copy.from}: does not exist`, {
        operation: 'copying',
        path: copy.from,
        cause: error,
      });
    // A refusal may also be that of the condition on the source.
    if (!replace && isRefusal(error) && (await findObject(bucket, to, 'copying', signal)) !== null)
      throw exists(to, error);
    throw error;
  }
}

async function copyAtOnce(bucket: Bucket, copy: Copy, signal: AbortSignal): Promise<void> {
  const headers = {
    ...sourceHeaders(bucket, copy),
    ...metadataOf(bucket, copy),
    'x-amz-metadata-directive': 'REPLACE',
  };
  const { key, to } = copy;
  await bucket.ask({ method: 'PUT', key, headers, isSlow: true, operation: 'copying', path: to }, signal);
}

/** Only the completion of an upload can be told not to replace, and only an upload can be larger than one copy. */
async function copyInParts(bucket: Bucket, copy: Copy, replace: boolean, signal: AbortSignal): Promise<void> {
  const { to, source } = copy;
  const metadata = metadataOf(bucket, copy);
  if (source.entry.size === 0) {
    await putEmpty(bucket, copy, metadata, signal);
    return;
  }
  const upload = await createUpload(bucket, to, { metadata, checksum: null, operation: 'copying' }, signal);
  try {
    const parts = await copyParts(bucket, upload, copy, signal);
    await completeUpload(bucket, upload, { parts, checksum: null, replace, operation: 'copying' }, signal);
  } catch (error) {
    await abortUpload(bucket, upload, AbortSignal.timeout(limits.abortTimeoutMs)).catch(({ message }: Error) =>
      bucket.log.warn({ operation: 'aborting', path: to }, `an upload is left: ${message}`),
    );
    throw error;
  }
}

/** A part has to have a byte. */
async function putEmpty(
  bucket: Bucket,
  { key, to }: Copy,
  metadata: Record<string, string>,
  signal: AbortSignal,
): Promise<void> {
  const headers = { ...metadata, 'if-none-match': '*' };
  await bucket.ask({ method: 'PUT', key, headers, body: new Uint8Array(), operation: 'copying', path: to }, signal);
}

async function copyParts(bucket: Bucket, upload: Upload, copy: Copy, signal: AbortSignal): Promise<Part[]> {
  const waiting = partsOf(copy.source.entry.size);
  const parts: Part[] = [];
  const worker = async () => {
    for (let part = waiting.shift(); part !== undefined; part = waiting.shift())
      parts[part.number - 1] = await copyPart(bucket, upload, copy, part, signal);
  };
  await Promise.all(Array.from({ length: limits.copyPartsInFlight }, worker));
  return parts;
}

interface Range {
  number: number;
  at: number;
  bytes: number;
}

/** The first part has the size of ours, so that the sweep knows the upload. */
function partsOf(size: number): Range[] {
  const parts: Range[] = [];
  for (let at = 0, number = 1; at < size; number++) {
    const bytes = Math.min(number === 1 ? limits.partBytes : limits.copyPartBytes, size - at);
    parts.push({ number, at, bytes });
    at += bytes;
  }
  return parts;
}

async function copyPart(
  bucket: Bucket,
  upload: Upload,
  copy: Copy,
  { number, at, bytes }: Range,
  signal: AbortSignal,
): Promise<Part> {
  // A server copies ranges of large objects only.
  const isWhole = bytes === copy.source.entry.size;
  const range = isWhole ? {} : { 'x-amz-copy-source-range': `bytes=${at}-${at + bytes - 1}` };
  const { text } = await bucket.ask(
    {
      method: 'PUT',
      key: upload.key,
      query: { partNumber: String(number), uploadId: upload.uploadId },
      headers: { ...sourceHeaders(bucket, copy), ...range },
      isSlow: true,
      operation: 'copying',
      path: copy.to,
    },
    signal,
  );
  const etag = etagOf(textOf(readXml(text, 'CopyPartResult'), 'ETag')).etag ?? '';
  return { number, size: bytes, etag, checksum: null, modifiedMs: Date.now() };
}

/** Names the source, and the version that was looked at. */
function sourceHeaders(bucket: Bucket, { source, from }: Copy): Record<string, string> {
  const { etag } = source.entry;
  return {
    'x-amz-copy-source': encodePath(`/${bucket.settings.bucket}/${bucket.keyOf(from)}`),
    ...(etag !== undefined && { 'x-amz-copy-source-if-match': `"${etag}"` }),
  };
}

function metadataOf(bucket: Bucket, copy: Copy): Record<string, string> {
  const kept = Object.entries(copy.source.headers).filter(
    ([name]) => carried.includes(name) || (name.startsWith('x-amz-meta-') && name !== deliveryHeader),
  );
  return { ...Object.fromEntries(kept), [originHeader]: originOf(bucket, copy) };
}

function originOf(bucket: Bucket, { source, from }: Copy): string {
  const { etag = '', size } = source.entry;
  return createHash('sha256')
    .update(JSON.stringify([bucket.keyOf(from), etag, size]))
    .digest('hex')
    .slice(0, 32);
}

function exists(path: string, cause?: unknown): WaybillError {
  return new WaybillError('exists', `${path}: exists`, { operation: 'copying', path, cause });
}
