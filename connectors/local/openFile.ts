import {
  type BigIntStats,
  close,
  closeSync,
  fstat,
  fstatSync,
  fsync,
  futimes,
  futimesSync,
  open,
  openSync,
  read,
  readSync,
  type Stats,
  write,
  writeSync,
} from 'node:fs';
import { promisify } from 'node:util';
import type { Disk } from './disk.ts';

const later = {
  open: promisify(open),
  close: promisify(close),
  facts: promisify(fstat) as (fd: number) => Promise<Stats>,
  exactFacts: (fd: number) => promisify(fstat)(fd, { bigint: true }) as Promise<BigIntStats>,
  times: promisify(futimes),
  sync: promisify(fsync),
};

/** Copying so much to or from the system's memory takes less than a trip to another thread. */
const smallBytes = 64 * 1024;

/**
 * An open file. The system gives the number of a closed one to the next that is opened, so it is closed when nothing is
 * under way any more, and refuses everything from the moment on when it is to be closed.
 */
export class OpenFile {
  readonly #disk: Disk;
  readonly #number: number;
  #underWay = 0;
  #closing: PromiseWithResolvers<void> | undefined;

  private constructor(disk: Disk, number: number) {
    this.#disk = disk;
    this.#number = number;
  }

  /** Opens what is there. Throws what the system says. */
  static async open(disk: Disk, real: string, flags: number): Promise<OpenFile> {
    return new OpenFile(
      disk,
      await disk.ask(
        () => openSync(real, flags),
        () => later.open(real, flags),
      ),
    );
  }

  /** Makes the file. That waits for the disk's journal, which is nothing for JavaScript's thread. */
  static async make(disk: Disk, real: string, flags: number): Promise<OpenFile> {
    return new OpenFile(disk, await later.open(real, flags, 0o666));
  }

  read(buffer: Uint8Array, offset: number, length: number, at: number): Promise<number> {
    const elsewhere = (number: number) =>
      new Promise<number>((resolve, reject) =>
        read(number, buffer, offset, length, at, (error, bytes) => (error ? reject(error) : resolve(bytes))),
      );
    if (length > smallBytes) return this.#during(elsewhere);
    return this.#ask((number) => readSync(number, buffer, offset, length, at), elsewhere);
  }

  write(bytes: Uint8Array, offset: number, length: number, at: number): Promise<number> {
    const elsewhere = (number: number) =>
      new Promise<number>((resolve, reject) =>
        write(number, bytes, offset, length, at, (error, written) => (error ? reject(error) : resolve(written))),
      );
    if (length > smallBytes) return this.#during(elsewhere);
    return this.#ask((number) => writeSync(number, bytes, offset, length, at), elsewhere);
  }

  facts(): Promise<Stats> {
    return this.#ask((number) => fstatSync(number), later.facts);
  }

  /** As `facts`; a number of an inode may be too large for a double. */
  exactFacts(): Promise<BigIntStats> {
    return this.#ask((number) => fstatSync(number, { bigint: true }), later.exactFacts);
  }

  setModified(iso: string): Promise<void> {
    const time = new Date(iso);
    return this.#ask(
      (number) => futimesSync(number, time, time),
      (number) => later.times(number, time, time),
    );
  }

  /** Settles when the disk has it. */
  sync(): Promise<void> {
    return this.#during(later.sync);
  }

  /** Safe twice. */
  async close(): Promise<void> {
    if (this.#closing === undefined) {
      this.#closing = Promise.withResolvers();
      if (this.#underWay === 0) this.#closing.resolve(this.#closeNow());
    }
    return this.#closing.promise;
  }

  async #closeNow(): Promise<void> {
    await this.#disk.ask(
      () => closeSync(this.#number),
      () => later.close(this.#number),
    );
  }

  #ask<Answer>(now: (number: number) => Answer, elsewhere: (number: number) => Promise<Answer>): Promise<Answer> {
    return this.#during((number) =>
      this.#disk.ask(
        () => now(number),
        () => elsewhere(number),
      ),
    );
  }

  async #during<Answer>(work: (number: number) => Answer | Promise<Answer>): Promise<Answer> {
    if (this.#closing !== undefined) throw Object.assign(new Error('the file is closed'), { code: 'EBADF' });
    this.#underWay++;
    try {
      return await work(this.#number);
    } finally {
      this.#ended();
    }
  }

  #ended(): void {
    this.#underWay--;
    if (this.#underWay === 0) this.#closing?.resolve(this.#closeNow());
  }
}
