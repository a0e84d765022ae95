import { WorkflowNotFoundError } from '@temporalio/client';
import { recordEndedPauses } from '../../audit/endedPauses.ts';
import { recordEvents } from '../../audit/record.ts';
import { clearBreaker } from '../../prisma/endpointBreakers.ts';
import type { ConnectorEndpoint } from '../../prisma/generated/client.ts';
import { heldWorkflows } from '../../prisma/holds.ts';
import { WaybillError } from '../../schema/errors.ts';
import { runSignals } from '../../schema/workflow.ts';
import type { Operation } from '../context.ts';
import { limits } from '../limits.ts';
import { endpointByName } from './endpointByName.ts';
import { actorOf } from './events.ts';
import { boundedReason } from './reason.ts';

export interface DecidedEndpoint {
  endpoint: ConnectorEndpoint;
  /** What keeps the decision from taking effect within seconds. */
  note: string | null;
}

/**
 * Holds the work for an endpoint, until that time or until it is resumed: within seconds nothing new begins there, and
 * copies stop where they can go on later. A second pause takes the place of the first. Throws not-found, and invalid for a
 * time that has passed.
 */
export async function pauseEndpoint(
  { store, caller }: Operation,
  input: { name: string; until?: Date | string | null | undefined; reason: string },
): Promise<DecidedEndpoint> {
  const { tenantId } = caller;
  const until = input.until == null ? null : new Date(input.until);
  if (until !== null && until.getTime() <= Date.now())
    throw new WaybillError('invalid', `${until.toISOString()} has passed: give a time to come`, { field: 'until' });
  const reason = boundedReason(input.reason);
  return store.withTenant(tenantId, async (transaction) => {
    const { db, sql } = transaction;
    await recordEndedPauses(sql, tenantId, input.name);
    const { id, name } = await endpointByName(transaction, tenantId, input.name);
    const endpoint = await db.connectorEndpoint.update({
      where: { tenantId_id: { tenantId, id } },
      data: { pausedAt: new Date(), pausedUntil: until, pausedBy: caller.principalId, pauseReason: reason },
    });
    const data = { endpoint: name, until: until?.toISOString() ?? null, reason };
    await recordEvents(sql, tenantId, [{ type: 'endpoint.paused', actor: actorOf(caller), data }]);
    return { endpoint, note: null };
  });
}

/**
 * Ends a pause, closes the breaker, and tells the runs that wait for the endpoint, the oldest first. Asking twice is one
 * request. Throws not-found.
 */
export async function resumeEndpoint(
  operation: Operation,
  input: { name: string; reason?: string | null | undefined },
): Promise<DecidedEndpoint> {
  const { store, caller } = operation;
  const { tenantId } = caller;
  const { endpoint, waiting } = await store.withTenant(tenantId, async (transaction) => {
    const { db, sql } = transaction;
    await recordEndedPauses(sql, tenantId, input.name);
    const before = await endpointByName(transaction, tenantId, input.name);
    const { id, name } = before;
    const closed = await clearBreaker(sql, tenantId, id);
    const actor = actorOf(caller);
    if (closed)
      await recordEvents(sql, tenantId, [{ type: 'endpoint.breaker-closed', actor, data: { endpoint: name } }]);
    const data = { endpoint: name, reason: boundedReason(input.reason) };
    if (before.pausedAt !== null) await recordEvents(sql, tenantId, [{ type: 'endpoint.resumed', actor, data }]);
    const after = await db.connectorEndpoint.update({
      where: { tenantId_id: { tenantId, id } },
      data: { pausedAt: null, pausedUntil: null, pausedBy: null, pauseReason: null },
    });
    return { endpoint: after, waiting: await heldWorkflows(sql, tenantId, name) };
  });
  return { endpoint, note: await releaseRuns(operation, waiting) };
}

/** Tells runs that the endpoint they wait for may be free; what could not be told, they find out by themselves. */
export async function releaseRuns(
  { temporalCalls, log }: Operation,
  workflowIds: readonly string[],
): Promise<string | null> {
  for (const workflowId of workflowIds)
    try {
      await temporalCalls.call(limits.temporalTimeoutMs, (temporal) =>
        temporal.workflow.getHandle(workflowId).signal(runSignals.released),
      );
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) continue;
      log.warn({ workflowId, cause: String(error) }, 'Temporal did not take a signal');
      return 'Temporal cannot be reached; the runs that wait find out by themselves within ten minutes.';
    }
  return null;
}
