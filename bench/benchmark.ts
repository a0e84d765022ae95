/** One comparison that `npm run bench` knows by name. It starts the servers it needs, and stops and removes them. */
export interface Benchmark {
  name: string;
  /** What is compared with what, for `--help`. */
  summary: string;
  measure(terms: Terms): Promise<Measurement[]>;
}

export interface Terms {
  /** Fewer items and rounds: to see that it works, not to quote. */
  quick: boolean;
  /** Tells whoever waits how far it is. */
  say(message: string): void;
  /** Rejects when the process is told to end. Race the measuring with it, not the starting: so that what was started is stopped. */
  interrupted: Promise<never>;
}

/** One line of the answer. `ratio` is ours divided by the peer's: machines differ, so it is what counts. */
export interface Measurement {
  /** The benchmark's name, or that and what of it: `steps.rate`. */
  name: string;
  ours: number;
  /** What ours stands beside: another program, a smaller size of the same, or a limit. */
  peer: number;
  unit: string;
}

export function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)]!;
}

/** Milliseconds that the work takes. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAtMs = performance.now();
  await work();
  return performance.now() - startedAtMs;
}

/** Calls `work` with 0, 1, ... below `end` in steps, `limit` of them at a time. */
export async function inFlight(
  limit: number,
  end: number,
  step: number,
  work: (at: number) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const worker = async () => {
    for (let at = next; at < end; at = next) {
      next += step;
      await work(at);
    }
  };
  await Promise.all(Array.from({ length: limit }, worker));
}
