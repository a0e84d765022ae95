/** Lets so many in at a time, first come first served. */
export interface Gate {
  readonly width: number;
  /** Waits for a place; the answer gives it back. Throws the signal's reason when it aborts first. */
  enter(signal: AbortSignal): Promise<() => void>;
}

export function createGate(width: number): Gate {
  const waiting: Array<() => void> = [];
  let inside = 0;

  function leaveOnce(): () => void {
    let left = false;
    return () => {
      if (left) return;
      left = true;
      const next = waiting.shift();
      if (next === undefined) inside--;
      else next();
    };
  }

  return {
    width,
    async enter(signal) {
      signal.throwIfAborted();
      if (inside < width) {
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
