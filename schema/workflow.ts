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

/** The one argument of the interpreter workflow; everything else is loaded by its first activity. */
export interface RunArguments {
  tenantId: string;
  runId: string;
}

/** The second argument of each of a run's activities: the activity itself decides how long to wait before its next attempt. */
export interface CallTerms {
  retry: RetryPolicy;
  /** No byte and no answer for so long. */
  stallMs: number;
}

/** Workflow id of a run: it begins with the tenant, from which the payload codec will pick the key. */
export function runWorkflowId(tenantId: string, pipeline: string, runId: string): string {
  return `${tenantId}/${pipeline}/${runId}`;
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

/** Page of a run in Temporal's UI. */
export function temporalRunUrl(uiUrl: string, namespace: string, workflowId: string): string {
  return `${uiUrl.replace(/\/$/, '')}/namespaces/${encodeURIComponent(namespace)}/workflows/${encodeURIComponent(workflowId)}`;
}
