import type { Hold } from '../schema/workflow.ts';
import type { Sql } from './contract.ts';

/**
 * Says which endpoints a run waits for, and forgets those it waited for before; gives those that hold nothing any more.
 * Their rows are locked first: whoever frees one at the same time either is seen here, or sees the run waiting. A run that
 * has ended waits for none.
 */
export async function setRunHolds(
  sql: Sql,
  tenantId: string,
  runId: string,
  waitingFor: string | null,
  holds: readonly Hold[],
): Promise<string[]> {
  const names = holds.map(({ endpoint }) => endpoint);
  await sql.query(
    'select from connector_endpoint where tenant_id = $1::uuid and name = any($2::text[]) order by name for share',
    [tenantId, names],
  );
  // Only now: what was decided while the locks were waited for is seen.
  const free = await sql.query<{ name: string }>(
    `select e.name from connector_endpoint e
       left join endpoint_breaker b on b.tenant_id = e.tenant_id and b.endpoint_id = e.id
      where e.tenant_id = $1::uuid and e.name = any($2::text[]) and b.open_until is null
        and (e.paused_at is null or e.paused_until <= now())`,
    [tenantId, names],
  );
  const going = await sql.query(
    `update run set waiting_for = $3::text
      where tenant_id = $1::uuid and id = $2::uuid and status = 'running' returning 1 as one`,
    [tenantId, runId, waitingFor],
  );
  await clearRunHolds(sql, tenantId, runId);
  if (going.length === 0 || holds.length === 0) return [];
  await sql.query(
    `insert into run_hold (tenant_id, run_id, endpoint_id, reason, until)
     select $1::uuid, $2::uuid, e.id, h.reason, to_timestamp(h.until / 1000)
       from unnest($3::text[], $4::text[], $5::float8[]) as h(endpoint, reason, until)
       join connector_endpoint e on e.tenant_id = $1::uuid and e.name = h.endpoint
     on conflict do nothing`,
    [tenantId, runId, names, holds.map(({ reason }) => reason), holds.map(({ untilMs }) => untilMs)],
  );
  return free.map(({ name }) => name);
}

export async function clearRunHolds(sql: Sql, tenantId: string, runId: string): Promise<void> {
  await sql.query('delete from run_hold where tenant_id = $1::uuid and run_id = $2::uuid', [tenantId, runId]);
}

/** The workflows that wait for an endpoint that the caller's transaction frees, those of the oldest runs first. */
export async function heldWorkflows(sql: Sql, tenantId: string, endpoint: string): Promise<string[]> {
  // A run that is about to wait holds it until it is seen to.
  await sql.query('select from connector_endpoint where tenant_id = $1::uuid and name = $2::text for update', [
    tenantId,
    endpoint,
  ]);
  const rows = await sql.query<{ workflowId: string }>(
    `select r.workflow_id as "workflowId" from run_hold h
       join connector_endpoint e on e.tenant_id = h.tenant_id and e.id = h.endpoint_id
       join run r on r.tenant_id = h.tenant_id and r.id = h.run_id
      where h.tenant_id = $1::uuid and e.name = $2::text and r.status = 'running'
      order by r.created_at, r.id`,
    [tenantId, endpoint],
  );
  return rows.map(({ workflowId }) => workflowId);
}

export interface HeldCounts extends Record<string, unknown> {
  endpointId: string;
  /** Runs that wait for it, and files of theirs that do. */
  runs: number;
  deliveries: number;
}

/** For the endpoints for which somebody waits. */
export async function heldCounts(sql: Sql, tenantId: string, endpointIds: readonly string[]): Promise<HeldCounts[]> {
  return sql.query<HeldCounts>(
    `select h.endpoint_id as "endpointId", count(distinct h.run_id)::int as runs, count(d.id)::int as deliveries
       from run_hold h
       join connector_endpoint e on e.tenant_id = h.tenant_id and e.id = h.endpoint_id
       left join delivery d on d.tenant_id = h.tenant_id and d.run_id = h.run_id and d.state = 'held'
            and starts_with(d.error_message, e.name || ',')
      where h.tenant_id = $1::uuid and h.endpoint_id = any($2::uuid[])
      group by h.endpoint_id`,
    [tenantId, endpointIds],
  );
}

/** Marks what of a batch has not begun and has to do with that endpoint as held, with the reason. */
export async function holdDeliveries(
  sql: Sql,
  tenantId: string,
  { transferId, batch, endpoint, reason }: { transferId: string; batch: number; endpoint: string; reason: string },
): Promise<void> {
  await sql.query(
    `update delivery set state = 'held', error_kind = 'unavailable', error_message = $4::text, updated_at = now()
      where tenant_id = $1::uuid and transfer_id = $2::uuid and batch = $3::int and $5::text in (source_endpoint, target_endpoint)
        and (state = 'planned' or (state = 'held' and error_message is distinct from $4::text))`,
    [tenantId, transferId, batch, reason, endpoint],
  );
}

/** What was held of a batch goes on: it is planned again. */
export async function releaseDeliveries(
  sql: Sql,
  tenantId: string,
  { transferId, batch }: { transferId: string; batch: number },
): Promise<void> {
  await sql.query(
    `update delivery set state = 'planned', error_kind = null, error_message = null, error_endpoint = null, updated_at = now()
      where tenant_id = $1::uuid and transfer_id = $2::uuid and batch = $3::int and state = 'held'`,
    [tenantId, transferId, batch],
  );
}
