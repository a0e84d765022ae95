import { type NewEvent, recordEvents } from '../audit/record.ts';
import { type Actor, checkStart } from '../identity/grants.ts';
import { keyOfRun, lockConcurrencyKey } from '../prisma/admission.ts';
import type { Sql, Store } from '../prisma/contract.ts';
import { clearRunHolds, setRunHolds } from '../prisma/holds.ts';
import { deleteSetsOfRun, runCounts } from '../prisma/ledger.ts';
import { planResend } from '../prisma/resend.ts';
import { closeRun, loadRun, openRun, planRetry, type RunRow, takeControl } from '../prisma/runs.ts';
import { type ErrorKind, WaybillError } from '../schema/errors.ts';
import { publicId } from '../schema/names.ts';
import type { Failure, Json, RunFacts, RunStatus, TransferCounts } from '../schema/plan.ts';
import { type Hold, type RunArguments, toldHolds } from '../schema/workflow.ts';
import type { BeginAnswer } from '../workflows/run.ts';
import { type Admission, admit, type KeyedPolicy, keyedPolicy, nextOfKey } from './admission.ts';

/** A run's session outlives any run; the run ends it. The clean-up rule of concurrent sessions: 48 hours. */
const sessionLifetimeMs = 48 * 3_600_000;

/**
 * Asks for the run's place under its concurrency key, checks again that it may do what it is about to do, opens its
 * session and marks it as running. Safe twice. Throws invalid when the run has ended, not-found when there is none.
 */
export async function beginRun(store: Store, { tenantId, runId }: RunArguments): Promise<BeginAnswer> {
  return store.sql(tenantId, async (sql) => {
    const row = await loadRun(sql, tenantId, runId);
    if (row === undefined) throw new WaybillError('not-found', `there is no run ${runId}`);
    const run = factsOf(row);
    const policy = refusalOr(() => keyedPolicy(row.plan, row.inputs, run));
    // Before the row's own lock: whoever holds the key's may be about to change this row.
    if (policy !== null && !(policy instanceof WaybillError)) await lockConcurrencyKey(sql, tenantId, policy.key);
    const control = (await takeControl(sql, tenantId, runId))!;
    if (control.status === 'refused' && control.error !== null) return { state: 'refused', failure: control.error };
    if (control.status !== 'starting' && control.status !== 'running')
      throw new WaybillError('invalid', `the run has already ended as ${control.status}`);
    if (control.status === 'starting') {
      const entered = policy instanceof WaybillError ? policy : await enter(sql, tenantId, row, policy);
      if (entered instanceof WaybillError) return refuse(sql, tenantId, row, entered);
      if (entered.state === 'waiting') return entered;
    }
    const planAgain = row.trigger === 'resend' ? planResend : planRetry;
    const retry = row.retryDeliveries.length > 0 ? await planAgain(sql, tenantId, runId, row.retryDeliveries) : null;
    return { state: 'running', plan: row.plan, inputs: row.inputs, run, retry, paused: control.pausedAt !== null };
  });
}

/** What has been decided about a run that goes on. Safe twice; a run that is gone is not paused. */
export async function controlRun(
  store: Store,
  { tenantId, runId }: RunArguments,
): Promise<{ paused: boolean; message: string | null }> {
  return store.sql(tenantId, async (sql) => {
    const control = await takeControl(sql, tenantId, runId);
    if (control === undefined || control.pausedAt === null) return { paused: false, message: null };
    const { pausedBy, pausedAt, pauseReason } = control;
    const why = pauseReason === null ? '' : `: ${pauseReason}`;
    return { paused: true, message: `paused by ${pausedBy ?? 'somebody'} since ${toSeconds(pausedAt)}${why}` };
  });
}

/** Notes which endpoints the run waits for now, and gives those that have become free meanwhile. Safe twice. */
export async function noteHolds(
  store: Store,
  { tenantId, runId, holds }: RunArguments & { holds: Hold[] },
): Promise<{ free: string[] }> {
  return { free: await store.sql(tenantId, (sql) => setRunHolds(sql, tenantId, runId, toldHolds(holds), holds)) };
}

/** `2026-11-22 18:00:00Z` */
function toSeconds(time: Date): string {
  return time
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, 'Z');
}

const endEvents = {
  succeeded: 'run.completed',
  partial: 'run.completed',
  failed: 'run.failed',
  cancelled: 'run.cancelled',
} as const;

/**
 * Ends the run, its session and whatever is left open of its deliveries, with the event that tells of it, in one
 * transaction; before it, what the run has listed is forgotten. `wake`: workflows of its concurrency key that may ask for
 * its place. Safe twice.
 */
export async function finishRun(
  store: Store,
  {
    tenantId,
    runId,
    status,
    error,
    outputs,
  }: RunArguments & { status: keyof typeof endEvents; error: Failure | null; outputs: Json },
): Promise<TransferCounts & { status: RunStatus; wake: string[] }> {
  await forgetListings(store, tenantId, runId);
  return store.sql(tenantId, async (sql) => {
    const key = await keyOfRun(sql, tenantId, runId);
    if (key !== null) await lockConcurrencyKey(sql, tenantId, key);
    const counts = await runCounts(sql, tenantId, runId);
    await clearRunHolds(sql, tenantId, runId);
    const closed = await closeRun(sql, tenantId, runId, { status, error, outputs, counts });
    if (closed !== undefined) {
      // One that never began has no session of its own.
      const actor = { principalId: closed.principalId, sessionId: closed.sessionId ?? closed.startedBySession };
      const outcome = status === 'succeeded' || status === 'partial' ? 'success' : 'failure';
      const data = { pipeline: closed.pipelineName, status, ...counts, error: error as unknown as Json };
      await recordEvents(sql, tenantId, [
        { type: endEvents[status], outcome, actor, runId, data, dedupeKey: `run.ended/${runId}` },
        ...[closed.sessionId, ...closed.stepSessionIds]
          .filter((sessionId) => sessionId !== null)
          .map((sessionId) => ({
            type: 'session.closed',
            actor,
            runId,
            data: { reason: 'run ended', session: publicId('session', sessionId) },
            dedupeKey: `session.closed/${sessionId}`,
          })),
      ]);
    }
    return { status, ...counts, wake: key === null ? [] : await nextOfKey(sql, tenantId, key) };
  });
}

/** Nothing reads what the run has listed any more, and what an attempt that died had listed nothing ever did. */
async function forgetListings(store: Store, tenantId: string, runId: string): Promise<void> {
  const most = 20_000;
  while ((await store.sql(tenantId, (sql) => deleteSetsOfRun(sql, tenantId, runId, most))) === most);
}

function factsOf(row: RunRow): RunFacts {
  const startedAt = row.createdAt.toISOString();
  return {
    id: publicId('run', row.id),
    pipeline: row.pipelineName,
    version: row.versionHash,
    date: startedAt.slice(0, 10),
    startedAt,
  };
}

/** Checks, takes the place, opens the session. Why a run is refused is an answer: the transaction that records it goes on. */
async function enter(
  sql: Sql,
  tenantId: string,
  row: RunRow,
  policy: KeyedPolicy | null,
): Promise<Admission | WaybillError> {
  try {
    const { plan } = row;
    const use = { publisherId: row.publishedBy, ...plan.session, endpoints: Object.values(plan.endpoints) };
    const actor = await checkStart(sql, tenantId, use);
    const admission: Admission =
      policy === null
        ? { state: 'admitted' }
        : await admit(sql, tenantId, { id: row.id, actor: starterOf(row) }, policy);
    if (admission.state === 'admitted') await open(sql, tenantId, row, actor);
    return admission;
  } catch (error) {
    return refusalOf(error);
  }
}

async function open(sql: Sql, tenantId: string, row: RunRow, { principalId }: Actor): Promise<void> {
  const runId = row.id;
  const { application: applicationId, as } = row.plan.session;
  const session = { principalId, applicationId, lifetimeMs: sessionLifetimeMs };
  const sessionId = await openRun(sql, tenantId, runId, session);
  const actor = { principalId, sessionId, applicationId };
  // The event's own principal is the account that the run acts as.
  const others = {
    startedBy: publicId('principal', row.createdBy),
    publishedBy: publicId('principal', row.publishedBy),
    as,
  };
  await recordEvents(sql, tenantId, [
    {
      type: 'session.opened',
      actor,
      runId,
      data: { kind: 'concurrent', ...others },
      dedupeKey: `session.opened/${sessionId}`,
    },
    {
      type: 'run.started',
      actor,
      runId,
      data: { pipeline: row.pipelineName, version: row.versionHash, ...others },
      dedupeKey: `run.started/${runId}`,
    },
  ]);
}

async function refuse(sql: Sql, tenantId: string, row: RunRow, why: WaybillError): Promise<BeginAnswer> {
  const failure: Failure = { kind: why.kind, message: why.message, step: null, endpoint: null, path: null };
  const counts = { files: 0, bytes: 0, skipped: 0, failed: 0 };
  await closeRun(sql, tenantId, row.id, { status: 'refused', error: failure, outputs: null, counts });
  await recordEvents(sql, tenantId, [
    {
      type: 'run.refused',
      outcome: 'failure',
      actor: starterOf(row),
      runId: row.id,
      data: { pipeline: row.pipelineName, error: { kind: failure.kind, message: failure.message } },
      dedupeKey: `run.ended/${row.id}`,
    },
  ]);
  return { state: 'refused', failure };
}

/** Who an event names of a run that has no session of its own yet. */
function starterOf({ createdBy, startedBySession }: RunRow): NewEvent['actor'] {
  return { principalId: createdBy, sessionId: startedBySession };
}

const refusals: readonly ErrorKind[] = ['forbidden', 'not-found', 'conflict', 'invalid'];

/** The error itself when it says why a run is refused; otherwise it is thrown on. What PostgreSQL has said ends the transaction anyhow. */
function refusalOf(error: unknown): WaybillError {
  if (error instanceof WaybillError && refusals.includes(error.kind)) return error;
  throw error;
}

function refusalOr<Value>(work: () => Value): Value | WaybillError {
  try {
    return work();
  } catch (error) {
    return refusalOf(error);
  }
}
