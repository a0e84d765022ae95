/** Comparisons that share what they start, each known to `npm run bench` by a name. */
export interface Group {
  benchmarks: readonly Named[];
  /** Reports the lines of those that were chosen. It starts the servers it needs, and stops and removes them. */
  measure(chosen: ReadonlySet<string>, terms: Terms): Promise<void>;
}

export interface Named {
  name: string;
  /** What is compared with what, for `--help`. */
  summary: string;
}

/** One comparison with a process of its own. */
export interface Benchmark extends Named {
  measure(terms: Terms): Promise<Measurement[]>;
}

export interface Terms {
  /** Fewer items and rounds: to see that it works, not to quote. */
  quick: boolean;
  /** Where the worker's CPU profiles go, or null. A profiled worker is slower: its figures are not to be quoted. */
  profileFolder: string | null;
  /** Tells whoever waits how far it is. */
  say(message: string): void;
  report(measurement: Measurement): void;
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
  /** The most memory of the process that did our work; absent: what this process has now. */
  rssMiB?: number;
}

export function alone({ name, summary, measure }: Benchmark): Group {
  return {
    benchmarks: [{ name, summary }],
    measure: async (_chosen, terms) => {
      for (const measurement of await measure(terms)) terms.report(measurement);
    },
  };
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
