import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import {
  CancellationScope,
  condition,
  continueAsNew,
  defineSignal,
  getExternalWorkflowHandle,
  isCancellation,
  ParentClosePolicy,
  proxyActivities,
  setHandler,
  sleep,
  startChild,
  workflowInfo,
} from '@temporalio/workflow';
import type { SweptPlace } from '../activities/sweeping.ts';
import type { SystemActivities } from '../activities/system.ts';

/** The workflows around the runs: outbox, webhook retries, reconciliation, sweeps. A bundle and a queue of their own, so that no pipeline can be named like one of them. */

const { sendPendingWebhooks, sendWebhook, failWebhook, reconcileRuns, sweep } = proxyActivities<SystemActivities>({
  startToCloseTimeout: '2 minutes',
  retry: { initialInterval: '1 second', maximumInterval: '30 seconds' },
});

const { findLeftOvers } = proxyActivities<SystemActivities>({
  startToCloseTimeout: '5 minutes',
  retry: { initialInterval: '10 seconds', maximumInterval: '1 minute', maximumAttempts: 5 },
});

/** It ends by itself in five minutes, and says in the audit what kept it from more. */
const { sweepEndpoint } = proxyActivities<SystemActivities>({
  startToCloseTimeout: '10 minutes',
  retry: { initialInterval: '10 seconds', maximumAttempts: 3 },
});
/** Other people's servers at a time. */
const sweptTogether = 4;

/** Sent after each commit that left something in the outbox. */
const wakeSignal = defineSignal('wake');
/** The workflow stays for so long after the last message, so that a busy system does not start one for each. */
const lingerMs = 5_000;

/** Makes the first attempt of every waiting webhook message; each that fails gets a workflow for its retries. */
export async function outbox(): Promise<void> {
  let woken = true;
  setHandler(wakeSignal, () => {
    woken = true;
  });
  while (woken) {
    woken = false;
    const { failed, more, retryDelaysMs } = await sendPendingWebhooks();
    for (const { tenantId, deliveryId } of failed) {
      await startChild(webhookRetry, {
        workflowId: `${tenantId}/webhook/${deliveryId}`,
        args: [{ tenantId, deliveryId, delaysMs: retryDelaysMs }],
        parentClosePolicy: ParentClosePolicy.ABANDON,
        workflowIdReusePolicy: 'ALLOW_DUPLICATE_FAILED_ONLY',
      }).catch(ignoreStarted);
    }
    if (more) woken = true;
    if (workflowInfo().continueAsNewSuggested) await continueAsNew<typeof outbox>();
    await condition(() => woken, lingerMs);
  }
}

/** The outbox may name a message whose retries an earlier attempt of it has already started. */
function ignoreStarted(error: unknown): void {
  if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
}

/** Retries one webhook message on its schedule, with 20 % jitter, and gives it up after the last delay. */
export async function webhookRetry({
  tenantId,
  deliveryId,
  delaysMs,
}: {
  tenantId: string;
  deliveryId: string;
  delaysMs: number[];
}): Promise<string> {
  for (const delayMs of delaysMs) {
    const jitter = 0.8 + Math.random() * 0.4;
    await sleep(Math.round(delayMs * jitter));
    const { delivered, giveUp } = await sendWebhook({ tenantId, deliveryId });
    if (delivered) return 'delivered';
    if (giveUp) break;
  }
  await CancellationScope.nonCancellable(() => failWebhook({ tenantId, deliveryId }));
  return 'failed';
}

/** Every 30 s: closes runs that were closed outside, frees what dead workers held, and looks into the outbox. */
export async function reconcile(): Promise<{ closed: number }> {
  const closed = await reconcileRuns();
  await sweep();
  await lookIntoOutbox();
  return closed;
}

/** Once a day: removes what killed workers left at the targets. An endpoint that cannot be swept stops none of the others. */
export async function sweepEndpoints(
  from: SweptPlace | null = null,
  before: SweepTotals = { endpoints: 0, removed: 0, failed: 0 },
): Promise<SweepTotals> {
  const { places, next } = await findLeftOvers({ from });
  const totals = { ...before };
  const queue = places.values();
  const lane = async (): Promise<void> => {
    for (const place of queue) {
      totals.endpoints++;
      const { removed, failed } = await sweepEndpoint(place).catch(notSwept);
      totals.removed += removed;
      if (failed) totals.failed++;
    }
  };
  await Promise.all(Array.from({ length: sweptTogether }, lane));
  if (next !== null) await continueAsNew<typeof sweepEndpoints>(next, totals);
  return totals;
}

interface SweepTotals {
  endpoints: number;
  removed: number;
  /** Endpoints that could not be swept, or not all of their folders. */
  failed: number;
}

function notSwept(error: unknown): { removed: number; failed: boolean } {
  if (isCancellation(error)) throw error;
  return { removed: 0, failed: true };
}

/** A message whose notification nobody heard waits for this look. */
async function lookIntoOutbox(): Promise<void> {
  const workflowId = 'waybill/outbox';
  try {
    await startChild(outbox, { workflowId, parentClosePolicy: ParentClosePolicy.ABANDON });
  } catch (error) {
    ignoreStarted(error);
    // It lingers after its last message. Should it end before the signal comes, the next look finds it ended.
    await getExternalWorkflowHandle(workflowId)
      .signal(wakeSignal)
      .catch(() => undefined);
  }
}
