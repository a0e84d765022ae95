import type { ErrorKind } from './errors.ts';

/**
 * A compiled pipeline: what the interpreter walks. Plain JSON, made by `language/compile.ts`, stored by content hash,
 * loaded by a run's first activity. Everything is resolved but expressions: those stay CEL text and are evaluated while
 * the plan is walked.
 */
export interface Plan {
  language: 'waybill/v1';
  pipeline: string;
  description: string | null;
  labels: Record<string, string>;
  inputs: Record<string, InputDeclaration>;
  /** alias -> endpoint name */
  endpoints: Record<string, string>;
  session: { application: number; as: string | null };
  /** Named constants; texts in them may be templates over `inputs` and `run`, filled once when the run starts. */
  vars: Record<string, Json>;
  /** How many runs of one key may go on at the same time, or null: any number. */
  concurrency: ConcurrencyPolicy | null;
  steps: Block[];
  onError: Block[];
  finally: Block[];
  /** output name -> CEL */
  outputs: Record<string, string>;
}

export interface InputDeclaration {
  type: 'string' | 'integer' | 'number' | 'boolean' | 'list' | 'map';
  description?: string;
  default?: Json;
  required: boolean;
}

export interface ConcurrencyPolicy {
  /** A template over `inputs`, `vars` and `run`: runs of the tenant that fill it alike share the limit, whatever their pipeline. */
  key: string;
  limit: number;
  onLimit: 'queue' | 'skip' | 'cancel-oldest';
}

export type Block = ActionBlock | GroupBlock | ForEachBlock | ParallelBlock | WaitBlock;

interface BlockBase {
  /** Where the block stands in the file, stable over runs: `steps[0]`, `steps[1].parallel[0]`, `steps[2].wait.steps[0]`, `steps[3].compensate[0]`, `finally[0]`. */
  path: string;
  id: string | null;
  /** CEL that gives a bool, or null: always. The `when` of a block in an `onError` list is compiled into it. */
  if: string | null;
  /** Run when the block has failed for good; `error` is in scope. Of a loop: run for each item that failed, with the loop variable. */
  onError: Block[];
  /** Run when the block succeeded and what it belongs to (the loop item, or else the run) fails or is cancelled later; last done, first undone. */
  compensate: Block[];
  /** A template, or null: the interpreter words it. */
  summary: string | null;
}

export interface ActionBlock extends BlockBase {
  kind: 'action';
  /** `transfer.copy@1` */
  use: string;
  /** The step's `with`. Strings that hold `${{ }}` are templates; `language/evaluate.ts` fills them. Locations are `{ endpoint: alias, path | glob }`, whatever the file wrote: what a text is filled with later cannot turn a path into a glob. `where` is a template of CEL over `file`: fill it, then evaluate it row by row. */
  with: Record<string, Json>;
  retry: RetryPolicy;
  timeout: TimeoutPolicy;
  /** Failed files of a transfer that leave the step successful and the run `partial`. */
  tolerate: Tolerance | null;
  /** How many rows of its file set the answer brings along: the largest n of the expressions `.files.first(n)` of the pipeline. */
  head: number;
}

/** `steps:` with an optional `if:` and `else:`. */
export interface GroupBlock extends BlockBase {
  kind: 'group';
  steps: Block[];
  else: Block[];
}

export interface ForEachBlock extends BlockBase {
  kind: 'forEach';
  /** CEL that gives a list or a file set. */
  items: string;
  as: string;
  maxParallel: number;
  /** Failed items that leave the loop successful and the run `partial`; null: none. */
  tolerate: Tolerance | null;
  /** Takes no further item once more have failed than are tolerated. */
  failFast: boolean;
  /** How many failed items its output tells: the largest n of the expressions `.failed.first(n)` of the pipeline. */
  head: number;
  steps: Block[];
}

/** Branches that run at the same time. */
export interface ParallelBlock extends BlockBase {
  kind: 'parallel';
  branches: Block[];
  maxParallel: number;
  /** Cancels the other branches as soon as one has failed; otherwise they go on, and the block fails at its end. */
  failFast: boolean;
}

/** Waits for a time, or until a condition over steps that are run again and again holds. */
export interface WaitBlock extends BlockBase {
  kind: 'wait';
  /** A template that gives a duration (`30s`) or a time with its zone; or null. */
  for: string | null;
  /** CEL: without `poll` it gives a time; with it, a bool. */
  until: string | null;
  poll: WaitPoll | null;
}

export interface WaitPoll {
  /** From the end of one look to the beginning of the next. */
  everyMs: number;
  /** Since the wait began; then it fails with `timeout`. */
  deadlineMs: number;
  /** Run before each look at `until`, which sees their outputs. */
  steps: Block[];
}

/** A number of failures, or a percentage of all. */
export type Tolerance = { count: number } | { percent: number };

export interface RetryPolicy {
  /** Milliseconds after which no further attempt starts; progress starts the count again. */
  forMs: number;
  /** Attempts at most, or null: as many as `forMs` allows. */
  attempts: number | null;
  firstMs: number;
  factor: number;
  maxMs: number;
  /** 0..1 */
  jitter: number;
  notOn: ErrorKind[];
}

export interface TimeoutPolicy {
  /** No byte and no answer for so long. */
  stallMs: number;
  totalMs: number;
}

/** A listing kept in the ledger. History holds this, never the rows, but for the first few that the pipeline asks for. */
export interface FileSet {
  ref: string;
  count: number;
  bytes: number;
  /** The first rows: what `.first(n)` reads. Absent when the pipeline asks for none. */
  head?: FileFact[];
}

/** One row of a file set, as expressions see it. */
export interface FileFact {
  endpoint: string;
  path: string;
  name: string;
  /** bytes */
  size: number;
  /** ISO 8601 UTC with milliseconds, or null when the server does not say */
  modified: string | null;
}

/** What expressions see as `run`. */
export interface RunFacts {
  /** The public id, `run_...`: what an application asks GraphQL for. */
  id: string;
  pipeline: string;
  version: string;
  /** YYYY-MM-DD of the start, in UTC; kept by a retry. */
  date: string;
  startedAt: string;
}

export const runStatuses = ['starting', 'running', 'succeeded', 'partial', 'failed', 'cancelled', 'refused'] as const;
export type RunStatus = (typeof runStatuses)[number];
export const deliveryStates = [
  'planned',
  'copying',
  'verified',
  'published',
  'settled',
  'held',
  'failed',
  'skipped',
  'cancelled',
] as const;
export type DeliveryState = (typeof deliveryStates)[number];
export const transferStatuses = ['running', 'succeeded', 'failed', 'cancelled'] as const;
export type TransferStatus = (typeof transferStatuses)[number];

/** `files` delivered in this run, `skipped` (already delivered or filtered), `failed`, `bytes` sent to targets. */
export interface TransferCounts {
  files: number;
  bytes: number;
  skipped: number;
  failed: number;
}

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** A failure as data: in run rows, step outcomes, GraphQL and the `error` of an `onError` block. */
export interface Failure {
  kind: ErrorKind;
  message: string;
  step: string | null;
  endpoint: string | null;
  path: string | null;
}
