import { createHash } from 'node:crypto';
import { WaybillError } from '../../schema/errors.ts';
import type { BeginOptions, Entry, EvidenceClass, Sink, SinkToken } from '../contract.ts';
import type { Bucket } from './bucket.ts';
import { type Checksum, checksumOf, partChecksum, sumsOf } from './checksums.ts';
import { metadataOf } from './objects.ts';
import { publishOnce } from './publishing.ts';
import { limits } from './settings.ts';
import {
  abortUpload,
  completeUpload,
  createUpload,
  listParts,
  type Part,
  type Upload,
  uploadOf,
  uploadPart,
} from './uploads.ts';

/** Goes on with the upload of `options.resume` when the server still has it, else creates one. */
export async function beginInParts(
  bucket: Bucket,
  path: string,
  options: BeginOptions,
  signal: AbortSignal,
): Promise<Sink> {
  const checksum = partChecksum(bucket.settings);
  const partBytes = Math.max(limits.partBytes, Math.ceil(options.size / limits.parts));
  const resumed = await resumeUpload(bucket, path, { options, checksum, partBytes }, signal);
  if (resumed !== null) return new PartsSink(bucket, options, { ...resumed, checksum, partBytes });
  const metadata = metadataOf(options);
  const upload = await createUpload(bucket, path, { metadata, checksum, operation: 'beginning' }, signal);
  const { deliveryId } = options;
  return new PartsSink(bucket, options, { upload, deliveryId, there: new Map(), checksum, partBytes });
}

interface Begun {
  upload: Upload;
  /** What the upload's metadata says: that of the attempt which created it. */
  deliveryId: string;
  /** What the server had before this sink. */
  there: ReadonlyMap<number, Part>;
  checksum: Checksum | null;
  partBytes: number;
}

async function resumeUpload(
  bucket: Bucket,
  path: string,
  terms: { options: BeginOptions; checksum: Checksum | null; partBytes: number },
  signal: AbortSignal,
): Promise<Pick<Begun, 'upload' | 'deliveryId' | 'there'> | null> {
  const { resume } = terms.options;
  const upload = resume === undefined ? null : uploadOf(bucket, resume);
  if (resume === undefined || upload === null) return null;
  const there = await listParts(bucket, upload, { checksum: terms.checksum, operation: 'beginning' }, signal);
  if (there === null) return null;
  if (upload.key === bucket.keyOf(path) && resume.partBytes === terms.partBytes)
    return { upload: { ...upload, path }, deliveryId: String(resume.deliveryId), there };
  // Parts of another size, or for another name, are of no use.
  await abortUpload(bucket, upload, signal);
  return null;
}

/** An upload in parts: each is a request of its own, the object appears with the last one. */
class PartsSink implements Sink {
  readonly temporaryPath = null;
  readonly token: SinkToken;
  readonly received: number;
  readonly #bucket: Bucket;
  readonly #options: BeginOptions;
  readonly #begun: Begun;
  /** Parts whose bytes this sink has sent, or has compared with what the server holds. */
  readonly #known = new Map<number, Part>();
  #sealed: readonly Part[] | undefined;
  #published: Entry | undefined;
  #isOpen = true;

  constructor(bucket: Bucket, options: BeginOptions, begun: Begun) {
    const { upload, deliveryId, partBytes } = begun;
    this.#bucket = bucket;
    this.#options = options;
    this.#begun = begun;
    this.token = { kind: 'multipart', key: upload.key, uploadId: upload.uploadId, partBytes, deliveryId };
    this.received = this.#bytesFromTheStart();
  }

  #bytesFromTheStart(): number {
    let bytes = 0;
    for (let number = 1; bytes < this.#options.size; number++) {
      const part = this.#begun.there.get(number);
      if (part === undefined || part.size !== this.#sizeOf(number)) break;
      bytes += part.size;
    }
    return bytes;
  }

  #sizeOf(number: number): number {
    const { partBytes } = this.#begun;
    return Math.min(partBytes, this.#options.size - (number - 1) * partBytes);
  }

  async holds(bytes: Uint8Array, at: number, _signal: AbortSignal): Promise<boolean> {
    return [...this.#partsOf(bytes, at)].every(([number, part]) => this.#isThere(number, part));
  }

  #isThere(number: number, bytes: Uint8Array): boolean {
    const { there, checksum } = this.#begun;
    const part = there.get(number);
    if (part === undefined || part.size !== bytes.length) return false;
    const isSame =
      checksum !== null && part.checksum !== null
        ? part.checksum === checksumOf(bytes, checksum)
        : part.etag === createHash('md5').update(bytes).digest('hex');
    if (isSame) this.#known.set(number, part);
    return isSame;
  }

  async write(bytes: Uint8Array, at: number, signal: AbortSignal): Promise<void> {
    await Promise.all([...this.#partsOf(bytes, at)].map(([number, part]) => this.#writePart(number, part, signal)));
  }

  async #writePart(number: number, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    const { upload, checksum, there } = this.#begun;
    // Parts in flight together may have arrived beyond one that did not: they need not be sent again.
    if (there.has(number) && this.#isThere(number, bytes)) return;
    const sums = sumsOf(bytes, checksum, this.#bucket.settings);
    this.#known.set(number, await uploadPart(this.#bucket, upload, { number, bytes, checksum, sums }, signal));
  }

  /** Numbered as the server counts them. Throws internal for what does not begin where a part does. */
  *#partsOf(bytes: Uint8Array, at: number): Iterable<[number, Uint8Array]> {
    const { partBytes } = this.#begun;
    if (at % partBytes !== 0)
      throw new WaybillError('internal', `a write at ${at} is not at the beginning of a part of ${partBytes} bytes`);
    for (let start = 0; start < bytes.length; start += partBytes)
      yield [(at + start) / partBytes + 1, bytes.subarray(start, start + partBytes)];
  }

  /** The server's own list decides, and has to be what was sent. */
  async seal(_sent: unknown, signal: AbortSignal): Promise<EvidenceClass> {
    const { upload, checksum } = this.#begun;
    const { path } = upload;
    const count = Math.max(1, Math.ceil(this.#options.size / this.#begun.partBytes));
    const there = await listParts(this.#bucket, upload, { checksum, operation: 'sealing' }, signal);
    if (there === null)
      throw new WaybillError('conflict', `${path}: the upload is gone from the server`, { operation: 'sealing', path });
    const parts = Array.from({ length: count }, (_, index) => this.#sealPart(index + 1, there.get(index + 1)));
    this.#sealed = parts;
    const isProven = checksum !== null && parts.every((part) => part.checksum !== null && this.#known.has(part.number));
    return isProven ? 'server-parts' : 'acknowledged-size';
  }

  #sealPart(number: number, part: Part | undefined): Part {
    const { path } = this.#begun.upload;
    const known = this.#known.get(number);
    const isWhole = part !== undefined && part.size === this.#sizeOf(number);
    if (isWhole && (known === undefined || isSamePart(known, part))) return part;
    const says = isWhole
      ? 'is not what was sent'
      : `has ${part?.size ?? 0} bytes on the server, ${this.#sizeOf(number)} were to be sent`;
    throw new WaybillError('integrity', `${path}: part ${number} ${says}`, { operation: 'sealing', path });
  }

  async commit(signal: AbortSignal): Promise<Entry> {
    const { upload, checksum, deliveryId } = this.#begun;
    const parts = this.#sealed;
    if (parts === undefined) throw new WaybillError('internal', 'commit before seal', { path: upload.path });
    if (this.#published !== undefined) return this.#published;
    const { size, replace } = this.#options;
    this.#published = await publishOnce(
      this.#bucket,
      { path: upload.path, size, deliveryId, replace },
      () => completeUpload(this.#bucket, upload, { parts, checksum, replace, operation: 'publishing' }, signal),
      signal,
    );
    this.#isOpen = false;
    return this.#published;
  }

  async abort(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    const { upload } = this.#begun;
    try {
      await abortUpload(this.#bucket, upload, AbortSignal.timeout(limits.abortTimeoutMs));
    } catch (error) {
      const { kind, message } = error as WaybillError;
      this.#bucket.log.warn(
        { operation: 'aborting', path: upload.path, kind },
        `an upload is left to the sweep: ${message}`,
      );
    }
  }

  async leave(): Promise<void> {
    this.#isOpen = false;
  }
}

/** A server that says no checksum is compared by its entity tag. */
function isSamePart(known: Part, there: Part): boolean {
  const isSameSum = known.checksum === null || there.checksum === null || known.checksum === there.checksum;
  return isSameSum && known.etag === there.etag;
}
