import type { Stats } from 'ssh2';
import { WaybillError } from '../../schema/errors.ts';
import { parentFolder } from '../../schema/paths.ts';
import type { BeginOptions, Entry, EvidenceClass, Log, Sink, SinkToken } from '../contract.ts';
import { certainBytes, temporaryOf, temporaryPath, temporaryToken } from '../temporary.ts';
import type { SftpConnection } from './connection.ts';
import { explain } from './explain.ts';
import { hasStatus, status } from './failures.ts';
import { makeFolders } from './folders.ts';
import type { ConnectionPool, Lease } from './pool.ts';
import { publish, removeFile } from './publish.ts';
import { closeQuietly, entryOf, findEntry, openHandle, remotePath } from './requests.ts';
import { smallestBlockBytes } from './settings.ts';

/** Cleaning up must not hang where the transfer just failed; what stays behind is swept later. */
const abortTimeoutMs = 10_000;
/** A server may lose a folder that several writers make at the same moment (rclone does), and makes it when it is asked again. */
const opensAtMost = 4;
/** The end of what a killed attempt wrote, which is read back before its write is taken up. */
const readBackBytes = 1024 * 1024;

export interface SinkPlace {
  pool: ConnectionPool;
  root: string;
  /** The server takes the bytes of a file only from its start on: none is taken up again. */
  writesInOrder: boolean;
  log: Log;
}

/** Opens the temporary file on the leased connection, or takes up the one that `resume` names; the lease ends with seal or abort, or at once when this throws. */
export async function beginSink(
  place: SinkPlace,
  lease: Lease,
  path: string,
  options: BeginOptions,
  signal: AbortSignal,
): Promise<SftpSink> {
  const temporary = temporaryPath(path, options.deliveryId);
  const { connection } = lease;
  try {
    const resumed = place.writesInOrder ? undefined : options.resume;
    const kept = resumed && (await takeUp(place.root, connection, path, resumed, options, signal));
    if (kept) return new SftpSink(place, lease, path, kept, options);
    const handle = await openTemporary(place.root, connection, temporary, signal);
    return new SftpSink(place, lease, path, { path: temporary, handle, received: 0 }, options);
  } catch (error) {
    lease.release();
    throw error;
  }
}

/**
 * Straight away, since folder and name are usually right. What a killed attempt left is removed, not truncated: were that
 * attempt still alive, it would write into our bytes. Missing folders are made.
 */
async function openTemporary(
  root: string,
  connection: SftpConnection,
  temporary: string,
  signal: AbortSignal,
): Promise<Buffer> {
  const open = () =>
    openHandle(connection, signal, temporary, 'beginning', (sftp, answer) =>
      sftp.open(remotePath(root, temporary), 'wx', answer),
    );
  for (let tries = 1; ; tries++)
    try {
      return await open();
    } catch (error) {
      if (tries === opensAtMost) throw error;
      if (hasStatus(error, status.noSuchFile)) await makeFolders(connection, root, parentFolder(temporary), signal);
      else if (!hasStatus(error, status.failure)) throw error;
      else if (await findEntry(connection, root, temporary, signal))
        await removeFile(connection, root, temporary, signal);
      else throw await explain(error, connection, root, temporary, signal);
      // Again, also when no folder was missing any more: a writer beside us may have made it in the meantime.
    }
}

/** A temporary file under our hands. */
interface Temporary {
  path: string;
  handle: Buffer;
  received: number;
}

/**
 * Opens what an earlier attempt wrote, as it is: nothing is cut off, since that attempt may still live and would write the
 * same bytes. Gives undefined when there is nothing to go on with; what is left of it is then removed.
 */
async function takeUp(
  root: string,
  connection: SftpConnection,
  path: string,
  token: SinkToken,
  { size, windowBytes }: BeginOptions,
  signal: AbortSignal,
): Promise<Temporary | undefined> {
  const temporary = temporaryOf(token, path);
  if (temporary === undefined) return undefined;
  const handle = await openKept(root, connection, temporary, signal);
  if (handle === undefined) return undefined;
  const facts = await connection.request<Stats>(signal, {
    operation: 'resuming',
    path: temporary,
    send: (sftp, answer) => sftp.fstat(handle, answer),
  });
  const entry = entryOf(temporary, facts);
  if (entry.kind === 'file' && facts.size !== undefined && entry.size <= size)
    return { path: temporary, handle, received: certainBytes(entry.size, windowBytes) };
  closeQuietly(connection, handle);
  await removeFile(connection, root, temporary, signal);
  return undefined;
}

/** Undefined when it is gone, is no file, or the server does not open what is there for writing. */
async function openKept(
  root: string,
  connection: SftpConnection,
  temporary: string,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  try {
    // The protocol opens what a link points to; this name must be a file itself.
    const facts = await connection.request<Stats>(signal, {
      operation: 'resuming',
      path: temporary,
      send: (sftp, answer) => sftp.lstat(remotePath(root, temporary), answer),
    });
    if (entryOf(temporary, facts).kind !== 'file') return undefined;
    return await openHandle(connection, signal, temporary, 'resuming', (sftp, answer) =>
      sftp.open(remotePath(root, temporary), 'r+', answer),
    );
  } catch (error) {
    if (hasStatus(error, status.noSuchFile)) return undefined;
    if (!hasStatus(error, status.failure, status.permissionDenied, status.unsupported)) throw error;
    await removeFile(connection, root, temporary, signal);
    return undefined;
  }
}

class SftpSink implements Sink {
  readonly temporaryPath: string;
  readonly token: SinkToken;
  readonly received: number;
  readonly #place: SinkPlace;
  readonly #lease: Lease;
  readonly #path: string;
  readonly #handle: Buffer;
  readonly #options: BeginOptions;
  #sealed: Entry | undefined;
  #isOpen = true;
  #isPublished = false;
  #isAborted = false;

  constructor(place: SinkPlace, lease: Lease, path: string, temporary: Temporary, options: BeginOptions) {
    this.#place = place;
    this.#lease = lease;
    this.#path = path;
    this.temporaryPath = temporary.path;
    this.token = temporaryToken(temporary.path);
    this.received = temporary.received;
    this.#handle = temporary.handle;
    this.#options = options;
  }

  /**
   * Reads back only the end of what is to be kept: all of it would cost as much as to send it again. A server that cannot
   * read what it writes keeps nothing for certain.
   */
  async holds(bytes: Uint8Array, at: number, signal: AbortSignal): Promise<boolean> {
    const from = Math.max(0, this.received - readBackBytes - at);
    if (from >= bytes.length) return true;
    const { connection } = this.#lease;
    const back = Buffer.allocUnsafe(Math.min(bytes.length - from, connection.session.readBytes));
    for (let compared = from; compared < bytes.length; ) {
      const wanted = Math.min(back.length, bytes.length - compared);
      const got = await this.#readBack(back.subarray(0, wanted), at + compared, signal);
      if (got === 0 || back.compare(bytes, compared, compared + got, 0, got) !== 0) return false;
      compared += got;
    }
    return true;
  }

  async #readBack(back: Buffer, at: number, signal: AbortSignal): Promise<number> {
    try {
      return await this.#lease.connection.request<number>(signal, {
        operation: 'reading back',
        path: this.#path,
        send: (sftp, answer) => sftp.read(this.#handle, back, 0, back.length, at, answer),
      });
    } catch (error) {
      if (hasStatus(error, status.failure, status.permissionDenied, status.unsupported)) return 0;
      throw error;
    }
  }

  /** Lets the server fill the file by itself: `send` gets the handle, on the connection of the lease. */
  async fill(
    send: (target: Buffer, answer: (error?: Error | null) => void) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { connection } = this.#lease;
    try {
      await connection.request<void>(signal, {
        operation: 'copying',
        path: this.#path,
        send: (_, answer) => send(this.#handle, answer),
      });
    } catch (error) {
      throw await explain(error, connection, this.#place.root, this.#path, signal);
    }
  }

  /** Split at the server's limit, the pieces in flight together, in their order. */
  async write(bytes: Uint8Array, at: number, signal: AbortSignal): Promise<void> {
    const pieceBytes = this.#lease.connection.session.writeBytes;
    if (bytes.length <= pieceBytes) return this.#writePiece(bytes, at, signal);
    const pieces: Array<Promise<void>> = [];
    for (let start = 0; start < bytes.length; start += pieceBytes) {
      pieces.push(this.#writePiece(bytes.subarray(start, start + pieceBytes), at + start, signal));
    }
    await Promise.all(pieces);
  }

  async #writePiece(bytes: Uint8Array, at: number, signal: AbortSignal): Promise<void> {
    const { connection } = this.#lease;
    const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    // A small write is best one packet, with its header.
    const pieces = view.length >= smallestBlockBytes ? connection.session.pieces : null;
    try {
      await connection.request<void>(signal, {
        operation: 'writing',
        path: this.#path,
        send: (sftp, answer) =>
          pieces
            ? pieces.write(this.#handle, view, at, answer)
            : sftp.write(this.#handle, view, 0, view.length, at, (error) => answer(error)),
        // Of the caller's memory nothing is held after this; ssh2's own `write` has copied it by now.
        ending: () => pieces?.letGo(view),
      });
    } catch (error) {
      throw await explain(error, connection, this.#place.root, this.#path, signal);
    }
  }

  async seal(_sent: unknown, signal: AbortSignal): Promise<EvidenceClass> {
    // In flight together: the server works on one handle in the order of the requests.
    const [, , facts] = await Promise.all([
      this.#keepModified(signal),
      this.#makeDurable(signal),
      this.#readFacts(signal),
    ]);
    await this.#close(signal);
    const entry = entryOf(this.#path, facts);
    if (entry.size !== this.#options.size) {
      throw new WaybillError(
        'integrity',
        `${this.#path}: has ${entry.size} bytes on the server, but ${this.#options.size} were sent`,
        {
          operation: 'sealing',
          path: this.#path,
        },
      );
    }
    this.#sealed = entry;
    return 'acknowledged-size';
  }

  /** Not every server lets a client set times; the delivery does not depend on it. */
  async #keepModified(signal: AbortSignal): Promise<void> {
    const { modified } = this.#options;
    if (modified === null) return;
    const modifiedSeconds = Math.floor(Date.parse(modified) / 1000);
    // The access time tells the sweep that the file is fresh although its modified time is old.
    const accessedSeconds = Math.floor(Date.now() / 1000);
    try {
      await this.#lease.connection.request<void>(signal, {
        operation: 'sealing',
        path: this.#path,
        send: (sftp, answer) => sftp.futimes(this.#handle, accessedSeconds, modifiedSeconds, answer),
      });
    } catch (error) {
      if (!hasStatus(error, status.unsupported, status.permissionDenied, status.failure)) throw error;
    }
  }

  async #makeDurable(signal: AbortSignal): Promise<void> {
    const { connection } = this.#lease;
    if (!connection.session.extensions.has('fsync@openssh.com')) return;
    try {
      await connection.request<void>(signal, {
        operation: 'sealing',
        path: this.#path,
        send: (sftp, answer) => sftp.ext_openssh_fsync(this.#handle, answer),
      });
    } catch (error) {
      if (hasStatus(error, status.unsupported)) return;
      throw await explain(error, connection, this.#place.root, this.#path, signal);
    }
  }

  #readFacts(signal: AbortSignal): Promise<Stats> {
    return this.#lease.connection.request<Stats>(signal, {
      operation: 'sealing',
      path: this.#path,
      send: (sftp, answer) => sftp.fstat(this.#handle, answer),
    });
  }

  #close(signal: AbortSignal): Promise<void> {
    return this.#lease.connection.request<void>(signal, {
      operation: 'sealing',
      path: this.#path,
      send: (sftp, answer) => {
        this.#isOpen = false;
        sftp.close(this.#handle, answer);
      },
    });
  }

  async commit(signal: AbortSignal): Promise<Entry> {
    if (this.#sealed === undefined) throw new WaybillError('internal', 'commit before seal', { path: this.#path });
    if (this.#isPublished) return this.#sealed;
    const { root } = this.#place;
    await publish(this.#lease.connection, root, this.temporaryPath, this.#path, this.#options.replace, signal);
    this.#isPublished = true;
    this.#lease.release();
    return this.#sealed;
  }

  async leave(): Promise<void> {
    if (this.#isPublished || this.#isAborted) return;
    this.#isAborted = true;
    this.#letGo();
  }

  #letGo(): void {
    // Never twice: the server gives the number of a closed handle to the next file.
    if (this.#isOpen) closeQuietly(this.#lease.connection, this.#handle);
    this.#isOpen = false;
    this.#lease.release();
  }

  async abort(): Promise<void> {
    if (this.#isPublished || this.#isAborted) return;
    this.#isAborted = true;
    const { pool, root, log } = this.#place;
    this.#letGo();
    const signal = AbortSignal.timeout(abortTimeoutMs);
    try {
      await pool.use(signal, (connection) => removeFile(connection, root, this.temporaryPath, signal));
    } catch (error) {
      const { kind, message } = error as WaybillError;
      log.warn(
        { operation: 'aborting', path: this.temporaryPath, kind },
        `a temporary file is left to the sweep: ${message}`,
      );
    }
  }
}
