import type { Failure, Json, Plan, RunStatus, TransferCounts } from '../schema/plan.ts';
import type { Sql } from './contract.ts';

/** The SQL of a run's life. Each function is one statement, or a few in the caller's transaction. */
export interface RunRow extends Record<string, unknown> {
  id: string;
  status: RunStatus;
  pipelineName: string;
  plan: Plan;
  versionHash: string;
  publishedBy: string;
  createdBy: string;
  /** The session that started it, when it was one: what that said of itself stands in every event of the run. */
  startedBySession: string | null;
  inputs: Record<string, Json>;
  createdAt: Date;
  trigger: string;
  retryDeliveries: string[];
}

/** The run with its version, as it was started: none of this but the status changes. Undefined when there is none. */
export async function loadRun(sql: Sql, tenantId: string, runId: string): Promise<RunRow | undefined> {
  const [row] = await sql.query<RunRow>(
    `select r.id, r.status, r.pipeline_name as "pipelineName", v.plan, v.hash as "versionHash", v.published_by as "publishedBy",
            r.created_by as "createdBy", r.started_by_session as "startedBySession", r.inputs, r.created_at as "createdAt", r.trigger, r.retry_deliveries as "retryDeliveries"
       from run r join pipeline_version v on v.tenant_id = r.tenant_id and v.id = r.version_id
      where r.tenant_id = $1::uuid and r.id = $2::uuid`,
    [tenantId, runId],
  );
  return row;
}

export interface RunControl extends Record<string, unknown> {
  status: RunStatus;
  error: Failure | null;
  pausedAt: Date | null;
  pausedBy: string | null;
  pauseReason: string | null;
}

/**
 * What has been decided about a run since it was started, its row locked until the transaction ends. Whoever reads it has
 * heard of it: what was pending is so no more. Undefined when there is no such run.
 */
export async function takeControl(sql: Sql, tenantId: string, runId: string): Promise<RunControl | undefined> {
  const [row] = await sql.query<RunControl>(
    `update run r set control_pending = false
      where r.tenant_id = $1::uuid and r.id = $2::uuid
      returning r.status, r.error, r.paused_at as "pausedAt", r.pause_reason as "pauseReason",
        (select p.name from principal p where p.tenant_id = r.tenant_id and p.id = r.paused_by) as "pausedBy"`,
    [tenantId, runId],
  );
  return row;
}

/**
 * Opens the run's own concurrent session and marks the run as running. What the session that started the run said of
 * itself goes over to it, and with it into every event of the run.
 */
export async function openRun(
  sql: Sql,
  tenantId: string,
  runId: string,
  session: { principalId: string; applicationId: number; lifetimeMs: number },
): Promise<string> {
  const [row] = await sql.query<{ id: string }>(
    `with opened as (
       insert into session (tenant_id, principal_id, application_id, kind, expires_at, parent_id, client_version, ip_address,
         user_string, impersonator_id)
       select $1::uuid, $3::uuid, $4::int, 'concurrent', now() + make_interval(secs => $5::float8 / 1000),
         starter.id, starter.client_version, starter.ip_address, starter.user_string, starter.impersonator_id
         from run r left join session starter on starter.tenant_id = r.tenant_id and starter.id = r.started_by_session
        where r.tenant_id = $1::uuid and r.id = $2::uuid
       returning id)
     update run set status = 'running', started_at = now(), waiting_for = null, session_id = (select id from opened)
      where tenant_id = $1::uuid and id = $2::uuid
      returning session_id as id`,
    [tenantId, runId, session.principalId, session.applicationId, session.lifetimeMs],
  );
  return row!.id;
}

export interface ClosedRunRow extends Record<string, unknown> {
  sessionId: string | null;
  startedBySession: string | null;
  /** Sessions that its steps had opened and left open. */
  stepSessionIds: string[];
  principalId: string;
  pipelineName: string;
}

/** Ends a run that has not ended yet, its session and those that its steps left open. Gives undefined when it had ended already. */
export async function closeRun(
  sql: Sql,
  tenantId: string,
  runId: string,
  end: { status: RunStatus; error: Failure | null; outputs: Json; counts: TransferCounts },
): Promise<ClosedRunRow | undefined> {
  const { files, bytes, skipped, failed } = end.counts;
  const [row] = await sql.query<ClosedRunRow>(
    `with ended as (
       update run set status = $3::text, error = $4::jsonb, outputs = $5::jsonb, ended_at = now(), waiting_for = null,
              paused_at = null, paused_by = null, pause_reason = null, control_pending = false,
              files = $6::int, bytes = $7::bigint, skipped = $8::int, failed = $9::int
        where tenant_id = $1::uuid and id = $2::uuid and status in ('starting', 'running')
        returning session_id, started_by_session, created_by, pipeline_name),
     closed as (
       update session s set ended_at = now(), end_reason = 'run ended' from ended
        where s.tenant_id = $1::uuid and (s.id = ended.session_id or s.run_id = $2::uuid) and s.ended_at is null
        returning s.id, s.run_id)
     select ended.session_id as "sessionId", ended.started_by_session as "startedBySession", coalesce(s.principal_id, ended.created_by) as "principalId", ended.pipeline_name as "pipelineName",
            array(select id from closed where run_id is not null order by id) as "stepSessionIds"
       from ended left join session s on s.tenant_id = $1::uuid and s.id = ended.session_id`,
    [tenantId, runId, end.status, json(end.error), json(end.outputs), files, bytes, skipped, failed],
  );
  return row;
}

/**
 * Plans the failed deliveries named by a retry run: for each transfer they belonged to, a new transfer of this run with
 * one planned delivery per file and target, in one batch. The other targets of such a file are planned too: those that have
 * it answer so, and after the last one the source is disposed of. Safe twice: the transfer's step key is unique within the run.
 */
export async function planRetry(
  sql: Sql,
  tenantId: string,
  runId: string,
  deliveryIds: readonly string[],
): Promise<Array<{ transferId: string; batches: number }>> {
  await sql.query(
    `insert into transfer (tenant_id, run_id, step, step_key, source_endpoint, target_endpoint, options, status, planned_at, batches)
     select distinct on (t.id) t.tenant_id, $2::uuid, t.step, 'retry/' || t.id, t.source_endpoint, t.target_endpoint, t.options, 'running', now(), 1
       from transfer t join delivery d on d.tenant_id = t.tenant_id and d.transfer_id = t.id
      where d.tenant_id = $1::uuid and d.id = any($3::uuid[])
         on conflict (tenant_id, run_id, step_key) do nothing`,
    [tenantId, runId, deliveryIds],
  );
  await sql.query(
    `insert into delivery (tenant_id, transfer_id, run_id, batch, delivery_key, state, source_endpoint, source_path, source_size, source_modified, source_etag, target_endpoint, target, target_path)
     select distinct on (d.id) d.tenant_id, t.id, $2::uuid, 0, d.delivery_key, 'planned', d.source_endpoint, d.source_path, d.source_size, d.source_modified, d.source_etag, d.target_endpoint, d.target, d.target_path
       from delivery f
       join delivery d on d.tenant_id = f.tenant_id and d.transfer_id = f.transfer_id and d.batch = f.batch and d.source_path = f.source_path
       join transfer t on t.tenant_id = d.tenant_id and t.run_id = $2::uuid and t.step_key = 'retry/' || d.transfer_id
      where f.tenant_id = $1::uuid and f.id = any($3::uuid[])
        and not exists (select 1 from delivery n where n.tenant_id = d.tenant_id and n.transfer_id = t.id and n.source_path = d.source_path and n.target = d.target)`,
    [tenantId, runId, deliveryIds],
  );
  return sql.query<{ transferId: string; batches: number }>(
    `select id as "transferId", batches from transfer where tenant_id = $1::uuid and run_id = $2::uuid order by id`,
    [tenantId, runId],
  );
}

export interface UnfinishedRun extends Record<string, unknown> {
  tenantId: string;
  runId: string;
  workflowId: string;
  status: RunStatus;
  /** It was asked to end, and has not ended. */
  cancelRequested: boolean;
  /** It was paused or resumed, and its workflow has not read it. */
  controlPending: boolean;
}

/** Runs of all tenants that Temporal should have under way: those that have begun, and those that should have after `graceMs`. System role. */
export async function unfinishedRuns(sql: Sql, graceMs: number, limit: number): Promise<UnfinishedRun[]> {
  return sql.query<UnfinishedRun>(
    `select tenant_id as "tenantId", id as "runId", workflow_id as "workflowId", status,
            cancel_requested_at < now() - make_interval(secs => $1::float8 / 1000) is true as "cancelRequested",
            control_pending as "controlPending"
       from run
      where status = 'running' or (status = 'starting' and created_at < now() - make_interval(secs => $1::float8 / 1000))
      order by created_at limit $2::int`,
    [graceMs, limit],
  );
}

/** Forgets the answers of idempotency keys older than that. System role. */
export async function forgetIdempotencyKeys(sql: Sql, hours: number): Promise<void> {
  await sql.query('delete from idempotency_key where created_at < now() - make_interval(hours => $1::int)', [hours]);
}

function json(value: unknown): string | null {
  return value === null || value === undefined ? null : JSON.stringify(value);
}
