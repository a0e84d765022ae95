import { type NewEvent, recordEvents } from '../../audit/record.ts';
import type { Store } from '../../prisma/contract.ts';
import type { Run } from '../../prisma/generated/client.ts';
import type { EventType } from '../../schema/events.ts';
import type { Failure, RunStatus } from '../../schema/plan.ts';

/**
 * Ends a run that no workflow has opened yet; a workflow that starts late finds it closed. Gives false, and changes
 * nothing, when it was opened or has ended meanwhile.
 */
export async function closeUnstarted(
  store: Store,
  { tenantId, actor }: { tenantId: string; actor: NewEvent['actor'] },
  run: Pick<Run, 'id' | 'pipelineName'>,
  end: { status: RunStatus; event: EventType; error: Pick<Failure, 'kind' | 'message'> },
): Promise<boolean> {
  return store.withTenant(tenantId, async ({ db, sql }) => {
    const { count } = await db.run.updateMany({
      where: { tenantId, id: run.id, status: 'starting' },
      data: {
        status: end.status,
        error: { ...end.error, step: null, endpoint: null, path: null },
        endedAt: new Date(),
      },
    });
    if (count === 0) return false;
    await recordEvents(sql, tenantId, [
      {
        type: end.event,
        outcome: 'failure',
        actor,
        runId: run.id,
        data: { pipeline: run.pipelineName, error: { ...end.error } },
        dedupeKey: `run.ended/${run.id}`,
      },
    ]);
    return true;
  });
}
