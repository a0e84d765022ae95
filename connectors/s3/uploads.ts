import { WaybillError } from '../../schema/errors.ts';
import type { SinkToken } from '../contract.ts';
import type { Bucket } from './bucket.ts';
import type { Checksum, Sums } from './checksums.ts';
import { hasStatus } from './failures.ts';
import { etagOf } from './objects.ts';
import { limits } from './settings.ts';
import { listOf, readXml, textOf, writeXml } from './xml.ts';

/** An upload in parts that the server holds: what its requests need. */
export interface Upload {
  key: string;
  uploadId: string;
  /** For errors. */
  path: string;
}

export interface Part {
  number: number;
  size: number;
  etag: string;
  /** In base64; null when the server says none. */
  checksum: string | null;
  modifiedMs: number;
}

export async function createUpload(
  bucket: Bucket,
  path: string,
  terms: { metadata: Record<string, string>; checksum: Checksum | null; operation: string },
  signal: AbortSignal,
): Promise<Upload> {
  const { metadata, checksum, operation } = terms;
  const key = bucket.keyOf(path);
  const headers = { ...metadata, ...(checksum !== null && { 'x-amz-checksum-algorithm': checksum.algorithm }) };
  const { text } = await bucket.ask({ method: 'POST', key, query: { uploads: '' }, headers, operation, path }, signal);
  // The second name is what rclone says.
  const result = readXml(text, 'InitiateMultipartUploadResult', 'InitiateMultipartUpload');
  const uploadId = textOf(result, 'UploadId');
  if (uploadId === '') throw new WaybillError('protocol', `${path}: the server names no upload`, { operation, path });
  return { key, uploadId, path };
}

/** Settles when the server has the part; gives what it is known by, with the checksum that was sent. Throws integrity. */
export async function uploadPart(
  bucket: Bucket,
  upload: Upload,
  part: { number: number; bytes: Uint8Array; checksum: Checksum | null; sums: Sums },
  signal: AbortSignal,
): Promise<Part> {
  const { key, uploadId, path } = upload;
  const { number, bytes, checksum, sums } = part;
  const { headers } = await bucket.ask(
    {
      method: 'PUT',
      key,
      query: { partNumber: String(number), uploadId },
      headers: checksum === null ? {} : { [checksum.header]: sums.checksum! },
      body: bytes,
      payload: sums.payload,
      operation: 'writing',
      path,
    },
    signal,
  );
  const confirmed = checksum === null ? undefined : headers[checksum.header];
  if (confirmed !== undefined && confirmed !== sums.checksum)
    throw new WaybillError('integrity', `${path}: the server received other bytes than were sent`, {
      operation: 'writing',
      path,
    });
  const etag = etagOf(headers.etag).etag ?? '';
  return { number, size: bytes.length, etag, checksum: sums.checksum, modifiedMs: Date.now() };
}

/** The parts that the server has, by number; null when it does not know the upload any more. */
export async function listParts(
  bucket: Bucket,
  upload: Upload,
  terms: { checksum: Checksum | null; operation: string },
  signal: AbortSignal,
): Promise<Map<number, Part> | null> {
  const { key, uploadId, path } = upload;
  const parts = new Map<number, Part>();
  let marker = '0';
  try {
    for (let page = 0; page <= limits.parts; page++) {
      const query = { uploadId, 'max-parts': String(limits.listEntries), 'part-number-marker': marker };
      const { text } = await bucket.ask({ method: 'GET', key, query, operation: terms.operation, path }, signal);
      const result = readXml(text, 'ListPartsResult');
      for (const element of listOf(result, 'Part')) {
        const number = Number(textOf(element, 'PartNumber'));
        parts.set(number, {
          number,
          size: Number(textOf(element, 'Size')),
          etag: etagOf(textOf(element, 'ETag')).etag ?? '',
          checksum: (terms.checksum && textOf(element, terms.checksum.element)) || null,
          modifiedMs: Date.parse(textOf(element, 'LastModified')),
        });
      }
      marker = textOf(result, 'NextPartNumberMarker');
      if (textOf(result, 'IsTruncated') !== 'true' || marker === '') return parts;
    }
  } catch (error) {
    if (hasStatus(error, 404)) return null;
    throw error;
  }
  throw new WaybillError('protocol', `${path}: the server lists parts without end`, {
    operation: terms.operation,
    path,
  });
}

/** Makes an object of the parts; gives its entity tag. Throws conflict by 412 or 409 when `replace` is false and something is there; not-found. */
export async function completeUpload(
  bucket: Bucket,
  upload: Upload,
  terms: { parts: readonly Part[]; checksum: Checksum | null; replace: boolean; operation: string },
  signal: AbortSignal,
): Promise<string | undefined> {
  const { key, uploadId, path } = upload;
  const { checksum, operation } = terms;
  const parts = terms.parts.map((part) =>
    writeXml('Part', {
      PartNumber: String(part.number),
      ETag: `"${part.etag}"`,
      ...(checksum !== null && part.checksum !== null && { [checksum.element]: part.checksum }),
    }),
  );
  const body = `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${parts.join('')}</CompleteMultipartUpload>`;
  const { text } = await bucket.ask(
    {
      method: 'POST',
      key,
      query: { uploadId },
      headers: { 'content-type': 'application/xml', ...(!terms.replace && { 'if-none-match': '*' }) },
      body: Buffer.from(body),
      isSlow: true,
      operation,
      path,
    },
    signal,
  );
  return etagOf(textOf(readXml(text, 'CompleteMultipartUploadResult'), 'ETag')).etag;
}

/** Ends the upload and frees what it holds; one that is gone is success. */
export async function abortUpload(bucket: Bucket, upload: Upload, signal: AbortSignal): Promise<void> {
  const { key, uploadId, path } = upload;
  try {
    await bucket.ask({ method: 'DELETE', key, query: { uploadId }, operation: 'aborting', path }, signal);
  } catch (error) {
    if (!hasStatus(error, 404)) throw error;
  }
}

/** Removes what an unfinished write of a process that is no more has left. A token of something else says nothing is left. */
export async function discardUpload(bucket: Bucket, token: SinkToken, signal: AbortSignal): Promise<void> {
  const upload = uploadOf(bucket, token);
  if (upload !== null) await abortUpload(bucket, upload, signal);
}

/** The upload that a token names; null when it names none below this endpoint. */
export function uploadOf(bucket: Bucket, token: SinkToken): Upload | null {
  const { kind, key, uploadId } = token;
  if (kind !== 'multipart' || typeof key !== 'string' || typeof uploadId !== 'string') return null;
  const { prefix } = bucket.settings;
  return key.startsWith(prefix) ? { key, uploadId, path: `/${key.slice(prefix.length)}` } : null;
}
