import { recordEvents } from '../audit/record.ts';
import type { Store } from '../prisma/contract.ts';
import { runCounts } from '../prisma/ledger.ts';
import { closeRun, loadRun, openRun, planRetry } from '../prisma/runs.ts';
import { WaybillError } from '../schema/errors.ts';
import { publicId } from '../schema/names.ts';
import type { Failure, Json, RunStatus, TransferCounts } from '../schema/plan.ts';
import type { RunArguments } from '../schema/workflow.ts';
import type { LoadedRun } from '../workflows/run.ts';

/** A run's session outlives any run; the run ends it. The clean-up rule of concurrent sessions: 48 hours. */
const sessionLifetimeMs = 48 * 3_600_000;

/** Loads the plan, opens the run's session and marks it as running. Safe twice. Throws conflict when the run has ended, not-found when there is none. */
export async function beginRun(store: Store, { tenantId, runId }: RunArguments): Promise<LoadedRun> {
  return store.sql(tenantId, async (sql) => {
    const row = await loadRun(sql, tenantId, runId);
    if (row === undefined) throw new WaybillError('not-found', `there is no run ${runId}`);
    if (row.status !== 'starting' && row.status !== 'running')
      throw new WaybillError('invalid', `the run has already ended as ${row.status}`);
    const applicationId = row.plan.session.application;
    if (row.status === 'starting') {
      const sessionId = await openRun(sql, tenantId, runId, {
        principalId: row.publishedBy,
        applicationId,
        lifetimeMs: sessionLifetimeMs,
      });
      const actor = { principalId: row.publishedBy, sessionId, applicationId };
      await recordEvents(sql, tenantId, [
        {
          type: 'session.opened',
          actor,
          runId,
          data: { kind: 'concurrent' },
          dedupeKey: `session.opened/${sessionId}`,
        },
        {
          type: 'run.started',
          actor,
          runId,
          data: { pipeline: row.pipelineName, version: row.versionHash },
          dedupeKey: `run.started/${runId}`,
        },
      ]);
    }
    const startedAt = row.createdAt.toISOString();
    return {
      plan: row.plan,
      inputs: row.inputs,
      run: {
        id: publicId('run', runId),
        pipeline: row.pipelineName,
        version: row.versionHash,
        date: startedAt.slice(0, 10),
        startedAt,
      },
      retry: row.retryDeliveries.length > 0 ? await planRetry(sql, tenantId, runId, row.retryDeliveries) : null,
    };
  });
}

const endEvents = {
  succeeded: 'run.completed',
  partial: 'run.completed',
  failed: 'run.failed',
  cancelled: 'run.cancelled',
} as const;

/** Ends the run, its session and whatever is left open of its deliveries, with the event that tells of it, in one transaction. Safe twice. */
export async function finishRun(
  store: Store,
  {
    tenantId,
    runId,
    status,
    error,
    outputs,
  }: RunArguments & { status: keyof typeof endEvents; error: Failure | null; outputs: Json },
): Promise<TransferCounts & { status: RunStatus }> {
  return store.sql(tenantId, async (sql) => {
    const counts = await runCounts(sql, tenantId, runId);
    const closed = await closeRun(sql, tenantId, runId, { status, error, outputs, counts });
    if (closed !== undefined) {
      const actor = { principalId: closed.principalId, sessionId: closed.sessionId };
      const outcome = status === 'succeeded' || status === 'partial' ? 'success' : 'failure';
      const data = { pipeline: closed.pipelineName, status, ...counts, error: error as unknown as Json };
      await recordEvents(sql, tenantId, [
        { type: endEvents[status], outcome, actor, runId, data, dedupeKey: `run.ended/${runId}` },
        ...(closed.sessionId === null
          ? []
          : [
              {
                type: 'session.closed',
                actor,
                runId,
                data: { reason: 'run ended' },
                dedupeKey: `session.closed/${closed.sessionId}`,
              },
            ]),
      ]);
    }
    return { status, ...counts };
  });
}
