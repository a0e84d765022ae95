import { recordEvents } from '../../audit/record.ts';
import { requestCancel } from '../../prisma/admission.ts';
import type { Run } from '../../prisma/generated/client.ts';
import { WaybillError } from '../../schema/errors.ts';
import { rowId } from '../../schema/names.ts';
import type { Operation } from '../context.ts';
import { actorOf } from './events.ts';
import { boundedReason } from './reason.ts';
import { hasEnded } from './runState.ts';
import { stopRun, type WorkflowState } from './stopRun.ts';

export interface CancelledRun {
  run: Run;
  /** What keeps the run from ending within seconds. */
  note: string | null;
}

export const closedOutside =
  'The workflow of this run was closed outside of Waybill, such as by Terminate. Nothing of it runs any more; the run itself is closed within a minute.';

const notes: Record<WorkflowState, string | null> = {
  going: null,
  finishing: 'The run is in its `finally`: that still runs to its end, and the run ends as it was going to.',
  closed: closedOutside,
};

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

  const { store, caller } = operation;
  const state = await stopRun(operation, { tenantId: caller.tenantId, actor: actorOf(caller) }, run);
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
