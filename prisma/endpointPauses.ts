import type { Sql, Store } from './contract.ts';

interface EndedPause extends Record<string, unknown> {
  endpoint: string;
  until: Date;
}

/** Tenants with pauses whose time has come, and that nobody has ended yet. */
export async function tenantsOfEndedPauses(store: Store, limit: number): Promise<string[]> {
  const rows = await store.system((sql) =>
    sql.query<{ tenantId: string }>(
      `select distinct tenant_id as "tenantId" from connector_endpoint where paused_until <= now() limit $1::int`,
      [limit],
    ),
  );
  return rows.map(({ tenantId }) => tenantId);
}

/** Ends the pauses whose time has come, each for one caller only; of that endpoint, when one is named. */
export function endPauses(sql: Sql, tenantId: string, endpoint: string | null): Promise<EndedPause[]> {
  return sql.query<EndedPause>(
    `with ended as (
       select id, name, paused_until from connector_endpoint
        where tenant_id = $1::uuid and paused_until <= now() and ($2::text is null or name = $2::text) for update)
     update connector_endpoint e set paused_at = null, paused_until = null, paused_by = null, pause_reason = null
       from ended where e.tenant_id = $1::uuid and e.id = ended.id
      returning ended.name as endpoint, ended.paused_until as until`,
    [tenantId, endpoint],
  );
}
