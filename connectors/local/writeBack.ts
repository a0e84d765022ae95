/** So much is written before the disk is told to begin with it. What is left for the end is little then, however large the file. */
const earlyBytes = 32 * 1024 * 1024;

/**
 * Has the disk take a file while it is still being written. The system tells the failure of a disk once, to whoever syncs
 * next: one that comes early is kept, and thrown by all that follows.
 */
export class WriteBack {
  readonly #sync: () => Promise<void>;
  #waitingBytes = 0;
  #early: Promise<void> | undefined;
  #failure: { error: unknown } | undefined;

  constructor(sync: () => Promise<void>) {
    this.#sync = sync;
  }

  /** So many bytes more have been written. Throws what an early sync has thrown. */
  wrote(bytes: number): void {
    if (this.#failure !== undefined) throw this.#failure.error;
    this.#waitingBytes += bytes;
    if (this.#waitingBytes < earlyBytes || this.#early !== undefined) return;
    this.#waitingBytes = 0;
    this.#early = this.#sync()
      .catch((error: unknown) => {
        this.#failure = { error };
      })
      .finally(() => {
        this.#early = undefined;
      });
  }

  /** Settles when the disk has everything. Throws what this sync throws, or any before it. */
  async finish(): Promise<void> {
    await this.#early;
    if (this.#failure !== undefined) throw this.#failure.error;
    await this.#sync();
  }
}
