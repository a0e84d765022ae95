import type { SinkToken } from '../../connectors/contract.ts';
import type { Sql } from '../contract.ts';

/**
 * Unfinished writes that a run which goes on may take up again, however long it has been paused or held. Of all endpoints:
 * two of them may lead to one folder.
 */
export async function keptWrites(sql: Sql, tenantId: string): Promise<SinkToken[]> {
  const rows = await sql.query<{ token: SinkToken }>(
    `select d.sink_token as token from run r join delivery d on d.tenant_id = r.tenant_id and d.run_id = r.id
      where r.tenant_id = $1::uuid and r.status in ('starting', 'running') and d.tenant_id = $1::uuid
        and d.sink_token is not null
        and d.state in ('planned', 'held', 'copying', 'verified', 'cancelled')`,
    [tenantId],
  );
  return rows.map(({ token }) => token);
}

/** Tenants with runs of the last days that are not suspended, in the order of their ids, beginning with `from`. Of the system role, which sees runs and no deliveries. */
export async function tenantsWithRuns(
  sql: Sql,
  { days, from, most }: { days: number; from: string | null; most: number },
): Promise<string[]> {
  const rows = await sql.query<{ tenantId: string }>(
    `select distinct tenant_id as "tenantId" from run
      where created_at > now() - make_interval(days => $1::int) and ($2::uuid is null or tenant_id >= $2::uuid)
        and not exists (select from tenant t where t.id = run.tenant_id and t.suspended_at is not null)
      order by 1 limit $3::int`,
    [days, from, most],
  );
  return rows.map(({ tenantId }) => tenantId);
}

/** Deliveries that needed another attempt, or got nowhere: nothing else leaves anything at its target. */
const troubled = `d.tenant_id = $1::uuid and d.created_at > now() - make_interval(days => $2::int)
        and (d.attempt > 1 or (d.attempt = 1 and d.state not in ('published', 'settled', 'skipped')))`;

/** Steps that began to write a small file, and neither wrote it nor took back what they had begun. */
const unfinished = `w.tenant_id = $1::uuid and w.created_at > now() - make_interval(days => $2::int)`;

/** Endpoints that are still there and that deliveries and steps of the last days may have left something at, the next ones by name after `after`. */
export async function endpointsWithTrouble(
  sql: Sql,
  tenantId: string,
  { days, after, most }: { days: number; after: string; most: number },
): Promise<string[]> {
  const rows = await sql.query<{ endpoint: string }>(
    `select d.target_endpoint collate "C" as endpoint from delivery d
       join connector_endpoint e on e.tenant_id = d.tenant_id and e.name = d.target_endpoint
      where ${troubled} and d.target_endpoint > $3::text collate "C"
      union
     select e.name collate "C" from step_write w
       join connector_endpoint e on e.tenant_id = w.tenant_id and e.id = w.endpoint_id
      where ${unfinished} and e.name > $3::text collate "C"
      order by 1 limit $4::int`,
    [tenantId, days, after, most],
  );
  return rows.map(({ endpoint }) => endpoint);
}

/** The folders of such deliveries and steps at one endpoint, those of the latest first. */
export async function foldersWithTrouble(
  sql: Sql,
  tenantId: string,
  { days, endpoint, most }: { days: number; endpoint: string; most: number },
): Promise<string[]> {
  const rows = await sql.query<{ folder: string }>(
    `select folder from (
       select coalesce(nullif(regexp_replace(d.target_path, '/[^/]*$', ''), ''), '/') as folder, d.created_at from delivery d
        where ${troubled} and d.target_endpoint = $3::text
        union all
       select w.folder, w.created_at from step_write w
         join connector_endpoint e on e.tenant_id = w.tenant_id and e.id = w.endpoint_id
        where ${unfinished} and e.name = $3::text) as written
      group by 1 order by max(created_at) desc, 1 limit $4::int`,
    [tenantId, days, endpoint, most],
  );
  return rows.map(({ folder }) => folder);
}

interface StepWrite {
  runId: string;
  stepKey: string;
}

/** To be said before a step writes: should its worker die, the sweep finds the folder by it. */
export async function rememberStepWrite(
  sql: Sql,
  tenantId: string,
  { runId, stepKey, endpoint, folder }: StepWrite & { endpoint: string; folder: string },
): Promise<void> {
  await sql.query(
    `insert into step_write (tenant_id, run_id, step_key, endpoint_id, folder)
     select tenant_id, $2::uuid, $3::text, id, $5::text from connector_endpoint where tenant_id = $1::uuid and name = $4::text
     on conflict (tenant_id, run_id, step_key) do update
       set endpoint_id = excluded.endpoint_id, folder = excluded.folder, created_at = excluded.created_at`,
    [tenantId, runId, stepKey, endpoint, folder],
  );
}

/** The step has left nothing. */
export async function forgetStepWrite(sql: Sql, tenantId: string, { runId, stepKey }: StepWrite): Promise<void> {
  await sql.query('delete from step_write where tenant_id = $1::uuid and run_id = $2::uuid and step_key = $3::text', [
    tenantId,
    runId,
    stepKey,
  ]);
}

/** Nothing is left in these folders that is older than a day: a sweep has been there. */
export async function forgetSweptWrites(
  sql: Sql,
  tenantId: string,
  { endpoint, folders }: { endpoint: string; folders: readonly string[] },
): Promise<void> {
  await sql.query(
    `delete from step_write w using connector_endpoint e
      where w.tenant_id = $1::uuid and e.tenant_id = w.tenant_id and e.id = w.endpoint_id and e.name = $2::text
        and w.folder = any($3::text[]) and w.created_at < now() - interval '2 days'`,
    [tenantId, endpoint, folders],
  );
}
