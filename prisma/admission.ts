import type { Sql } from './contract.ts';

/**
 * The SQL of runs that share a concurrency key. The run's own row is its place: a run of the key in status `starting`
 * waits, one that is `running` holds. However a run is closed, its place is free with it.
 */
export interface KeyedRun extends Record<string, unknown> {
  id: string;
  workflowId: string;
  status: 'starting' | 'running';
  limit: number;
  cancelRequested: boolean;
}

/** Makes the runs of one key wait for each other until the transaction ends. To be taken before the lock of any run's row. */
export async function lockConcurrencyKey(sql: Sql, tenantId: string, key: string): Promise<void> {
  await sql.query(`select pg_advisory_xact_lock(hashtextextended('concurrency/' || $1::text || '/' || $2::text, 0))`, [
    tenantId,
    key,
  ]);
}

/** All runs of the key that wait or hold, in the order in which they were started. */
export async function runsOfKey(sql: Sql, tenantId: string, key: string): Promise<KeyedRun[]> {
  return sql.query<KeyedRun>(
    `select id, workflow_id as "workflowId", status, concurrency_limit as "limit", cancel_requested_at is not null as "cancelRequested"
       from run where tenant_id = $1::uuid and concurrency_key = $2::text and status in ('starting', 'running')
      order by created_at, id`,
    [tenantId, key],
  );
}

/** Notes which key a run goes by: from now on it waits for it. */
export async function joinKey(
  sql: Sql,
  tenantId: string,
  runId: string,
  { key, limit }: { key: string; limit: number },
): Promise<void> {
  await sql.query(
    `update run set concurrency_key = $3::text, concurrency_limit = $4::int
      where tenant_id = $1::uuid and id = $2::uuid and concurrency_key is distinct from $3::text`,
    [tenantId, runId, key, limit],
  );
}

/** The key of a run, or null: it has none, or has not begun. */
export async function keyOfRun(sql: Sql, tenantId: string, runId: string): Promise<string | null> {
  const [row] = await sql.query<{ key: string | null }>(
    'select concurrency_key as key from run where tenant_id = $1::uuid and id = $2::uuid',
    [tenantId, runId],
  );
  return row?.key ?? null;
}

/** Says what a run that has not begun waits for. */
export async function noteWaiting(sql: Sql, tenantId: string, runId: string, message: string): Promise<void> {
  await sql.query('update run set waiting_for = $3::text where tenant_id = $1::uuid and id = $2::uuid', [
    tenantId,
    runId,
    message,
  ]);
}

/** Marks a run to be cancelled, which ends a pause too. False when that had been asked before, or it has ended. */
export async function requestCancel(sql: Sql, tenantId: string, runId: string): Promise<boolean> {
  const asked = await sql.query(
    `update run set cancel_requested_at = now(), paused_at = null, paused_by = null, pause_reason = null
      where tenant_id = $1::uuid and id = $2::uuid and status in ('starting', 'running') and cancel_requested_at is null
      returning id`,
    [tenantId, runId],
  );
  return asked.length > 0;
}

/** A run that is to end. Its workflow is to be told. */
export interface RunToStop extends Record<string, unknown> {
  id: string;
  workflowId: string;
  pipelineName: string;
}

/** A run that is to end because the session that started it has ended. */
export interface StoppedRun extends RunToStop {
  sessionId: string;
}

/** `requestCancel` of every run of the tenant that goes on. Gives those that had not been asked before. */
export async function requestCancelOfAll(sql: Sql, tenantId: string): Promise<RunToStop[]> {
  return sql.query<RunToStop>(
    `update run set cancel_requested_at = now(), paused_at = null, paused_by = null, pause_reason = null
      where tenant_id = $1::uuid and status in ('starting', 'running') and cancel_requested_at is null
      returning id, workflow_id as "workflowId", pipeline_name as "pipelineName"`,
    [tenantId],
  );
}

/** The runs of the tenant that have not ended. */
export async function runsThatGoOn(sql: Sql, tenantId: string): Promise<RunToStop[]> {
  return sql.query<RunToStop>(
    `select id, workflow_id as "workflowId", pipeline_name as "pipelineName" from run
      where tenant_id = $1::uuid and status in ('starting', 'running')`,
    [tenantId],
  );
}

/** `requestCancel` of every run that these sessions have started and that goes on. Gives those that had not been asked before. */
export async function requestCancelOfSessions(
  sql: Sql,
  tenantId: string,
  sessionIds: readonly string[],
): Promise<StoppedRun[]> {
  return sql.query<StoppedRun>(
    `update run set cancel_requested_at = now(), paused_at = null, paused_by = null, pause_reason = null
      where tenant_id = $1::uuid and started_by_session = any($2::uuid[]) and status in ('starting', 'running')
        and cancel_requested_at is null
      returning id, workflow_id as "workflowId", pipeline_name as "pipelineName", started_by_session as "sessionId"`,
    [tenantId, sessionIds],
  );
}
