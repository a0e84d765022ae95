import type { ErrorKind } from '../../schema/errors.ts';
import type { Failure, TransferCounts } from '../../schema/plan.ts';
import type { Sql } from '../contract.ts';

/**
 * A delivered file whose source could not be disposed of counts twice: it was delivered, and it failed. Its row stays
 * `published` and says why.
 */
const failedRow = `(state = 'failed' or (state = 'published' and error_kind is not null))`;
const countColumns = `count(*) filter (where state in ('published', 'settled'))::int as files,
  coalesce(sum(source_size) filter (where state in ('published', 'settled')), 0)::text as bytes,
  count(*) filter (where state = 'skipped')::int as skipped,
  count(*) filter (where ${failedRow})::int as failed`;

interface StoredCounts extends Record<string, unknown> {
  files: number;
  bytes: string;
  skipped: number;
  failed: number;
}

const asCounts = ({ files, bytes, skipped, failed }: StoredCounts): TransferCounts => ({
  files,
  bytes: Number(bytes),
  skipped,
  failed,
});

export async function runCounts(sql: Sql, tenantId: string, runId: string): Promise<TransferCounts> {
  const [counts] = await sql.query<StoredCounts>(
    `select ${countColumns} from delivery where tenant_id = $1::uuid and run_id = $2::uuid`,
    [tenantId, runId],
  );
  return asCounts(counts!);
}

/** Which deliveries of a transfer are meant. */
interface CountedPart {
  /** null: all. */
  batch: number | null;
  /** Positions of the targets that need not get the file: that they have not got it fails no step. */
  optional: readonly number[];
}

/** `optionalFailed` of `failed` are deliveries to optional targets. */
export async function transferCounts(
  sql: Sql,
  tenantId: string,
  transferId: string,
  { batch, optional }: CountedPart,
): Promise<TransferCounts & { optionalFailed: number }> {
  const [counts] = await sql.query<StoredCounts & { optionalFailed: number }>(
    `select ${countColumns}, count(*) filter (where state = 'failed' and target = any($4::int[]))::int as "optionalFailed" from delivery
      where tenant_id = $1::uuid and transfer_id = $2::uuid and ($3::int is null or batch = $3::int)`,
    [tenantId, transferId, batch, optional],
  );
  return { ...asCounts(counts!), optionalFailed: counts!.optionalFailed };
}

/** The failure of the earliest planned file that a required target has not got, or whose source could not be disposed of; or null. */
export async function firstFailure(
  sql: Sql,
  tenantId: string,
  transferId: string,
  { batch, optional }: CountedPart,
): Promise<Failure | null> {
  const [row] = await sql.query<{ kind: ErrorKind; message: string; step: string; endpoint: string; path: string }>(
    `select d.error_kind as kind, d.error_message as message, t.step, coalesce(d.error_endpoint, d.source_endpoint) as endpoint,
            case d.error_endpoint when d.target_endpoint then d.target_path else d.source_path end as path
       from delivery d join transfer t on t.tenant_id = d.tenant_id and t.id = d.transfer_id
      where d.tenant_id = $1::uuid and d.transfer_id = $2::uuid and ($3::int is null or d.batch = $3::int)
        and ${failedRow.replaceAll(/\b(state|error_kind)\b/g, 'd.$1')} and not (d.state = 'failed' and d.target = any($4::int[]))
      order by d.id limit 1`,
    [tenantId, transferId, batch, optional],
  );
  return row === undefined ? null : { ...row };
}

/** How many files a transfer has, and their bytes. */
export async function plannedTotals(
  sql: Sql,
  tenantId: string,
  transferId: string,
): Promise<{ files: number; bytes: number }> {
  const [row] = await sql.query<{ files: number; bytes: string }>(
    `select count(*)::int as files, coalesce(sum(source_size), 0)::text as bytes from delivery
      where tenant_id = $1::uuid and transfer_id = $2::uuid`,
    [tenantId, transferId],
  );
  return { files: row!.files, bytes: Number(row!.bytes) };
}
