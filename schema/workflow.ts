import type { RetryPolicy } from './plan.ts';

/** What the API, the worker and the interpreter agree on about Temporal. */
export const taskQueues = {
  /** The interpreter and its short activities. */
  runs: 'waybill-runs',
  /** Activities that move bytes. */
  transfers: 'waybill-transfers',
  /** Webhook retries, reconciliation, sweeps. */
  system: 'waybill-system',
} as const;
export type TaskQueue = keyof typeof taskQueues;

/** The one argument of the interpreter workflow; everything else is loaded by its first activity. */
export interface RunArguments {
  tenantId: string;
  runId: string;
}

/**
 * Signals to a run. Whoever can open Temporal's UI can send them, so they carry nothing: the run reads in the database
 * what has been decided.
 */
export const runSignals = {
  /** The run was paused or resumed: read which. */
  control: 'control',
  /** A run that held the concurrency key has ended: ask for admission again. */
  admission: 'admission',
  /** An endpoint that held its work is free again: try. */
  released: 'released',
} as const;

/** The second argument of each of a run's activities: the activity itself decides how long to wait before its next attempt. */
export interface CallTerms {
  retry: RetryPolicy;
  /** No byte and no answer for so long. */
  stallMs: number;
  /** What the same work had used up before it was held; absent: nothing. */
  spent?: Spent;
}

/** Why work for an endpoint waits: it is paused, or has failed too often in a row. */
export interface Hold {
  endpoint: string;
  /** `paused until 2026-11-22 18:00:00Z: maintenance` */
  reason: string;
  /** When it is worth trying again, in milliseconds since 1970; null: when somebody resumes it. */
  untilMs: number | null;
}

/** What work has used up of its terms. Being held uses up neither. */
export interface Spent {
  attempts: number;
  /** Of `retry.forMs`. */
  patienceMs: number;
}

/** What an activity answers when the endpoint that it needs holds its work: nothing has failed, and it is to be called again. */
export interface HeldAnswer {
  held: Hold;
  spent: Spent;
}

export function isHeld(answer: unknown): answer is HeldAnswer {
  if (answer === null || typeof answer !== 'object') return false;
  return 'held' in answer && 'spent' in answer && Object.keys(answer).length === 2;
}

/** What a run waits for, in words, or null. */
export function toldHolds(holds: readonly Hold[]): string | null {
  return holds.length === 0 ? null : holds.map(({ endpoint, reason }) => `${endpoint}, ${reason}`).join('; ');
}

/** Workflow id of a run: it begins with the tenant, from which the payload codec will pick the key. */
export function runWorkflowId(tenantId: string, pipeline: string, runId: string): string {
  return `${tenantId}/${pipeline}/${runId}`;
}

/** The run's row id in a workflow id, or undefined when it is no run's. */
export function runOfWorkflow(workflowId: string): string | undefined {
  return /^[0-9a-f-]{36}\/[a-z0-9-]+\/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/.exec(workflowId)?.[1];
}

/** Search attributes, registered with the namespace. In clear, so no file or partner names in them. */
export const searchAttributes = {
  WaybillTenant: 'Keyword',
  WaybillPipeline: 'Keyword',
  WaybillVersion: 'Keyword',
  WaybillTrigger: 'Keyword',
  WaybillStatus: 'Keyword',
  WaybillErrorCode: 'Keyword',
  WaybillFiles: 'Int',
  WaybillFailed: 'Int',
  WaybillBytes: 'Int',
} as const;

/** WaybillStatus of a run that walks its `finally`: a cancellation does not reach it any more. */
export const finishingStatus = 'finishing';

/** Page of a run in Temporal's UI. */
export function temporalRunUrl(uiUrl: string, namespace: string, workflowId: string): string {
  return `${uiUrl.replace(/\/$/, '')}/namespaces/${encodeURIComponent(namespace)}/workflows/${encodeURIComponent(workflowId)}`;
}
