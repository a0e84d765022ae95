import type { SinkToken } from '../../connectors/contract.ts';
import type { DeliveryState } from '../../schema/plan.ts';
import type { Sql } from '../contract.ts';
import type { DeliveryRow } from './claims.ts';

/** New values of a delivery. What is absent stays as it is; the error is always replaced. */
export interface DeliveryChange {
  id: string;
  state: DeliveryState;
  bytesDone?: number;
  /** hexadecimal */
  sha256?: string;
  evidence?: string;
  temporaryPath?: string;
  /** null: there is no unfinished write any more. */
  sinkToken?: SinkToken | null;
  targetPath?: string;
  duplicateOf?: string;
  disposedPath?: string;
  /** The target has the file since now. */
  published?: boolean;
  /** `endpoint`: whose failure it was, the source's or the target's. */
  error: { kind: string | null; message: string; endpoint?: string | null } | null;
}

/** What becomes of claims that the transaction has locked and that are ours. Keys in hexadecimal. */
export interface ClaimChanges {
  extend: readonly string[];
  /** The claim becomes the memory that this file version was delivered. */
  deliver: readonly string[];
  release: readonly string[];
}

/** Applies changes of deliveries and of their claims in one statement. Lock the claims first (`lockClaims`). */
export async function changeDeliveries(
  sql: Sql,
  tenantId: string,
  leaseMs: number,
  claims: ClaimChanges,
  changes: readonly DeliveryChange[],
): Promise<void> {
  const kept = [...claims.extend, ...claims.deliver];
  if (kept.length + claims.release.length + changes.length === 0) return;
  await sql.query(
    `with kept as (
       update delivery_claim c
          set lease_until = now() + make_interval(secs => $14::float8 / 1000), delivered_at = case when w.delivered then now() end
         from unnest($15::text[], $16::bool[]) as w(key, delivered)
        where c.tenant_id = $1::uuid and c.delivery_key = decode(w.key, 'hex')
          and c.delivery_key = any(array(select decode(k, 'hex') from unnest($15::text[]) as k))),
     released as (
       delete from delivery_claim
        where tenant_id = $1::uuid and delivery_key = any(array(select decode(k, 'hex') from unnest($17::text[]) as k)))
     update delivery d
        set state = c.state,
            bytes_done = coalesce(c.bytes_done, d.bytes_done),
            sha256 = coalesce(decode(c.sha256, 'hex'), d.sha256),
            evidence = coalesce(c.evidence, d.evidence),
            temporary_path = coalesce(c.temporary_path, d.temporary_path),
            sink_token = case when c.sink_token is null then d.sink_token else nullif(c.sink_token::jsonb, 'null') end,
            target_path = coalesce(c.target_path, d.target_path),
            duplicate_of = coalesce(c.duplicate_of, d.duplicate_of),
            disposed_path = coalesce(c.disposed_path, d.disposed_path),
            published_at = case when c.published then now() else d.published_at end,
            error_kind = c.error_kind, error_message = c.error_message, error_endpoint = c.error_endpoint, updated_at = now()
       from unnest($2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[], $9::uuid[],
                   $10::text[], $11::bool[], $12::text[], $13::text[], $18::text[], $19::text[])
            as c(id, state, bytes_done, sha256, evidence, temporary_path, target_path, duplicate_of, disposed_path,
                 published, error_kind, error_message, sink_token, error_endpoint)
      where d.tenant_id = $1::uuid and d.id = c.id and d.id = any($2::uuid[])`,
    [
      tenantId,
      changes.map((change) => change.id),
      changes.map((change) => change.state),
      changes.map((change) => change.bytesDone ?? null),
      changes.map((change) => change.sha256 ?? null),
      changes.map((change) => change.evidence ?? null),
      changes.map((change) => change.temporaryPath ?? null),
      changes.map((change) => change.targetPath ?? null),
      changes.map((change) => change.duplicateOf ?? null),
      changes.map((change) => change.disposedPath ?? null),
      changes.map((change) => change.published ?? false),
      changes.map((change) => change.error?.kind ?? null),
      changes.map((change) => change.error?.message ?? null),
      leaseMs,
      kept,
      kept.map((_, index) => index >= claims.extend.length),
      claims.release,
      changes.map(({ sinkToken }) => (sinkToken === undefined ? null : JSON.stringify(sinkToken))),
      changes.map((change) => change.error?.endpoint ?? null),
    ],
  );
}

/** The checkpoint of copies under way. */
export async function saveProgress(
  sql: Sql,
  tenantId: string,
  progress: readonly { id: string; bytesDone: number }[],
): Promise<void> {
  if (progress.length === 0) return;
  await sql.query(
    `update delivery d set bytes_done = p.bytes_done, updated_at = now()
       from unnest($2::uuid[], $3::bigint[]) as p(id, bytes_done)
      where d.tenant_id = $1::uuid and d.id = p.id and d.state = 'copying'`,
    [tenantId, progress.map((row) => row.id), progress.map((row) => row.bytesDone)],
  );
}

/**
 * The source has another version than was planned: the delivery is of that one from now on, and gives up what an attempt
 * of it still claims for the old one.
 */
export async function replanDeliveries(
  sql: Sql,
  tenantId: string,
  rows: readonly Pick<DeliveryRow, 'id' | 'deliveryKey' | 'sourceSize' | 'sourceModified' | 'sourceEtag'>[],
): Promise<void> {
  await sql.query(
    `with given_up as (
       delete from delivery_claim c using delivery d
        where c.tenant_id = $1::uuid and d.tenant_id = $1::uuid and d.id = any($2::uuid[])
          and c.delivery_key = d.delivery_key and c.delivery_id = d.id and c.delivered_at is null)
     update delivery d
        set delivery_key = decode(n.key, 'hex'), source_size = n.size, source_modified = n.modified, source_etag = n.etag, state = 'planned',
            sha256 = null, temporary_path = null, sink_token = null, bytes_done = 0, updated_at = now()
       from unnest($2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::text[]) as n(id, key, size, modified, etag)
      where d.tenant_id = $1::uuid and d.id = n.id and d.state in ('planned', 'held', 'copying', 'verified', 'cancelled')`,
    [
      tenantId,
      rows.map((row) => row.id),
      rows.map((row) => row.deliveryKey),
      rows.map((row) => row.sourceSize),
      rows.map((row) => row.sourceModified),
      rows.map((row) => row.sourceEtag),
    ],
  );
}

export interface AbandonedDelivery extends Record<string, unknown> {
  id: string;
  sourcePath: string;
  targetEndpoint: string;
  targetPath: string;
  errorKind: string;
  errorMessage: string;
}

/**
 * Ends what is left of a transfer that gets no further attempt: as cancelled, or as failed with the error of its last
 * attempt (else the one given). Releases their claims, but those of verified files: such a file may have been published
 * without a word, and who takes the claim over looks for it. Gives the rows that became failed.
 */
export async function abandonDeliveries(
  sql: Sql,
  tenantId: string,
  transferId: string,
  end: { state: 'failed' | 'cancelled'; error: { kind: string; message: string } },
): Promise<AbandonedDelivery[]> {
  await sql.query(
    `delete from delivery_claim where tenant_id = $1::uuid and delivered_at is null and delivery_key in (
        select c.delivery_key from delivery_claim c join delivery d on d.tenant_id = c.tenant_id and d.id = c.delivery_id
           and d.delivery_key = c.delivery_key
         where c.tenant_id = $1::uuid and d.transfer_id = $2::uuid and c.delivered_at is null and d.state <> 'verified'
         order by c.delivery_key for update of c)`,
    [tenantId, transferId],
  );
  const rows = await sql.query<AbandonedDelivery>(
    `update delivery set state = $3::text, updated_at = now(),
            error_kind = case $3::text when 'failed' then coalesce(error_kind, $4::text) else error_kind end,
            error_message = case $3::text when 'failed' then coalesce(error_message, $5::text) else error_message end
      where tenant_id = $1::uuid and transfer_id = $2::uuid and state in ('planned', 'held', 'copying', 'verified')
      returning id, source_path as "sourcePath", target_endpoint as "targetEndpoint", target_path as "targetPath", error_kind as "errorKind", error_message as "errorMessage"`,
    [tenantId, transferId, end.state, end.error.kind, end.error.message],
  );
  return end.state === 'failed' ? rows : [];
}

/**
 * Delivered files whose source stays, since another of the targets that are required (positions) has not got them: their
 * rows say which.
 */
export async function noteMissingTargets(
  sql: Sql,
  tenantId: string,
  transferId: string,
  required: readonly number[],
): Promise<void> {
  await sql.query(
    `update delivery d set error_message = 'the source stays: ' || missing.endpoints || ' has not got the file', updated_at = now()
       from (select source_path, string_agg(distinct target_endpoint, ', ') as endpoints from delivery
              where tenant_id = $1::uuid and transfer_id = $2::uuid and state in ('failed', 'cancelled') and target = any($3::int[])
              group by source_path) missing
      where d.tenant_id = $1::uuid and d.transfer_id = $2::uuid and d.source_path = missing.source_path
        and d.state = 'published' and d.error_message is null`,
    [tenantId, transferId, required],
  );
}

/** Unfinished writes that deliveries of a transfer have left at its target and that nobody will take up. */
export async function abandonedWrites(
  sql: Sql,
  tenantId: string,
  transferId: string,
  rows: number,
): Promise<Array<{ id: string; targetEndpoint: string; sinkToken: SinkToken }>> {
  return sql.query(
    `select id, target_endpoint as "targetEndpoint", sink_token as "sinkToken" from delivery
      where tenant_id = $1::uuid and transfer_id = $2::uuid and sink_token is not null
        and state in ('failed', 'cancelled', 'skipped', 'published', 'settled') order by id limit $3::int`,
    [tenantId, transferId, rows],
  );
}

/** Notes that those writes are gone from the target. */
export async function forgetWrites(sql: Sql, tenantId: string, deliveries: readonly string[]): Promise<void> {
  await sql.query(
    `update delivery set sink_token = null where tenant_id = $1::uuid and id = any($2::uuid[]) and state <> 'copying'`,
    [tenantId, deliveries],
  );
}
