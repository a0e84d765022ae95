import { type Client, ScheduleAlreadyRunning, ScheduleNotFoundError, ScheduleOverlapPolicy } from '@temporalio/client';
import { taskQueues } from '../../schema/workflow.ts';

/** Work of the system queue that begins by itself. */
export interface SystemSchedule {
  /** Of the schedule, and of the workflow that it starts: `waybill/sweep`. */
  id: string;
  /** Exported by `workflows/system.ts`; takes no arguments. */
  workflowType: string;
  /** null: never. What an earlier worker has scheduled is removed. */
  everyMs: number | null;
  /** A term that was missed (Temporal was away) is made up for within so long. */
  catchUpMs: number;
}

/**
 * Makes the schedules of the installation what is said here. Every worker of the system queue does so when it starts: of
 * two that were told different things, the last one decides. A schedule that somebody paused in Temporal stays paused.
 */
export async function ensureSchedules(temporal: Client, schedules: readonly SystemSchedule[]): Promise<void> {
  for (const schedule of schedules) {
    if (schedule.everyMs === null) await remove(temporal, schedule.id);
    else await ensure(temporal, schedule, schedule.everyMs);
  }
}

async function ensure(
  temporal: Client,
  { id, workflowType, catchUpMs }: SystemSchedule,
  everyMs: number,
): Promise<void> {
  const wanted = {
    spec: { intervals: [{ every: everyMs }] },
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: catchUpMs },
    action: { type: 'startWorkflow' as const, workflowType, workflowId: id, taskQueue: taskQueues.system, args: [] },
  };
  try {
    await temporal.schedule.create({ scheduleId: id, ...wanted });
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
    await temporal.schedule.getHandle(id).update(({ state }) => ({ ...wanted, state }));
  }
}

async function remove(temporal: Client, id: string): Promise<void> {
  try {
    await temporal.schedule.getHandle(id).delete();
  } catch (error) {
    if (!(error instanceof ScheduleNotFoundError)) throw error;
  }
}
