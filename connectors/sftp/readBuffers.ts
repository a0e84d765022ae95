import { blockBytes } from './settings.ts';

/** What is kept for the next reads; beyond it the garbage collector gets them. */
const maxKept = 64;

/** Buffers of one block each, used again and again. */
export class ReadBuffers {
  readonly #free: Buffer[] = [];

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(blockBytes);
  }

  giveBack(buffer: Buffer): void {
    if (this.#free.length < maxKept) this.#free.push(buffer);
  }
}
