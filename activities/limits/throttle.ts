/** Lets bytes through at a rate, first come first served. */
export interface Throttle {
  /** Waits until so many bytes may go; undefined: at once. Throws the signal's reason when it aborts first. */
  take(bytes: number, signal: AbortSignal): Promise<void> | undefined;
  /** Somebody waits. */
  readonly waiting: boolean;
  /** Bytes a second; null: as many as they like. */
  setRate(bytesPerSecond: number | null): void;
}

/** What an idle throttle saves up: the bytes of so long. */
const savedMs = 100;

/**
 * A token bucket that lends: what is asked for goes at once when the balance is positive, however much it is, and the next
 * one waits until the debt is paid. So blocks of any size keep to the rate, and none has to be cut.
 */
export function createThrottle(nowMs: () => number = () => performance.now()): Throttle {
  const queue: Array<{ bytes: number; go: () => void }> = [];
  let rate: number | null = null;
  let balance = 0;
  let countedAtMs = nowMs();
  let timer: NodeJS.Timeout | undefined;

  function count(): void {
    const now = nowMs();
    if (rate !== null) balance = Math.min((rate * savedMs) / 1000, balance + (rate * (now - countedAtMs)) / 1000);
    countedAtMs = now;
  }

  function serve(): void {
    clearTimeout(timer);
    timer = undefined;
    count();
    while (queue.length > 0 && (rate === null || balance > 0)) {
      const next = queue.shift()!;
      if (rate !== null) balance -= next.bytes;
      next.go();
    }
    // At a rate of nothing everybody waits for another rate.
    if (queue.length > 0 && rate !== null && rate > 0)
      timer = setTimeout(serve, Math.max(1, Math.ceil((-balance / rate) * 1000) + 1));
  }

  return {
    get waiting() {
      return queue.length > 0;
    },
    take(bytes, signal) {
      if (rate === null) return undefined;
      count();
      if (queue.length === 0 && balance > 0) {
        balance -= bytes;
        return undefined;
      }
      return new Promise((resolve, reject) => {
        signal.throwIfAborted();
        const giveUp = () => {
          queue.splice(queue.indexOf(entry), 1);
          reject(signal.reason);
        };
        const entry = {
          bytes,
          go: () => {
            signal.removeEventListener('abort', giveUp);
            resolve();
          },
        };
        signal.addEventListener('abort', giveUp, { once: true });
        queue.push(entry);
        if (timer === undefined) serve();
      });
    },
    setRate(bytesPerSecond) {
      count();
      // What was saved at a higher rate would be a burst at a lower one.
      if (bytesPerSecond !== null) balance = Math.min(balance, (bytesPerSecond * savedMs) / 1000);
      rate = bytesPerSecond;
      serve();
    },
  };
}
