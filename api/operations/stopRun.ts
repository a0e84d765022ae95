import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import { defineSearchAttributeKey } from '@temporalio/common';
import type { NewEvent } from '../../audit/record.ts';
import type { StoppedRun } from '../../prisma/admission.ts';
import { WaybillError } from '../../schema/errors.ts';
import { finishingStatus } from '../../schema/workflow.ts';
import type { Operation } from '../context.ts';
import { limits } from '../limits.ts';
import { closeUnstarted } from './closeUnstarted.ts';

export type WorkflowState = 'going' | 'finishing' | 'closed';

/** In whose name a run is told to end. */
export interface StopActor {
  tenantId: string;
  actor: NewEvent['actor'];
}

const statusAttribute = defineSearchAttributeKey('WaybillStatus', 'KEYWORD');

/**
 * Tells Temporal that a run is to end, which is recorded; one that no workflow has opened is closed here. Gives where the
 * workflow stood. Throws unavailable when Temporal cannot be told.
 */
export async function stopRun(
  { temporalCalls, store, log }: Pick<Operation, 'temporalCalls' | 'store' | 'log'>,
  by: StopActor,
  run: Pick<StoppedRun, 'id' | 'workflowId' | 'pipelineName'>,
): Promise<WorkflowState> {
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
  await closeUnstarted(store, by, run, { status: 'cancelled', event: 'run.cancelled', error: failure });
  return 'closed';
}

/**
 * `stopRun` of the runs of sessions that have ended. What fails is in the log, and the sweep tells those runs again: it is
 * no failure of what ended the sessions, which is done.
 */
export async function stopRuns(
  operation: Pick<Operation, 'temporalCalls' | 'store' | 'log'>,
  by: StopActor,
  runs: readonly StoppedRun[],
): Promise<void> {
  await Promise.all(
    runs.map((run) =>
      stopRun(operation, by, run).catch((error: unknown) => {
        if (error instanceof WaybillError && error.kind === 'unavailable') return;
        operation.log.warn({ runId: run.id, cause: String(error) }, 'a run of a session that has ended was not told');
      }),
    ),
  );
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
