import type { Sql } from '../contract.ts';
import type { DeliveryRow } from './claims.ts';

/** What a delivery put at its target. */
export interface Delivered extends Record<string, unknown> {
  id: string;
  targetPath: string;
  /** bytes */
  size: number;
  /** of the source, which the target was given where it can keep it */
  modified: string | null;
  /** hexadecimal */
  sha256: string | null;
}

/** What those deliveries put at their targets, in the order of the ids; undefined for one that there is not. */
export async function findDelivered(
  sql: Sql,
  tenantId: string,
  ids: readonly string[],
): Promise<Array<Delivered | undefined>> {
  const rows = await sql.query<Delivered>(
    `select id, target_path as "targetPath", source_size::text as size, source_modified as modified,
            encode(sha256, 'hex') as sha256
       from delivery where tenant_id = $1::uuid and id = any($2::uuid[])`,
    [tenantId, ids],
  );
  const byId = new Map(rows.map((row) => [row.id, { ...row, size: Number(row.size) }]));
  return ids.map((id) => byId.get(id));
}

/** Forgets that this delivery delivered the file version of that key, so that it can be claimed. Does nothing when it is another's by now. */
export async function forgetDelivered(
  sql: Sql,
  tenantId: string,
  { deliveryKey, by }: { deliveryKey: string; by: string },
): Promise<void> {
  await sql.query(
    `delete from delivery_claim
      where tenant_id = $1::uuid and delivery_key = decode($2::text, 'hex') and delivery_id = $3::uuid and delivered_at is not null`,
    [tenantId, deliveryKey, by],
  );
}

/** Says of deliveries that have not been published what their source is: its version, its SHA-256, and the key that follows. */
export async function nameSources(
  sql: Sql,
  tenantId: string,
  rows: readonly Pick<DeliveryRow, 'id' | 'deliveryKey' | 'sourceSize' | 'sourceModified' | 'sourceEtag' | 'sha256'>[],
): Promise<void> {
  await sql.query(
    `update delivery d
        set delivery_key = decode(n.key, 'hex'), source_size = n.size, source_modified = n.modified, source_etag = n.etag,
            sha256 = decode(n.sha256, 'hex'), updated_at = now()
       from unnest($2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[])
            as n(id, key, size, modified, etag, sha256)
      where d.tenant_id = $1::uuid and d.id = n.id and d.id = any($2::uuid[])
        and d.state in ('planned', 'copying', 'cancelled')`,
    [
      tenantId,
      rows.map((row) => row.id),
      rows.map((row) => row.deliveryKey),
      rows.map((row) => row.sourceSize),
      rows.map((row) => row.sourceModified),
      rows.map((row) => row.sourceEtag),
      rows.map((row) => row.sha256),
    ],
  );
}
