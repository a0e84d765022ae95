import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import {
  CancellationScope,
  condition,
  continueAsNew,
  defineSignal,
  getExternalWorkflowHandle,
  ParentClosePolicy,
  proxyActivities,
  setHandler,
  sleep,
  startChild,
  workflowInfo,
} from '@temporalio/workflow';
import type { SystemActivities } from '../activities/system.ts';

/** The workflows around the runs: outbox, webhook retries, reconciliation. A bundle and a queue of their own, so that no pipeline can be named like one of them. */

const { sendPendingWebhooks, sendWebhook, failWebhook, reconcileRuns, sweep } = proxyActivities<SystemActivities>({
  startToCloseTimeout: '2 minutes',
  retry: { initialInterval: '1 second', maximumInterval: '30 seconds' },
});

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
