import { cancellationSignal } from '@temporalio/activity';
import type { ReconcileDependencies } from './reconcile.ts';
import { reconcileRuns, sweep } from './reconcile.ts';
import { findLeftOvers, type SweepPage, type SweptPlace, sweepEndpoint } from './sweeping.ts';
import { failWebhook, sendPendingWebhooks, sendWebhook, type WebhookDependencies } from './webhooks.ts';

/** The activities of the system queue; `workflows/system.ts` calls them. */
export function createSystemActivities(dependencies: WebhookDependencies & ReconcileDependencies) {
  return {
    sendPendingWebhooks: () => sendPendingWebhooks(dependencies),
    sendWebhook: (message: { tenantId: string; deliveryId: string }) => sendWebhook(dependencies, message),
    failWebhook: (message: { tenantId: string; deliveryId: string }) => failWebhook(dependencies, message),
    reconcileRuns: () => reconcileRuns(dependencies),
    sweep: () => sweep(dependencies),
    findLeftOvers: (page: { from: SweptPlace | null }): Promise<SweepPage> => findLeftOvers(dependencies, page),
    sweepEndpoint: (place: SweptPlace) => sweepEndpoint(dependencies, place, cancellationSignal()),
  };
}

export type SystemActivities = ReturnType<typeof createSystemActivities>;
