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
