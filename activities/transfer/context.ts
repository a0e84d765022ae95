import type { Log } from '../../connectors/contract.ts';
import type { Store } from '../../prisma/contract.ts';
import type { CallTerms } from '../../schema/workflow.ts';
import type { EndpointPool } from '../endpoints.ts';
import type { Buffers } from './buffers.ts';

/** What an activity gets from whoever runs it: Temporal's worker, or a test. */
export interface ActivityContext {
  /** Aborts when the run is cancelled, the worker shuts down or the attempt is taken for dead. */
  signal: AbortSignal;
  /** Says that the attempt lives. The details are for people; no attempt relies on them. */
  heartbeat(details: unknown): void;
  /** Names this attempt and no other: claims are held in its name. */
  owner: string;
  /** 1 for the first. */
  attempt: number;
  /** Since when the step's patience (`retry.forMs`) is counted; absent: since now. */
  sinceMs?: number;
  /** The step's terms: which failures get another attempt, and how long a copy may stand still. */
  terms: CallTerms;
}

export interface TransferDependencies {
  store: Store;
  endpoints: EndpointPool;
  log: Log;
  /** Memory for file contents, shared by every copy of the process. */
  buffers: Buffers;
  clock: { now(): Date };
  /** How long a claim holds that nobody renews; by default `limits.leaseMs`. */
  leaseMs?: number;
  /** Called after each durable step of a delivery, for tests that stop the process there. */
  observe?(step: DurableStep, deliveryId: string): void | Promise<void>;
}

/** The steps of a delivery after which a crash leaves something behind, in order. */
export const durableSteps = [
  'claimed',
  'begun',
  /** Only of a file that can be taken up in its middle. */
  'token',
  'first-write',
  'written',
  'sealed',
  'verified',
  'committed',
  'published',
  'disposed',
  'settled',
] as const;
export type DurableStep = (typeof durableSteps)[number];

/** Limits of the engine. */
export const limits = {
  /** Deliveries of one batch, and so of one activity. */
  batchFiles: 500,
  batchBytes: 256 * 1024 * 1024,
  /** A file over this size is a batch of its own. */
  aloneBytes: 64 * 1024 * 1024,
  /** Rows that one statement writes. */
  pageRows: 2_000,
  /** Rows that one transaction of a running copy changes. */
  commitRows: 200,
  /** A claim that nobody renews for so long may be taken over by another run. */
  leaseMs: 60_000,
  /** A process that has not looked at its claims for so long was stopped, and asks whether they are still its own. */
  absenceMs: 5_000,
  /** Files of this size on average count as small; that many deliveries of them are under way together. */
  smallFileBytes: 256 * 1024,
  smallFilesInFlight: 128,
  heartbeatMs: 1_000,
  /** How often a copy looks again whether the other run that copies the same file is done, and for how long it waits. */
  busyPollMs: 500,
  busyWaitMs: 10 * 60_000,
  /** Names tried for `onConflict: version`: `a.v2.csv` to `a.v1000.csv`. */
  versions: 1_000,
  /** Blocks of one file in flight together. */
  blocksInFlight: 64,
  /** How long the removal of a temporary file may hold up the end of an attempt. */
  abortWaitMs: 800,
  /** How much longer than its run a rename may take that has begun. */
  commitGraceMs: 800,
  /** Below this size the commit itself finds out that the target exists; a look ahead would cost more than the bytes. */
  lookAheadBytes: 1024 * 1024,
  /** Temporary files of so many earlier attempts are looked for. */
  earlierAttempts: 5,
  /** Memory of one file in flight; of one whose blocks are larger than `largeBlockBytes`; of one that goes in parts. */
  fileBufferBytes: 16 * 1024 * 1024,
  /** As many blocks as S3 has reads in flight. With half of them the worker waits for each answer. */
  largeBlocksBufferBytes: 32 * 1024 * 1024,
  largeBlockBytes: 1024 * 1024,
  partBufferBytes: 64 * 1024 * 1024,
  /**
   * Bytes of one file that may be in doubt when its writer is killed. What is at the target then may have holes in its last
   * window, and what was sent may not have come there: twice this is sent again at most. Parts are there or not.
   */
  windowBytes: 16 * 1024 * 1024,
  partWindowBytes: 64 * 1024 * 1024,
  /** Memory of one file that goes to several targets: what some have read and others have not. */
  sharedWindowBytes: 16 * 1024 * 1024,
  /**
   * How long, in sum over one file, a fast target waits for slower ones so that the source is read once; and for one that
   * has not even begun.
   */
  sharedWaitMs: 10_000,
  sharedStartMs: 1_000,
  /** A larger file is taken up where it was left, when its target can; a smaller one is sent again. */
  resumableBytes: 8 * 1024 * 1024,
  /** How long writes under way may take to be acknowledged when their copy is stopped. */
  drainMs: 500,
  /** How long the end of a transfer tries to remove what its abandoned writes left. */
  discardMs: 3_000,
  errorMessageLength: 2_000,
} as const;
