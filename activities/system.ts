import type { ReconcileDependencies } from './reconcile.ts';
import { reconcileRuns, sweep } from './reconcile.ts';
import { failWebhook, sendPendingWebhooks, sendWebhook, type WebhookDependencies } from './webhooks.ts';

/** The activities of the system queue; `workflows/system.ts` calls them. */
export function createSystemActivities(dependencies: WebhookDependencies & ReconcileDependencies) {
  return {
    sendPendingWebhooks: () => sendPendingWebhooks(dependencies),
    sendWebhook: (message: { tenantId: string; deliveryId: string }) => sendWebhook(dependencies, message),
    failWebhook: (message: { tenantId: string; deliveryId: string }) => failWebhook(dependencies, message),
    reconcileRuns: () => reconcileRuns(dependencies),
    sweep: () => sweep(dependencies),
  };
}

export type SystemActivities = ReturnType<typeof createSystemActivities>;
