import { constants } from 'node:fs';
import { type FileHandle, lstat, open, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { throwIfCancelled } from '../../network/cancellation.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { BeginOptions, Entry, EvidenceClass, Sink, SinkToken } from '../contract.ts';
import { temporaryPath } from '../temporary.ts';
import { hasCode, localError, naming } from './failures.ts';
import { entryOf } from './listing.ts';
import { publishNew } from './publish.ts';
import { type Root, syncFolder } from './root.ts';

/** Opens the temporary file beside the target. Throws forbidden, disk-full, invalid ... before the first byte. */
export async function beginSink(root: Root, path: string, options: BeginOptions, signal: AbortSignal): Promise<Sink> {
  throwIfCancelled(signal);
  const temporary = temporaryPath(path, options.deliveryId);
  const target = await root.entryToWrite(path);
  const realTemporary = await root.entry(temporary);
  // What a killed attempt left is unlinked, not truncated: were that attempt still alive, it would write into our bytes.
  await naming('beginning', temporary, () => unlinkIfThere(realTemporary));
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const handle = await naming('beginning', path, () => open(realTemporary, flags, 0o666));
  const { ino } = await handle.stat({ bigint: true });
  return new LocalSink(path, target, temporary, realTemporary, handle, ino, options);
}

class LocalSink implements Sink {
  readonly temporaryPath: string;
  readonly token: SinkToken;
  readonly received = 0;
  readonly #path: string;
  readonly #target: string;
  readonly #temporary: string;
  readonly #handle: FileHandle;
  readonly #inode: bigint;
  readonly #options: BeginOptions;
  #sealed: Entry | undefined;
  #done = false;

  constructor(
    path: string,
    target: string,
    temporaryPath: string,
    temporary: string,
    handle: FileHandle,
    inode: bigint,
    options: BeginOptions,
  ) {
    this.#path = path;
    this.#target = target;
    this.temporaryPath = temporaryPath;
    this.token = { kind: 'temporary', path: temporaryPath };
    this.#temporary = temporary;
    this.#handle = handle;
    this.#inode = inode;
    this.#options = options;
  }

  async write(bytes: Uint8Array, at: number, signal: AbortSignal): Promise<void> {
    let written = 0;
    while (written < bytes.length) {
      throwIfCancelled(signal);
      const { bytesWritten } = await naming('writing', this.#path, () =>
        this.#handle.write(bytes, written, bytes.length - written, at + written),
      );
      written += bytesWritten;
    }
  }

  async seal(_sent: unknown, signal: AbortSignal): Promise<EvidenceClass> {
    throwIfCancelled(signal);
    const facts = await naming('sealing', this.#path, async () => {
      const { modified } = this.#options;
      if (modified !== null) await this.#handle.utimes(new Date(modified), new Date(modified));
      await this.#handle.sync();
      return this.#handle.stat();
    });
    if (facts.size !== this.#options.size) {
      throw new WaybillError(
        'integrity',
        `${this.#path}: has ${facts.size} bytes, but ${this.#options.size} were sent`,
        {
          operation: 'sealing',
          path: this.#path,
        },
      );
    }
    this.#sealed = entryOf(this.#path, facts);
    return 'acknowledged-size';
  }

  async commit(signal: AbortSignal): Promise<Entry> {
    throwIfCancelled(signal);
    if (this.#sealed === undefined) throw new WaybillError('internal', 'commit before seal', { path: this.#path });
    if (this.#done) return this.#sealed;
    await this.#refuseWhenReplaced();
    await naming('publishing', this.#path, () => this.#publish());
    this.#done = true;
    await this.#handle.close();
    await naming('publishing', this.#path, () => syncFolder(dirname(this.#target)));
    return this.#sealed;
  }

  async #publish(): Promise<void> {
    if (!this.#options.replace) return publishNew(this.#temporary, this.#target);
    try {
      await rename(this.#temporary, this.#target);
    } catch (error) {
      if (!hasCode(error, 'EISDIR')) throw error;
      throw new WaybillError('exists', `${this.#path}: is a folder`, { operation: 'publishing', path: this.#path });
    }
  }

  /**
   * A later attempt of the same delivery has put its own file under our temporary name: its bytes are not ours to publish.
   * The handle stays open until then, since a filesystem gives the inode number of a closed and removed file to the next.
   */
  async #refuseWhenReplaced(): Promise<void> {
    const found = await lstat(this.#temporary, { bigint: true }).catch((error) => {
      if (hasCode(error, 'ENOENT')) return undefined;
      throw localError(error, 'publishing', this.#path);
    });
    if (found?.ino === this.#inode) return;
    throw new WaybillError('conflict', `${this.#path}: another attempt has taken over this delivery`, {
      operation: 'publishing',
      path: this.#path,
    });
  }

  async leave(): Promise<void> {
    if (this.#done) return;
    this.#done = true;
    await this.#handle.close();
  }

  async abort(): Promise<void> {
    if (this.#done) return;
    this.#done = true;
    const found = await lstat(this.#temporary, { bigint: true }).catch(() => undefined);
    if (found?.ino === this.#inode) await naming('aborting', this.temporaryPath, () => unlinkIfThere(this.#temporary));
    await this.#handle.close();
  }
}

async function unlinkIfThere(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
  }
}
