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

/** Endpoints that are still there and that the last days' deliveries may have left something at, the next ones by name after `after`. */
export async function endpointsWithTrouble(
  sql: Sql,
  tenantId: string,
  { days, after, most }: { days: number; after: string; most: number },
): Promise<string[]> {
  const rows = await sql.query<{ endpoint: string }>(
    `select distinct d.target_endpoint collate "C" as endpoint from delivery d
       join connector_endpoint e on e.tenant_id = d.tenant_id and e.name = d.target_endpoint
      where ${troubled} and d.target_endpoint > $3::text collate "C"
      order by 1 limit $4::int`,
    [tenantId, days, after, most],
  );
  return rows.map(({ endpoint }) => endpoint);
}

/** The folders of such deliveries at one endpoint, those of the latest first. */
export async function foldersWithTrouble(
  sql: Sql,
  tenantId: string,
  { days, endpoint, most }: { days: number; endpoint: string; most: number },
): Promise<string[]> {
  const rows = await sql.query<{ folder: string }>(
    `select coalesce(nullif(regexp_replace(d.target_path, '/[^/]*$', ''), ''), '/') as folder from delivery d
      where ${troubled} and d.target_endpoint = $3::text
      group by 1 order by max(d.created_at) desc, 1 limit $4::int`,
    [tenantId, days, endpoint, most],
  );
  return rows.map(({ folder }) => folder);
}
