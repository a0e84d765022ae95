import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import { defineSearchAttributeKey } from '@temporalio/common';
import { recordEvents } from '../../audit/record.ts';
import { requestCancel } from '../../prisma/admission.ts';
import type { Run } from '../../prisma/generated/client.ts';
import { WaybillError } from '../../schema/errors.ts';
import { rowId } from '../../schema/names.ts';
import { finishingStatus } from '../../schema/workflow.ts';
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

type WorkflowState = 'going' | 'finishing' | 'closed';

export const closedOutside =
  'The workflow of this run was closed outside of Waybill, such as by Terminate. Nothing of it runs any more; the run itself is closed within a minute.';

const notes: Record<WorkflowState, string | null> = {
  going: null,
  finishing: 'The run is in its `finally`: that still runs to its end, and the run ends as it was going to.',
  closed: closedOutside,
};

const statusAttribute = defineSearchAttributeKey('WaybillStatus', 'KEYWORD');

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

  const state = await tellTemporal(operation, run);
  const { store, caller } = operation;
  const now = await store.withTenant(caller.tenantId, ({ db }) =>
    db.run.findFirstOrThrow({ where: { tenantId: caller.tenantId, id: run.id } }),
  );
  return { run: now, note: hasEnded(now.status) ? null : notes[state] };
}

async function recordRequest({ store, caller }: Operation, id: string, reason: string | null): Promise<Run | null> {
  const { tenantId } = caller;
  return store.withTenant(tenantId, async ({ db, sql }) => {
    const isNews = await requestCancel(sql, tenantId, id);
    const run = await db.run.findFirst({ where: { tenantId, id } });
    if (run !== null && isNews) {
      const data = { pipeline: run.pipelineName, reason };
      const event = { type: 'run.cancel-requested', actor: actorOf(caller), runId: id, data };
      await recordEvents(sql, tenantId, [event]);
    }
    return run;
  });
}

/** Where the workflow stood when it was told. */
async function tellTemporal(operation: Operation, run: Run): Promise<WorkflowState> {
  const { temporalCalls, log } = operation;
  try {
    const state = await temporalCalls.call(limits.temporalTimeoutMs, (temporal) =>
      cancelWorkflow(temporal, run.workflowId),
    );
    if (state !== 'closed') return state;
  } catch (error) {
    log.warn({ runId: run.id, cause: String(error) }, 'Temporal did not take a cancellation');
    throw new WaybillError('unavailable', 'Temporal cannot be reached; ask again', { cause: error });
  }
  // Not started yet, or just ended: a run that is closed here stays closed for a start that comes late.
  const failure = { kind: 'cancelled', message: 'cancelled before it began' } as const;
  await closeUnstarted(operation, run, { status: 'cancelled', event: 'run.cancelled', error: failure });
  return 'closed';
}

/** Where the workflow stands. Temporal takes the cancellation of a closed one without a word, so it is asked. */
async function cancelWorkflow(temporal: Client, workflowId: string): Promise<WorkflowState> {
  try {
    const workflow = temporal.workflow.getHandle(workflowId);
    await workflow.cancel();
    const { status, typedSearchAttributes } = await workflow.describe();
    if (status.name !== 'RUNNING') return 'closed';
    return typedSearchAttributes.get(statusAttribute) === finishingStatus ? 'finishing' : 'going';
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return 'closed';
    throw error;
  }
}
