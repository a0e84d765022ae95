/** Lets so many in at a time, first come first served. */
export interface Gate {
  readonly width: number;
  /** Waits for a place; the answer gives it back. Throws the signal's reason when it aborts first. */
  enter(signal: AbortSignal): Promise<() => void>;
}

/** A gate whose width changes: a narrower one sends nobody out, it lets the next ones in later. */
export interface AdjustableGate extends Gate {
  readonly inside: number;
  readonly waiting: number;
  resize(width: number): void;
}

export function createGate(initialWidth: number): AdjustableGate {
  const waiting: Array<() => void> = [];
  let width = initialWidth;
  let inside = 0;

  function admitNext(): void {
    while (inside < width && waiting.length > 0) {
      inside++;
      waiting.shift()!();
    }
  }

  function leaveOnce(): () => void {
    let left = false;
    return () => {
      if (left) return;
      left = true;
      inside--;
      admitNext();
    };
  }

  return {
    get width() {
      return width;
    },
    get inside() {
      return inside;
    },
    get waiting() {
      return waiting.length;
    },
    resize(newWidth) {
      width = newWidth;
      admitNext();
    },
    async enter(signal) {
      signal.throwIfAborted();
      if (inside < width && waiting.length === 0) {
        inside++;
        return leaveOnce();
      }
      return new Promise<() => void>((resolve, reject) => {
        const giveUp = () => {
          waiting.splice(waiting.indexOf(admit), 1);
          reject(signal.reason);
        };
        const admit = () => {
          signal.removeEventListener('abort', giveUp);
          resolve(leaveOnce());
        };
        signal.addEventListener('abort', giveUp, { once: true });
        waiting.push(admit);
      });
    },
  };
}

/** One place in each of the gates for several that count as one: the first of them takes it, the last gives it back. */
export function createSharedPlace(gates: readonly Gate[]): Pick<Gate, 'enter'> {
  let users = 0;
  let taken: Promise<() => void> | null = null;

  function leave(): void {
    if (--users > 0 || taken === null) return;
    void taken.then(
      (giveBack) => giveBack(),
      () => undefined,
    );
    taken = null;
  }

  async function join(signal: AbortSignal): Promise<void> {
    for (;;) {
      taken ??= enterAll(gates, signal);
      const attempt: Promise<() => void> = taken;
      try {
        await unlessAborted(attempt, signal);
        return;
      } catch {
        signal.throwIfAborted();
        // It was the one who asked for all that has gone.
        if (taken === attempt) taken = null;
      }
    }
  }

  return {
    async enter(signal) {
      users++;
      try {
        await join(signal);
      } catch (error) {
        leave();
        throw error;
      }
      let isLeft = false;
      return () => {
        if (!isLeft) leave();
        isLeft = true;
      };
    },
  };
}

async function enterAll(gates: readonly Gate[], signal: AbortSignal): Promise<() => void> {
  const entered: Array<() => void> = [];
  const giveBack = () => {
    for (const leave of entered) leave();
  };
  try {
    for (const gate of gates) entered.push(await gate.enter(signal));
  } catch (error) {
    giveBack();
    throw error;
  }
  return giveBack;
}

/** The result, or the signal's reason when it aborts first. */
export function unlessAborted<Result>(result: Promise<Result>, signal: AbortSignal): Promise<Result> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) {
      result.catch(() => undefined);
      return abort();
    }
    signal.addEventListener('abort', abort, { once: true });
    result.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
