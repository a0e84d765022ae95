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

export type Block = ActionBlock | GroupBlock | ForEachBlock;

interface BlockBase {
  /** Where the block stands in the file, stable over runs: `steps[0]`, `steps[1].steps[0]`, `finally[0]`. */
  path: string;
  id: string | null;
  /** CEL that gives a bool, or null: always. */
  if: string | null;
  onError: Block[];
}

export interface ActionBlock extends BlockBase {
  kind: 'action';
  /** `transfer.copy@1` */
  use: string;
  /** The step's `with`. Strings that hold `${{ }}` are templates; `language/evaluate.ts` fills them. Locations are `{ endpoint: alias, path | glob }`, whatever the file wrote: what a text is filled with later cannot turn a path into a glob. `where` is a template of CEL over `file`: fill it, then evaluate it row by row. */
  with: Record<string, Json>;
  retry: RetryPolicy;
  timeout: TimeoutPolicy;
  /** A template, or null: the interpreter words it from the action. */
  summary: string | null;
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
  steps: Block[];
}

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

/** A listing kept in the ledger. History holds this, never the rows. */
export interface FileSet {
  ref: string;
  count: number;
  bytes: number;
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
