import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import { recordEvents } from '../../audit/record.ts';
import type { Run } from '../../prisma/generated/client.ts';
import { WaybillError } from '../../schema/errors.ts';
import { rowId } from '../../schema/names.ts';
import type { Operation } from '../context.ts';
import { limits } from '../limits.ts';
import { closeUnstarted } from './closeUnstarted.ts';
import { actorOf } from './events.ts';
import { boundedReason } from './reason.ts';
import { hasEnded } from './runState.ts';

export interface CancelledRun {
  run: Run;
  /** What keeps the run from ending within seconds. */
  note: string | null;
}

const closedOutside =
  'The workflow of this run was closed outside of Waybill, such as by Terminate. Nothing of it runs any more; the run itself is closed within a minute.';

/**
 * Asks a run to stop; it ends within seconds, after its `finally`. Asking twice is one request. Throws not-found,
 * conflict when the run has ended in another way, unavailable when Temporal cannot be told (the request stays recorded).
 */
export async function cancelRun(
  operation: Operation,
  input: { id: string; reason?: string | null | undefined },
): Promise<CancelledRun> {
  const id = rowId('run', input.id);
  const reason = boundedReason(input.reason);
  const run = id === undefined ? null : await recordRequest(operation, id, reason);
  if (run === null) throw new WaybillError('not-found', 'there is no such run', { field: 'id' });
  if (run.status === 'cancelled') return { run, note: null };
  if (hasEnded(run.status)) throw new WaybillError('conflict', `the run has ended: ${run.status}`, { field: 'id' });

  const told = await tellTemporal(operation, run);
  const { store, caller } = operation;
  const now = await store.withTenant(caller.tenantId, ({ db }) =>
    db.run.findFirstOrThrow({ where: { tenantId: caller.tenantId, id: run.id } }),
  );
  return { run: now, note: told || hasEnded(now.status) ? null : closedOutside };
}

async function recordRequest({ store, caller }: Operation, id: string, reason: string | null): Promise<Run | null> {
  const { tenantId } = caller;
  return store.withTenant(tenantId, async ({ db, sql }) => {
    const live = { tenantId, id, status: { in: ['starting', 'running'] }, cancelRequestedAt: null };
    const { count } = await db.run.updateMany({ where: live, data: { cancelRequestedAt: new Date() } });
    const run = await db.run.findFirst({ where: { tenantId, id } });
    if (run !== null && count === 1) {
      const data = { pipeline: run.pipelineName, reason };
      const event = { type: 'run.cancel-requested', actor: actorOf(caller), runId: id, data };
      await recordEvents(sql, tenantId, [event]);
    }
    return run;
  });
}

/** False when the run has no workflow that goes on. */
async function tellTemporal(operation: Operation, run: Run): Promise<boolean> {
  const { temporalCalls, log } = operation;
  try {
    if (await temporalCalls.call(limits.temporalTimeoutMs, (temporal) => cancelWorkflow(temporal, run.workflowId)))
      return true;
  } catch (error) {
    log.warn({ runId: run.id, cause: String(error) }, 'Temporal did not take a cancellation');
    throw new WaybillError('unavailable', 'Temporal cannot be reached; ask again', { cause: error });
  }
  // Not started yet, or just ended: a run that is closed here stays closed for a start that comes late.
  const failure = { kind: 'cancelled', message: 'cancelled before it began' } as const;
  await closeUnstarted(operation, run, { status: 'cancelled', event: 'run.cancelled', error: failure });
  return false;
}

/** Whether the workflow was going on. Temporal takes the cancellation of a closed one without a word, so it is asked. */
async function cancelWorkflow(temporal: Client, workflowId: string): Promise<boolean> {
  try {
    const workflow = temporal.workflow.getHandle(workflowId);
    await workflow.cancel();
    return (await workflow.describe()).status.name === 'RUNNING';
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false;
    throw error;
  }
}
