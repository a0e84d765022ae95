import { constants, lstatSync } from 'node:fs';
import { lstat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { throwIfCancelled } from '../../network/cancellation.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { BeginOptions, Entry, EvidenceClass, Sink, SinkToken } from '../contract.ts';
import { certainBytes, temporaryOf, temporaryPath, temporaryToken } from '../temporary.ts';
import { hasCode, naming } from './failures.ts';
import { entryOf } from './listing.ts';
import { OpenFile } from './openFile.ts';
import { publishTemporary } from './publish.ts';
import type { Root } from './root.ts';
import { WriteBack } from './writeBack.ts';

const readBackBytes = 1024 * 1024;

/**
 * Opens the temporary file beside the target, or takes up the one that `resume` names. Throws forbidden, disk-full,
 * invalid ... before the first byte.
 */
export async function beginSink(root: Root, path: string, options: BeginOptions, signal: AbortSignal): Promise<Sink> {
  throwIfCancelled(signal);
  const temporary = temporaryPath(path, options.deliveryId);
  const target = await root.entryToWrite(path);
  if (options.resume !== undefined) {
    const kept = await takeUp(root, path, options.resume, options);
    if (kept !== null) return new LocalSink(root, path, target, kept, options);
  }
  const realTemporary = join(dirname(target), basename(temporary));
  const file = await naming('beginning', path, () => openNew(root, realTemporary));
  return new LocalSink(root, path, target, { path: temporary, real: realTemporary, file, received: 0 }, options);
}

/** What a killed attempt left is unlinked, not truncated: were that attempt still alive, it would write into our bytes. */
async function openNew(root: Root, real: string): Promise<OpenFile> {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  try {
    return await OpenFile.make(root.disk, real, flags);
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
    await unlinkIfThere(real);
    return OpenFile.make(root.disk, real, flags);
  }
}

/** A temporary file under our hands. */
interface Temporary {
  path: string;
  real: string;
  file: OpenFile;
  received: number;
}

/**
 * Opens what an earlier attempt wrote, as it is: nothing is cut off, since that attempt may still live and would write the
 * same bytes. Gives null when there is nothing to go on with; what is left of it is then removed.
 */
async function takeUp(
  root: Root,
  path: string,
  token: SinkToken,
  { size, windowBytes }: BeginOptions,
): Promise<Temporary | null> {
  const temporary = temporaryOf(token, path);
  if (temporary === undefined) return null;
  const real = await root.entry(temporary);
  const file = await naming('resuming', temporary, () => openIfOurs(root, real));
  if (file === null) return null;
  const facts = await file.facts();
  // A second name means that it was being published: that file is no longer one to write into.
  if (facts.isFile() && facts.nlink === 1 && facts.size <= size)
    return { path: temporary, real, file, received: certainBytes(facts.size, windowBytes) };
  await file.close();
  await naming('resuming', temporary, () => unlinkIfThere(real));
  return null;
}

/** Null when it is gone, or is a link, a pipe or a folder that somebody put there. */
async function openIfOurs(root: Root, real: string): Promise<OpenFile | null> {
  try {
    return await OpenFile.open(root.disk, real, constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ELOOP', 'ENXIO', 'EISDIR')) return null;
    throw error;
  }
}

/** Removes the temporary file that a token names; what is none of ours stays. */
export async function discardTemporary(root: Root, token: SinkToken, signal: AbortSignal): Promise<void> {
  throwIfCancelled(signal);
  const temporary = temporaryOf(token);
  if (temporary === undefined) return;
  try {
    const real = await root.entry(temporary);
    await naming('discarding', temporary, () => unlinkIfThere(real));
  } catch (error) {
    if (!(error instanceof WaybillError) || error.kind !== 'not-found') throw error;
  }
}

class LocalSink implements Sink {
  readonly temporaryPath: string;
  readonly token: SinkToken;
  readonly received: number;
  readonly #root: Root;
  readonly #path: string;
  readonly #target: string;
  readonly #temporary: string;
  readonly #file: OpenFile;
  readonly #writeBack: WriteBack;
  readonly #options: BeginOptions;
  #sealed: Entry | undefined;
  #done = false;

  constructor(root: Root, path: string, target: string, temporary: Temporary, options: BeginOptions) {
    this.#root = root;
    this.#path = path;
    this.#target = target;
    this.temporaryPath = temporary.path;
    this.token = temporaryToken(temporary.path);
    this.received = temporary.received;
    this.#temporary = temporary.real;
    this.#file = temporary.file;
    this.#writeBack = new WriteBack(() => temporary.file.sync());
    this.#options = options;
  }

  /** Reads back: the machine may have lost, in a crash, what it had taken. */
  async holds(bytes: Uint8Array, at: number, signal: AbortSignal): Promise<boolean> {
    const back = Buffer.allocUnsafe(Math.min(bytes.length, readBackBytes));
    let compared = 0;
    while (compared < bytes.length) {
      throwIfCancelled(signal);
      const wanted = Math.min(back.length, bytes.length - compared);
      const from = compared;
      const got = await naming('reading back', this.#path, () => this.#file.read(back, 0, wanted, at + from));
      if (got === 0 || back.compare(bytes, from, from + got, 0, got) !== 0) return false;
      compared += got;
    }
    return true;
  }

  async write(bytes: Uint8Array, at: number, signal: AbortSignal): Promise<void> {
    let written = 0;
    while (written < bytes.length) {
      throwIfCancelled(signal);
      const from = written;
      written += await naming('writing', this.#path, () =>
        this.#file.write(bytes, from, bytes.length - from, at + from),
      );
    }
    await naming('writing', this.#path, async () => this.#writeBack.wrote(bytes.length));
  }

  async seal(_sent: unknown, signal: AbortSignal): Promise<EvidenceClass> {
    throwIfCancelled(signal);
    const facts = await naming('sealing', this.#path, async () => {
      const { modified } = this.#options;
      if (modified !== null) await this.#file.setModified(modified);
      await this.#writeBack.finish();
      return this.#file.facts();
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
    await naming('publishing', this.#path, () =>
      publishTemporary(this.#temporary, this.#target, this.#path, this.#options.replace),
    );
    this.#done = true;
    await this.#file.close();
    await naming('publishing', this.#path, () => this.#root.syncFolder(dirname(this.#target)));
    return this.#sealed;
  }

  /**
   * A later attempt of the same delivery has put its own file under our temporary name: its bytes are not ours to publish.
   */
  async #refuseWhenReplaced(): Promise<void> {
    if (await naming('publishing', this.#path, () => this.#isInPlace())) return;
    throw new WaybillError('conflict', `${this.#path}: another attempt has taken over this delivery`, {
      operation: 'publishing',
      path: this.#path,
    });
  }

  /** It must still be open: a filesystem gives the inode number of a closed and removed file to the next. */
  async #isInPlace(): Promise<boolean> {
    const ours = await this.#file.exactFacts();
    try {
      const found = await this.#root.disk.ask(
        () => lstatSync(this.#temporary, { bigint: true }),
        () => lstat(this.#temporary, { bigint: true }),
      );
      return found.ino === ours.ino;
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return false;
      throw error;
    }
  }

  async leave(): Promise<void> {
    if (this.#done) return;
    this.#done = true;
    await this.#file.close();
  }

  async abort(): Promise<void> {
    if (this.#done) return;
    this.#done = true;
    try {
      if (await this.#isInPlace().catch(() => false))
        await naming('aborting', this.temporaryPath, () => unlinkIfThere(this.#temporary));
    } finally {
      await this.#file.close();
    }
  }
}

export async function unlinkIfThere(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
  }
}
