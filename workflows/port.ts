import type { Failure, Json, RetryPolicy, TimeoutPolicy } from '../schema/plan.ts';

/**
 * All that the interpreter can do to the world. Temporal is one adapter of it (`temporalPort.ts`); a test records the
 * calls with another. Both must settle calls in an order that the interpreter's own scheduling decides.
 */
export interface Port {
  /** Calls an activity until it succeeds or gives up. Throws StepFailed. */
  call(call: Call): Promise<Json>;
  /** Milliseconds since 1970, the same in a replay. */
  now(): number;
  /** Settles at that time, at once when it has passed. Throws StepFailed of kind `cancelled`. */
  sleepUntil(timeMs: number, summary: string): Promise<void>;
  /** Runs work that a cancellation of the run does not reach: `finally`, and the closing of transfers. */
  protect<Result>(work: () => Promise<Result>): Promise<Result>;
  /** Runs work that can be cancelled alone: its calls and sleeps then throw StepFailed of kind `cancelled`. */
  cancellable<Result>(work: () => Promise<Result>): { result: Promise<Result>; cancel(): void };
  /** Undefined when the run is not paused; else settles when it goes on. Throws StepFailed of kind `cancelled` when it is cancelled meanwhile. */
  proceed(): Promise<void> | undefined;
  /** True when the history is long enough that the walk should stop at the next safe place and go on in a new one. */
  shouldSuspend(): boolean;
  /** The steps have ended and `finally` begins: a cancellation changes nothing any more, and whoever asks for one is to be told. */
  beginFinally(): void;
  /** Shows the night operator where the run stands. */
  show(progress: ProgressLine[]): void;
}

export interface Call {
  /** Name of the activity: an action (`files.move@1`) or one of our own (`transfer.batch`). */
  activity: string;
  queue: 'runs' | 'transfers';
  input: Json;
  /** "copy /out/ORD_1.csv -> landing", for Temporal's UI. */
  summary: string;
  retry: RetryPolicy;
  /** `totalMs`: the call with all its attempts. */
  timeout: TimeoutPolicy;
  /** One attempt; absent: as long as the call. */
  attemptMs?: number;
  /** It can be stopped at any time and called again: a pause of the run stops it, and the end of the pause calls it again. */
  heartbeats: boolean;
}

export interface ProgressLine {
  step: string;
  state: 'running' | 'waiting' | 'done' | 'failed' | 'skipped';
  done: number;
  total: number;
  bytes: number;
  failed: number;
  /** What it waits for and until when, in words. */
  waitsFor?: string;
}

/** A step gave up. The only error that leaves a port. */
export class StepFailed extends Error {
  override readonly name = 'StepFailed';
  readonly failure: Failure;
  /** What the step gave all the same: the counts of a loop or transfer that failed. */
  readonly output: Json;

  constructor(failure: Failure, output: Json = null) {
    super(failure.message);
    this.failure = failure;
    this.output = output;
  }
}
