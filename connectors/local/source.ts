import type { FileHandle } from 'node:fs/promises';
import { throwIfCancelled } from '../../network/cancellation.ts';
import type { Source, Version } from '../contract.ts';
import { naming } from './failures.ts';

export class LocalSource implements Source {
  readonly size: number;
  readonly version: Version;
  readonly #path: string;
  readonly #handle: FileHandle;

  constructor(path: string, handle: FileHandle, version: Version) {
    this.#path = path;
    this.#handle = handle;
    this.size = version.size;
    this.version = version;
  }

  async read(buffer: Uint8Array, at: number, signal: AbortSignal): Promise<number> {
    let filled = 0;
    while (filled < buffer.length) {
      throwIfCancelled(signal);
      const { bytesRead } = await naming('reading', this.#path, () =>
        this.#handle.read(buffer, filled, buffer.length - filled, at + filled),
      );
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return filled;
  }

  async close(): Promise<void> {
    // A FileHandle waits for the reads in flight, and closing it twice is safe.
    await this.#handle.close();
  }
}
