/** What the terminal, the system or the parent asks of a command that stays up. */
export interface Signals {
  /** Aborted by the first SIGINT or SIGTERM, or when the bootstrap that started us has gone. */
  stop: AbortSignal;
  untilStop(): Promise<void>;
  /** Calls back at the next one. */
  onSecond(callback: () => void): void;
}

/** npm and the bootstrap pass a Ctrl-C on that the terminal has delivered already: so close together they are one. */
const sameKeyPressMs = 1_000;

/** Takes over SIGINT and SIGTERM of this process. */
export function followSignals(): Signals {
  const stop = new AbortController();
  const stopped = Promise.withResolvers<void>();
  let firstAt = 0;
  let second: () => void = () => undefined;
  const receive = (): void => {
    if (!stop.signal.aborted) {
      firstAt = Date.now();
      stop.abort();
      stopped.resolve();
    } else if (Date.now() - firstAt > sameKeyPressMs) {
      second();
    }
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, receive);
  if (process.connected) {
    process.on('disconnect', receive);
    // Watching the parent does not by itself keep us running.
    process.channel?.unref();
  }
  return {
    stop: stop.signal,
    // A pending promise does not keep a process running either.
    async untilStop() {
      const hold = setInterval(() => undefined, 2 ** 30);
      await stopped.promise;
      clearInterval(hold);
    },
    onSecond(callback) {
      second = callback;
    },
  };
}
