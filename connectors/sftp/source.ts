import type { Stats } from 'ssh2';
import { WaybillError } from '../../schema/errors.ts';
import type { OpenOptions, Source, Version } from '../contract.ts';
import { isSameVersion } from '../temporary.ts';
import type { Lease } from './pool.ts';
import type { ReadBuffers } from './readBuffers.ts';
import { closeQuietly, entryOf, openHandle, remotePath } from './requests.ts';

/** Of one read: a part for S3 is 64 requests, and several parts are read at once; each request holds a buffer until it is answered. */
const piecesInFlight = 16;

/** Opens a file on the leased connection; the lease ends when the source is closed, or at once when this throws. */
export async function openSource(
  lease: Lease,
  buffers: ReadBuffers,
  root: string,
  path: string,
  options: OpenOptions,
  signal: AbortSignal,
): Promise<Source> {
  const { connection } = lease;
  let handle: Buffer | undefined;
  try {
    const opened = await openHandle(connection, signal, path, 'opening', (sftp, answer) =>
      sftp.open(remotePath(root, path), 'r', answer),
    );
    handle = opened;
    const facts = await connection.request<Stats>(signal, {
      operation: 'opening',
      path,
      send: (sftp, answer) => sftp.fstat(opened, answer),
    });
    const { kind, size, modified } = entryOf(path, facts);
    // OpenSSH opens folders too, and fails at the first read.
    if (kind !== 'file') throw new WaybillError('invalid', `${path}: is not a file`, { operation: 'opening', path });
    if (options.ifMatch && !isSameVersion({ size, modified }, options.ifMatch)) {
      throw new WaybillError('conflict', `${path}: changed since it was listed`, { operation: 'opening', path });
    }
    return new SftpSource(path, lease, buffers, handle, { size, modified });
  } catch (error) {
    if (handle) closeQuietly(connection, handle);
    lease.release();
    throw error;
  }
}

class SftpSource implements Source {
  readonly size: number;
  readonly version: Version;
  readonly #path: string;
  readonly #lease: Lease;
  readonly #buffers: ReadBuffers;
  readonly #handle: Buffer;
  #isOpen = true;

  constructor(path: string, lease: Lease, buffers: ReadBuffers, handle: Buffer, version: Version) {
    this.#path = path;
    this.#lease = lease;
    this.#buffers = buffers;
    this.#handle = handle;
    this.version = version;
    this.size = version.size;
  }

  /** Split at the server's limit, many pieces in flight together. Bytes that were appended after the file was opened are not read. */
  async read(buffer: Uint8Array, at: number, signal: AbortSignal): Promise<number> {
    const wanted = Math.min(buffer.length, this.size - at);
    if (wanted <= 0) return 0;
    const pieceBytes = this.#lease.connection.session.readBytes;
    if (wanted <= pieceBytes) return this.#readPiece(buffer.subarray(0, wanted), at, signal);
    const lengths = new Array<number>(Math.ceil(wanted / pieceBytes));
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < lengths.length) {
        const piece = next++;
        const start = piece * pieceBytes;
        const part = buffer.subarray(start, Math.min(start + pieceBytes, wanted));
        try {
          lengths[piece] = await this.#readPiece(part, at + start, signal);
        } catch (error) {
          next = lengths.length;
          throw error;
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(piecesInFlight, lengths.length) }, lane));
    return lengthWithoutGap(lengths, pieceBytes);
  }

  /** A server may answer with fewer bytes than asked for before the end; what is missing is asked for again. */
  async #readPiece(target: Uint8Array, at: number, signal: AbortSignal): Promise<number> {
    let filled = 0;
    while (filled < target.length) {
      const bytes = await this.#readOnce(target.subarray(filled), at + filled, signal);
      if (bytes === 0) break;
      filled += bytes;
    }
    return filled;
  }

  /**
   * Into a buffer of ours and from there into the caller's: after a cancellation the answer may still come, and must not
   * land in a buffer that is by then used for another file.
   */
  #readOnce(target: Uint8Array, at: number, signal: AbortSignal): Promise<number> {
    const own = this.#buffers.take();
    return this.#lease.connection.request<number>(signal, {
      operation: 'reading',
      path: this.#path,
      send: (sftp, answer) =>
        sftp.read(this.#handle, own, 0, target.length, at, (error, bytes) => {
          if (!error && !signal.aborted) target.set(own.subarray(0, bytes));
          this.#buffers.giveBack(own);
          answer(error, bytes);
        }),
    });
  }

  async close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    closeQuietly(this.#lease.connection, this.#handle);
    this.#lease.release();
  }
}

/** Bytes from the start on that are really there: a short piece ends the count. */
function lengthWithoutGap(pieces: number[], pieceBytes: number): number {
  let total = 0;
  for (const bytes of pieces) {
    total += bytes;
    if (bytes < pieceBytes) break;
  }
  return total;
}
