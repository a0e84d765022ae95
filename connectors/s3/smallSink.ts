import { throwIfCancelled } from '../../network/cancellation.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { BeginOptions, Entry, EvidenceClass, Sink, SinkToken } from '../contract.ts';
import type { Bucket } from './bucket.ts';
import { fromHex, sha256Checksum } from './checksums.ts';
import { etagOf, metadataOf } from './objects.ts';
import { publishOnce } from './publishing.ts';

/** One PUT, which names the SHA-256 of what was read: a server that compares it publishes those bytes or none. */
export class SmallSink implements Sink {
  readonly temporaryPath = null;
  readonly token: SinkToken;
  readonly received = 0;
  readonly #bucket: Bucket;
  readonly #path: string;
  readonly #key: string;
  readonly #options: BeginOptions;
  #bytes: Buffer;
  #written = 0;
  #sha256: string | undefined;
  #proven: EvidenceClass = 'acknowledged-size';
  #published: Entry | undefined;
  #isOpen = true;

  constructor(bucket: Bucket, path: string, key: string, options: BeginOptions) {
    this.#bucket = bucket;
    this.#path = path;
    this.#key = key;
    this.#options = options;
    this.token = { kind: 'put', key };
    this.#bytes = Buffer.allocUnsafeSlow(options.size);
    bucket.waitingBytes += options.size;
  }

  /** The bytes are copied, since the caller's buffer is free again. */
  async write(bytes: Uint8Array, at: number, signal: AbortSignal): Promise<void> {
    throwIfCancelled(signal);
    if (at + bytes.length > this.#bytes.length) throw this.#differs(at + bytes.length);
    this.#bytes.set(bytes, at);
    this.#written += bytes.length;
  }

  async seal(sent: { sha256: string }, signal: AbortSignal): Promise<EvidenceClass> {
    throwIfCancelled(signal);
    if (this.#written !== this.#options.size) throw this.#differs(this.#written);
    this.#sha256 = sent.sha256;
    // Before the PUT the server cannot confirm anything: it has to be known that it will.
    this.#proven = this.#bucket.comparesSha256 ? 'server-sha256' : 'acknowledged-size';
    return this.#proven;
  }

  async commit(signal: AbortSignal): Promise<Entry> {
    throwIfCancelled(signal);
    const sha256 = this.#sha256;
    if (sha256 === undefined) throw new WaybillError('internal', 'commit before seal', { path: this.#path });
    if (this.#published !== undefined) return this.#published;
    const { size, deliveryId, replace } = this.#options;
    const publication = { path: this.#path, size, deliveryId, replace };
    this.#published = await publishOnce(this.#bucket, publication, () => this.#put(sha256, signal), signal);
    this.#letGo();
    return this.#published;
  }

  async #put(sha256: string, signal: AbortSignal): Promise<string | undefined> {
    const { checksums } = this.#bucket.settings;
    const checksum = fromHex(sha256);
    const { headers } = await this.#bucket.ask(
      {
        method: 'PUT',
        key: this.#key,
        headers: {
          ...metadataOf(this.#options),
          ...(checksums && { [sha256Checksum.header]: checksum }),
          ...(!this.#options.replace && { 'if-none-match': '*' }),
        },
        body: this.#bytes,
        payload: sha256,
        operation: 'publishing',
        path: this.#path,
      },
      signal,
    );
    const confirmed = headers[sha256Checksum.header];
    if (confirmed === checksum) this.#bucket.learnConfirmation();
    else if (confirmed !== undefined || this.#proven === 'server-sha256')
      throw new WaybillError(
        'integrity',
        `${this.#path}: the server does not confirm the SHA-256 of what it has published`,
        {
          operation: 'publishing',
          path: this.#path,
          advice:
            'Compare the object with its source. If the server knows no checksums, set `checksums: false` at the endpoint.',
        },
      );
    return etagOf(headers.etag).etag;
  }

  #differs(bytes: number): WaybillError {
    return new WaybillError(
      'integrity',
      `${this.#path}: ${bytes} bytes came, but ${this.#options.size} were to be sent`,
      {
        operation: 'sealing',
        path: this.#path,
      },
    );
  }

  #letGo(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#bytes = Buffer.alloc(0);
    this.#bucket.waitingBytes -= this.#options.size;
  }

  async abort(): Promise<void> {
    this.#letGo();
  }

  async leave(): Promise<void> {
    this.#letGo();
  }
}
