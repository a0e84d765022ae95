import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import { recordEndedPauses } from '../audit/endedPauses.ts';
import type { Log } from '../connectors/contract.ts';
import { sweepSessions } from '../identity/sessions/sweepSessions.ts';
import { forgetUsedTickets, remindOfRotations } from '../identity/tickets/upkeep.ts';
import type { Store } from '../prisma/contract.ts';
import { tenantsOfEndedPauses } from '../prisma/endpointPauses.ts';
import { openTransfers, releaseExpiredClaims } from '../prisma/ledger.ts';
import { forgetIdempotencyKeys, loadRun, type UnfinishedRun, unfinishedRuns } from '../prisma/runs.ts';
import type { Failure } from '../schema/plan.ts';
import { runSignals } from '../schema/workflow.ts';
import type { EndpointPool } from './endpoints.ts';
import { finishRun } from './run.ts';
import { finishTransfer } from './transfer/finishTransfer.ts';

/** A run that has not begun is left alone for so long: its workflow may be about to start. */
const graceMs = 30_000;
const rowsPerRound = 500;
/** A claim may be taken over as soon as its lease has run out; one that nobody wants is removed after so long. */
const abandonedClaimMs = 3_600_000;
const idempotencyKeyHours = 24;

export interface ReconcileDependencies {
  store: Store;
  /** From which unfinished copies of closed runs are removed. */
  endpoints: EndpointPool;
  temporal: Client;
  log: Log;
}

/**
 * Closes runs whose workflow has ended without saying so (Terminate in Temporal's UI, a reset server) or was never
 * started, and lets those behind them enter; tells others what was decided while Temporal was away. Runs every 30 s, so
 * nothing that was closed outside stays open for a minute.
 */
export async function reconcileRuns({
  store,
  endpoints,
  temporal,
  log,
}: ReconcileDependencies): Promise<{ closed: number }> {
  const unfinished = await store.system((sql) => unfinishedRuns(sql, graceMs, rowsPerRound));
  let closed = 0;
  for (const run of unfinished) {
    const { tenantId, runId, workflowId } = run;
    const error = await closedOutside(temporal, workflowId);
    if (error === null) {
      await tellAgain(temporal, run);
      continue;
    }
    // It may have ended in its own order since it was found.
    if (hasEnded((await store.sql(tenantId, (sql) => loadRun(sql, tenantId, runId)))?.status)) continue;
    const open = await store.sql(tenantId, (sql) => openTransfers(sql, tenantId, runId));
    const status = error.kind === 'cancelled' ? 'cancelled' : 'failed';
    for (const transferId of open)
      await finishTransfer({ store, endpoints, log }, { tenantId, runId, transferId, status });
    const { wake } = await finishRun(store, { tenantId, runId, status, error, outputs: null });
    for (const next of wake) await quietly(() => temporal.workflow.getHandle(next).signal(runSignals.admission));
    log.warn({ tenantId, runId, reason: error.message }, 'closed a run that had ended outside');
    closed++;
  }
  return { closed };
}

/** Frees what expired: claims of dead workers, pauses of endpoints, sessions, answers kept for idempotency keys. */
export async function sweep({ store }: Pick<ReconcileDependencies, 'store'>): Promise<void> {
  await releaseExpiredClaims(store, { olderThanMs: abandonedClaimMs, tenants: rowsPerRound, rows: rowsPerRound });
  // Work goes on at that time by itself; this writes down that it may.
  for (const tenantId of await tenantsOfEndedPauses(store, rowsPerRound))
    await store.sql(tenantId, (sql) => recordEndedPauses(sql, tenantId, null));
  await sweepSessions(store, new Date());
  await remindOfRotations(store);
  await forgetUsedTickets(store);
  await store.system((sql) => forgetIdempotencyKeys(sql, idempotencyKeyHours));
}

function hasEnded(status: string | undefined): boolean {
  return status !== undefined && status !== 'starting' && status !== 'running';
}

/** A decision that was recorded and did not arrive: Temporal was away, or whoever was to tell it died. */
async function tellAgain(
  temporal: Client,
  { workflowId, cancelRequested, controlPending }: UnfinishedRun,
): Promise<void> {
  const workflow = temporal.workflow.getHandle(workflowId);
  if (cancelRequested) await quietly(() => workflow.cancel());
  else if (controlPending) await quietly(() => workflow.signal(runSignals.control));
}

/** A workflow that has ended meanwhile needs to be told nothing. */
async function quietly(tell: () => Promise<unknown>): Promise<void> {
  try {
    await tell();
  } catch (error) {
    if (!(error instanceof WorkflowNotFoundError)) throw error;
  }
}

/** Why the run is over, or null while its workflow goes on. */
async function closedOutside(temporal: Client, workflowId: string): Promise<Failure | null> {
  const failure = (kind: Failure['kind'], message: string): Failure => ({
    kind,
    message,
    step: null,
    endpoint: null,
    path: null,
  });
  try {
    const { status } = await temporal.workflow.getHandle(workflowId).describe();
    if (status.name === 'RUNNING' || status.name === 'CONTINUED_AS_NEW') return null;
    if (status.name === 'TERMINATED')
      return failure('cancelled', 'the run was terminated in Temporal; finally steps did not run');
    if (status.name === 'CANCELLED') return failure('cancelled', 'the run was cancelled before it began');
    return failure('internal', `the workflow ended as ${status.name} without closing the run`);
  } catch (error) {
    if (error instanceof WorkflowNotFoundError)
      return failure('internal', 'Temporal does not know the run: it was never started, or its history is gone');
    throw error;
  }
}
