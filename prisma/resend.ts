import type { Sql } from './contract.ts';

/**
 * Plans a run that sends delivered files once more: for each a transfer of its own, of one planned delivery. It is of the
 * version that was delivered, from where the source is now, to where it went; nothing becomes of the source. Its key is its
 * own: what is remembered of the first delivery stays as it is. Safe twice: the step key is unique within the run.
 */
export async function planResend(
  sql: Sql,
  tenantId: string,
  runId: string,
  deliveryIds: readonly string[],
): Promise<Array<{ transferId: string; batches: number }>> {
  await sql.query(
    `insert into transfer (tenant_id, run_id, step, step_key, source_endpoint, target_endpoint, options, status, planned_at, batches)
     select d.tenant_id, $2::uuid, t.step, 'resend/' || d.id, d.source_endpoint, d.target_endpoint,
            t.options || jsonb_build_object('then', null, 'once', 'off', 'recheck', false, 'resend', true, 'targets',
              jsonb_build_array(jsonb_build_object('endpoint', d.target_endpoint, 'to', d.target_path, 'required', true))),
            'running', now(), 1
       from delivery d join transfer t on t.tenant_id = d.tenant_id and t.id = d.transfer_id
      where d.tenant_id = $1::uuid and d.id = any($3::uuid[])
         on conflict (tenant_id, run_id, step_key) do nothing`,
    [tenantId, runId, deliveryIds],
  );
  await sql.query(
    `insert into delivery (tenant_id, transfer_id, run_id, batch, delivery_key, state, source_endpoint, source_path, source_size,
            source_modified, source_etag, target_endpoint, target_path, sha256)
     select d.tenant_id, t.id, $2::uuid, 0, sha256(convert_to('resend/' || $2::uuid || '/' || d.id, 'utf8')), 'planned', d.source_endpoint,
            case d.state when 'published' then d.source_path else coalesce(d.disposed_path, d.source_path) end, d.source_size,
            d.source_modified, d.source_etag, d.target_endpoint, d.target_path, d.sha256
       from delivery d join transfer t on t.tenant_id = d.tenant_id and t.run_id = $2::uuid and t.step_key = 'resend/' || d.id
      where d.tenant_id = $1::uuid and d.id = any($3::uuid[])
        and not exists (select 1 from delivery n where n.tenant_id = d.tenant_id and n.transfer_id = t.id)`,
    [tenantId, runId, deliveryIds],
  );
  return sql.query<{ transferId: string; batches: number }>(
    `select id as "transferId", batches from transfer where tenant_id = $1::uuid and run_id = $2::uuid order by id`,
    [tenantId, runId],
  );
}
