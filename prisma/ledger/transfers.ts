import { WaybillError } from '../../schema/errors.ts';
import type { Json, TransferStatus } from '../../schema/plan.ts';
import type { Sql } from '../contract.ts';

/** What the ledger needs to know of a run: whose it is, for events; its pipeline, for delivery keys. */
export interface LedgerRun extends Record<string, unknown> {
  pipelineName: string;
  principalId: string | null;
  sessionId: string | null;
  applicationId: number | null;
}

/** Throws not-found. */
export async function findLedgerRun(sql: Sql, tenantId: string, runId: string): Promise<LedgerRun> {
  const [run] = await sql.query<LedgerRun>(
    `select r.pipeline_name as "pipelineName", coalesce(s.principal_id, r.created_by) as "principalId",
            r.session_id as "sessionId", s.application_id as "applicationId"
       from run r left join session s on s.tenant_id = r.tenant_id and s.id = r.session_id
      where r.tenant_id = $1::uuid and r.id = $2::uuid`,
    [tenantId, runId],
  );
  if (run === undefined) throw new WaybillError('not-found', `no run ${runId}`, { operation: 'reading the ledger' });
  return run;
}

export interface TransferRow extends Record<string, unknown> {
  id: string;
  runId: string;
  step: string;
  sourceEndpoint: string;
  targetEndpoint: string;
  options: Json;
  status: TransferStatus;
  planned: boolean;
  batches: number;
}

const transferColumns = `id, run_id as "runId", step, source_endpoint as "sourceEndpoint", target_endpoint as "targetEndpoint",
  options, status, planned_at is not null as planned, batches`;

/** The transfer of that step of the run, made when there is none yet. */
export async function openTransfer(
  sql: Sql,
  tenantId: string,
  transfer: {
    runId: string;
    step: string;
    stepKey: string;
    sourceEndpoint: string;
    targetEndpoint: string;
    options: Json;
  },
): Promise<TransferRow> {
  await sql.query(
    `insert into transfer (tenant_id, run_id, step, step_key, source_endpoint, target_endpoint, options, status)
     values ($1::uuid, $2::uuid, $3::text, $4::text, $5::text, $6::text, $7::jsonb, 'running')
     on conflict (tenant_id, run_id, step_key) do nothing`,
    [
      tenantId,
      transfer.runId,
      transfer.step,
      transfer.stepKey,
      transfer.sourceEndpoint,
      transfer.targetEndpoint,
      JSON.stringify(transfer.options),
    ],
  );
  const [row] = await sql.query<TransferRow>(
    `select ${transferColumns} from transfer where tenant_id = $1::uuid and run_id = $2::uuid and step_key = $3::text`,
    [tenantId, transfer.runId, transfer.stepKey],
  );
  return row!;
}

/** The transfer, locked until the transaction ends. Throws not-found. */
export async function lockTransfer(sql: Sql, tenantId: string, transferId: string): Promise<TransferRow> {
  return readTransfer(sql, tenantId, transferId, 'for update');
}

/** Throws not-found. */
export async function findTransfer(sql: Sql, tenantId: string, transferId: string): Promise<TransferRow> {
  return readTransfer(sql, tenantId, transferId, '');
}

async function readTransfer(
  sql: Sql,
  tenantId: string,
  transferId: string,
  lock: '' | 'for update',
): Promise<TransferRow> {
  const [row] = await sql.query<TransferRow>(
    `select ${transferColumns} from transfer where tenant_id = $1::uuid and id = $2::uuid ${lock}`,
    [tenantId, transferId],
  );
  if (row === undefined)
    throw new WaybillError('not-found', `no transfer ${transferId}`, { operation: 'reading the ledger' });
  return row;
}

export interface PlannedDelivery {
  batch: number;
  targetEndpoint: string;
  /** position among the targets of the transfer */
  target: number;
  /** hexadecimal */
  deliveryKey: string;
  sourcePath: string;
  sourceSize: number;
  sourceModified: string | null;
  sourceEtag: string | null;
  targetPath: string;
  /** Why the file can never be delivered: its row begins as failed. */
  refusal: { kind: string; message: string } | null;
}

export interface RefusedDelivery extends Record<string, unknown> {
  id: string;
  sourcePath: string;
  targetEndpoint: string;
  targetPath: string;
  kind: string;
  message: string;
}

/**
 * Writes planned rows and gives those that were refused. Only in the transaction that also completes the plan: the ledger
 * never deletes a row.
 */
export async function insertDeliveries(
  sql: Sql,
  tenantId: string,
  transfer: TransferRow,
  deliveries: readonly PlannedDelivery[],
): Promise<RefusedDelivery[]> {
  return sql.query<RefusedDelivery>(
    `with written as (
     insert into delivery (tenant_id, transfer_id, run_id, batch, delivery_key, state, source_endpoint, source_path,
            source_size, source_modified, source_etag, target_endpoint, target, target_path, error_kind, error_message)
     select $1::uuid, $2::uuid, $3::uuid, d.batch, decode(d.key, 'hex'), case when d.error_kind is null then 'planned' else 'failed' end,
            $4::text, d.path, d.size, d.modified, d.etag, d.endpoint, d.target, d.target_path, d.error_kind, d.error_message
       from unnest($5::text[], $6::int[], $7::text[], $8::text[], $9::bigint[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::int[])
            as d(endpoint, batch, key, path, size, modified, etag, target_path, error_kind, error_message, target)
     returning id, state, source_path, target_endpoint, target_path, error_kind, error_message)
     select id, source_path as "sourcePath", target_endpoint as "targetEndpoint", target_path as "targetPath", error_kind as kind, error_message as message
       from written where state = 'failed'`,
    [
      tenantId,
      transfer.id,
      transfer.runId,
      transfer.sourceEndpoint,
      deliveries.map((row) => row.targetEndpoint),
      deliveries.map((row) => row.batch),
      deliveries.map((row) => row.deliveryKey),
      deliveries.map((row) => row.sourcePath),
      deliveries.map((row) => row.sourceSize),
      deliveries.map((row) => row.sourceModified),
      deliveries.map((row) => row.sourceEtag),
      deliveries.map((row) => row.targetPath),
      deliveries.map((row) => row.refusal?.kind ?? null),
      deliveries.map((row) => row.refusal?.message ?? null),
      deliveries.map((row) => row.target),
    ],
  );
}

/** Upper case, since file systems that do not tell cases apart compare so; one form of what Unicode can write in two. */
const foldedTarget = `upper(normalize(target_path, NFC) collate "pg_c_utf8")`;

/**
 * Two source files of the transfer that would have the same name at that endpoint, or one that would by two of the targets;
 * or undefined. Where the target takes
 * `A.csv` and `a.csv` for one, names that differ in case alone, or in the form of their Unicode, are the same.
 */
export async function findSharedTarget(
  sql: Sql,
  tenantId: string,
  transferId: string,
  { endpoint, caseSensitive }: { endpoint: string; caseSensitive: boolean },
): Promise<{ targetPath: string; one: string; other: string } | undefined> {
  const name = caseSensitive ? 'target_path' : foldedTarget;
  const [shared] = await sql.query<{ targetPath: string; one: string; other: string }>(
    `select min(target_path) as "targetPath", min(source_path) as one, max(source_path) as other from delivery
      where tenant_id = $1::uuid and transfer_id = $2::uuid and target_endpoint = $3::text
      group by ${name} having count(*) > 1 order by 1 limit 1`,
    [tenantId, transferId, endpoint],
  );
  return shared;
}

/** Marks the plan as complete. */
export async function completePlan(sql: Sql, tenantId: string, transferId: string, batches: number): Promise<void> {
  await sql.query(
    `update transfer set planned_at = now(), batches = $3::int where tenant_id = $1::uuid and id = $2::uuid`,
    [tenantId, transferId, batches],
  );
}

/** Ends a transfer that runs; one that has ended keeps its status and its time. */
export async function endTransfer(
  sql: Sql,
  tenantId: string,
  transferId: string,
  status: TransferStatus,
): Promise<void> {
  await sql.query(
    `update transfer set status = $3::text, ended_at = now()
      where tenant_id = $1::uuid and id = $2::uuid and status = 'running'`,
    [tenantId, transferId, status],
  );
}

/** Transfers of a run that nobody has closed. */
export async function openTransfers(sql: Sql, tenantId: string, runId: string): Promise<string[]> {
  const rows = await sql.query<{ id: string }>(
    `select id from transfer where tenant_id = $1::uuid and run_id = $2::uuid and status = 'running' order by id`,
    [tenantId, runId],
  );
  return rows.map((row) => row.id);
}
