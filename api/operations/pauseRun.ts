import { WorkflowNotFoundError } from '@temporalio/client';
import { recordEvents } from '../../audit/record.ts';
import type { TenantTransaction } from '../../prisma/contract.ts';
import type { Run } from '../../prisma/generated/client.ts';
import { WaybillError } from '../../schema/errors.ts';
import { rowId } from '../../schema/names.ts';
import { runSignals } from '../../schema/workflow.ts';
import type { Operation } from '../context.ts';
import { limits } from '../limits.ts';
import { closedOutside } from './cancelRun.ts';
import { actorOf } from './events.ts';
import { boundedReason } from './reason.ts';
import { hasEnded } from './runState.ts';

export interface DecideRunInput {
  id: string;
  reason?: string | null | undefined;
}

export interface DecidedRun {
  run: Run;
  /** What keeps the decision from taking effect within seconds. */
  note: string | null;
}

/**
 * Holds a run: within seconds nothing new starts, and what moves bytes stops where it can go on later. Its place under a
 * concurrency key stays its own. Asking twice is one request. Throws not-found, conflict when the run has ended or is being
 * cancelled, unavailable when Temporal cannot be told (the decision stays recorded, and is told within a minute of its return).
 */
export async function pauseRun(operation: Operation, input: DecideRunInput): Promise<DecidedRun> {
  return decide(operation, input, 'run.paused', (run, reason) => {
    if (run.cancelRequestedAt !== null)
      throw new WaybillError('conflict', 'the run is being cancelled', { field: 'id' });
    if (run.pausedAt !== null) return null;
    return { pausedAt: new Date(), pausedBy: operation.caller.principalId, pauseReason: reason };
  });
}

/** Lets a paused run go on, whoever paused it. Asking twice is one request. Throws as pauseRun does. */
export async function resumeRun(operation: Operation, input: DecideRunInput): Promise<DecidedRun> {
  return decide(operation, input, 'run.resumed', (run) =>
    run.pausedAt === null ? null : { pausedAt: null, pausedBy: null, pauseReason: null },
  );
}

type Pause = Pick<Run, 'pausedAt' | 'pausedBy' | 'pauseReason'>;

async function decide(
  operation: Operation,
  input: DecideRunInput,
  type: 'run.paused' | 'run.resumed',
  change: (run: Run, reason: string | null) => Pause | null,
): Promise<DecidedRun> {
  const { store, caller } = operation;
  const { tenantId } = caller;
  const reason = boundedReason(input.reason);
  const run = await store.withTenant(tenantId, async (transaction) => {
    const found = await lockRun(transaction, tenantId, rowId('run', input.id));
    const pause = change(found, reason);
    if (pause === null) return found;
    const { db, sql } = transaction;
    const where = { tenantId_id: { tenantId, id: found.id } };
    // Until the workflow has read it, whoever looks after runs tells it again.
    const changed = await db.run.update({ where, data: { ...pause, controlPending: true } });
    const data = { pipeline: found.pipelineName, reason };
    await recordEvents(sql, tenantId, [{ type, actor: actorOf(caller), runId: found.id, data }]);
    return changed;
  });
  return { run, note: await tellTemporal(operation, run) };
}

/** The run that goes on, its row locked. Throws not-found, and conflict for one that has ended. */
async function lockRun({ db, sql }: TenantTransaction, tenantId: string, id: string | undefined): Promise<Run> {
  if (id !== undefined)
    await sql.query('select id from run where tenant_id = $1::uuid and id = $2::uuid for update', [tenantId, id]);
  const run = id === undefined ? null : await db.run.findFirst({ where: { tenantId, id } });
  if (run === null) throw new WaybillError('not-found', 'there is no such run', { field: 'id' });
  if (hasEnded(run.status)) throw new WaybillError('conflict', `the run has ended: ${run.status}`, { field: 'id' });
  return run;
}

/** What the caller should know when the workflow is not there to be told. A run that has not begun reads it when it does. */
async function tellTemporal({ temporalCalls, log }: Operation, run: Run): Promise<string | null> {
  if (!run.controlPending) return null;
  try {
    await temporalCalls.call(limits.temporalTimeoutMs, (temporal) =>
      temporal.workflow.getHandle(run.workflowId).signal(runSignals.control),
    );
    return null;
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return run.status === 'starting' ? null : closedOutside;
    log.warn({ runId: run.id, cause: String(error) }, 'Temporal did not take a signal');
    const message = 'Temporal cannot be reached; the decision is kept, and takes effect when it is back';
    throw new WaybillError('unavailable', message, { cause: error });
  }
}
