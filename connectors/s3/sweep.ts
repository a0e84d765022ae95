import { WaybillError } from '../../schema/errors.ts';
import type { SinkToken } from '../contract.ts';
import { decodeListed } from './address.ts';
import type { Bucket } from './bucket.ts';
import { limits } from './settings.ts';
import { abortUpload, listParts, type Upload } from './uploads.ts';
import { listOf, readXml, textOf } from './xml.ts';

/**
 * Ends uploads of ours into that folder on which nothing happened for so long, but for those that are kept; gives how many. Other programs upload there as well, and
 * the server does not say whose an upload is: ours are those with a part of our size. An upload that has no such part yet is left alone:
 * it holds at most one part.
 */
export async function sweepUploads(
  bucket: Bucket,
  folder: string,
  { olderThanMs, kept }: { olderThanMs: number; kept: readonly SinkToken[] },
  signal: AbortSignal,
): Promise<number> {
  let swept = 0;
  const keptUploads = new Set(kept.map(({ uploadId }) => uploadId));
  for await (const { upload, initiatedMs } of uploadsOf(bucket, folder, signal)) {
    if (Date.now() - initiatedMs < olderThanMs || keptUploads.has(upload.uploadId)) continue;
    const parts = [
      ...((await listParts(bucket, upload, { checksum: null, operation: 'sweeping' }, signal)) ?? new Map()).values(),
    ];
    const touchedMs = Math.max(initiatedMs, ...parts.map(({ modifiedMs }) => modifiedMs));
    if (!parts.some(({ size }) => size === limits.partBytes) || Date.now() - touchedMs < olderThanMs) continue;
    await abortUpload(bucket, upload, signal);
    swept++;
  }
  return swept;
}

async function* uploadsOf(
  bucket: Bucket,
  folder: string,
  signal: AbortSignal,
): AsyncIterable<{ upload: Upload; initiatedMs: number }> {
  const { prefix } = bucket.settings;
  const fixed = { uploads: '', prefix: bucket.folderOf(folder), delimiter: '/', 'encoding-type': 'url' };
  let markers: Record<string, string> = {};
  for (let page = 0; page <= limits.listEntries; page++) {
    const ask = { method: 'GET', query: { ...fixed, ...markers }, operation: 'sweeping', path: folder } as const;
    const result = readXml((await bucket.ask(ask, signal)).text, 'ListMultipartUploadsResult');
    const decode = textOf(result, 'EncodingType') === 'url' ? decodeListed : (text: string) => text;
    for (const element of listOf(result, 'Upload')) {
      const key = decode(textOf(element, 'Key'));
      const upload = { key, uploadId: textOf(element, 'UploadId'), path: `/${key.slice(prefix.length)}` };
      yield { upload, initiatedMs: Date.parse(textOf(element, 'Initiated')) };
    }
    if (textOf(result, 'IsTruncated') !== 'true') return;
    markers = {
      'key-marker': decode(textOf(result, 'NextKeyMarker')),
      'upload-id-marker': textOf(result, 'NextUploadIdMarker'),
    };
  }
  throw new WaybillError('protocol', `${folder}: the server lists uploads without end`, {
    operation: 'sweeping',
    path: folder,
  });
}
