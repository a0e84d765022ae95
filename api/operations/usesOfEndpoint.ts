import type { Sql } from '../../prisma/contract.ts';
import { WaybillError } from '../../schema/errors.ts';

/** Throws conflict, naming who, while a live pipeline or a run that goes on uses the endpoint. */
export async function refuseWhileUsed(sql: Sql, tenantId: string, endpoint: string): Promise<void> {
  const users = await sql.query<{ user: string }>(
    `select 'pipeline ' || p.name as user from pipeline p
       join pipeline_version v on v.tenant_id = p.tenant_id and v.pipeline_id = p.id and v.hash = p.live_version_hash
      where p.tenant_id = $1::uuid and p.removed_at is null
        and exists (select 1 from jsonb_each_text(v.plan->'endpoints') used where used.value = $2::text)
     union
     select 'a run of ' || r.pipeline_name from run r
       join pipeline_version v on v.tenant_id = r.tenant_id and v.id = r.version_id
      where r.tenant_id = $1::uuid and r.status in ('starting', 'running')
        and exists (select 1 from jsonb_each_text(v.plan->'endpoints') used where used.value = $2::text)
     order by 1 limit 10`,
    [tenantId, endpoint],
  );
  if (users.length === 0) return;
  const names = users.map(({ user }) => user).join(', ');
  throw new WaybillError('conflict', `endpoint ${endpoint} is used by ${names}`, { code: 'IN_USE', field: 'name' });
}
