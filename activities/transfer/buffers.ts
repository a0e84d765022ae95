/**
 * Reused memory for file contents, with one ceiling for the whole process: a copy reserves its buffers before it opens
 * the source, and waits its turn when there is no room. Sizes are rounded up to powers of two, so that freed buffers fit
 * the next file.
 */
export interface Buffers {
  /** Waits, first come first served, until `count` buffers of at least `bytes` each are free. Throws the signal's reason. */
  reserve(count: number, bytes: number, signal: AbortSignal): Promise<Reservation>;
  /**
   * The same without waiting, for what can do without: null when there is no room now, or somebody waits for some. A quarter
   * of all is never given so.
   */
  reserveNow(count: number, bytes: number): Reservation | null;
}

export interface Reservation {
  readonly buffers: readonly Buffer[];
  /** Gives the memory back. No read or write into it may be pending. Safe twice. */
  release(): void;
}

const smallestBytes = 4 * 1024;
const spareable = 3 / 4;

export function createBuffers({ ceilingBytes }: { ceilingBytes: number }): Buffers {
  const free = new Map<number, Buffer[]>();
  const waiting: Waiting[] = [];
  let reservedBytes = 0;
  let keptBytes = 0;

  function take(size: number): Buffer {
    const kept = free.get(size)?.pop();
    if (kept !== undefined) {
      keptBytes -= size;
      return kept;
    }
    // What is kept for other sizes makes room for this one.
    if (reservedBytes + keptBytes > ceilingBytes) {
      free.clear();
      keptBytes = 0;
    }
    return Buffer.allocUnsafeSlow(size);
  }

  function grant(count: number, size: number): Reservation {
    reservedBytes += count * size;
    let held: Buffer[] | null = Array.from({ length: count }, () => take(size));
    return {
      buffers: held,
      release() {
        if (held === null) return;
        const list = free.get(size) ?? [];
        list.push(...held);
        free.set(size, list);
        held = null;
        reservedBytes -= count * size;
        keptBytes += count * size;
        admit();
      },
    };
  }

  function admit() {
    while (waiting.length > 0 && fits(waiting[0]!)) {
      const next = waiting.shift()!;
      next.admitted(grant(next.count, next.size));
    }
  }

  /** A request over the ceiling is granted when it is alone: it waits, but never for ever. */
  function fits({ count, size }: { count: number; size: number }): boolean {
    return reservedBytes === 0 || reservedBytes + count * size <= ceilingBytes;
  }

  return {
    async reserve(count, bytes, signal) {
      signal.throwIfAborted();
      const size = bufferBytes(bytes);
      if (waiting.length === 0 && fits({ count, size })) return grant(count, size);
      return new Promise<Reservation>((resolve, reject) => {
        const entry: Waiting = { count, size, admitted };
        const leave = () => {
          waiting.splice(waiting.indexOf(entry), 1);
          reject(signal.reason);
          admit();
        };
        function admitted(reservation: Reservation) {
          signal.removeEventListener('abort', leave);
          resolve(reservation);
        }
        signal.addEventListener('abort', leave, { once: true });
        waiting.push(entry);
      });
    },
    reserveNow(count, bytes) {
      const size = bufferBytes(bytes);
      return waiting.length === 0 && reservedBytes + count * size <= ceilingBytes * spareable
        ? grant(count, size)
        : null;
    },
  };
}

interface Waiting {
  count: number;
  size: number;
  admitted(reservation: Reservation): void;
}

/** What a buffer of `bytes` really takes. */
export function bufferBytes(bytes: number): number {
  let size = smallestBytes;
  while (size < bytes) size *= 2;
  return size;
}
