import { throwIfCancelled } from '../../network/cancellation.ts';
import type { Source, Version } from '../contract.ts';
import { naming } from './failures.ts';
import type { OpenFile } from './openFile.ts';

export class LocalSource implements Source {
  readonly size: number;
  readonly version: Version;
  readonly #path: string;
  readonly #file: OpenFile;

  constructor(path: string, file: OpenFile, version: Version) {
    this.#path = path;
    this.#file = file;
    this.size = version.size;
    this.version = version;
  }

  async read(buffer: Uint8Array, at: number, signal: AbortSignal): Promise<number> {
    let filled = 0;
    while (filled < buffer.length) {
      throwIfCancelled(signal);
      const from = filled;
      const bytes = await naming('reading', this.#path, () =>
        this.#file.read(buffer, from, buffer.length - from, at + from),
      );
      if (bytes === 0) break;
      filled += bytes;
    }
    return filled;
  }

  /** Waits for the reads in flight. */
  async close(): Promise<void> {
    await this.#file.close();
  }
}
