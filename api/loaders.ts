import DataLoader from 'dataloader';
import type { EndpointBreaker, Pipeline, PipelineVersion, PrincipalGrant, Prisma } from '../prisma/generated/client.ts';
import { type HeldCounts, heldCounts } from '../prisma/holds.ts';
import type { TransferCounts } from '../schema/plan.ts';
import { withKeys } from './operations/integrations.ts';
import type { Read } from './reading.ts';

export type Loaders = ReturnType<typeof createLoaders>;

/** Live figures of a run. */
export interface RunProgress {
  filesPlanned: number;
  filesDone: number;
  bytesPlanned: number;
  bytesDone: number;
  filesFailed: number;
  filesSkipped: number;
  retries: number;
}

const none: RunProgress = {
  filesPlanned: 0,
  filesDone: 0,
  bytesPlanned: 0,
  bytesDone: 0,
  filesFailed: 0,
  filesSkipped: 0,
  retries: 0,
};

/** Rows by id, gathered per tick, so that a list of a hundred runs reads its versions in one statement. Nothing is cached: a subscription uses the same loaders for hours. */
export function createLoaders(read: Read) {
  const rows = <Row extends { id: string }>(
    find: (db: Prisma.TransactionClient, where: { tenantId: string; id: { in: string[] } }) => Promise<Row[]>,
  ) =>
    new DataLoader<string, Row | null>(
      async (ids) => {
        const found = await read(({ db }, tenantId) => find(db, { tenantId, id: { in: [...new Set(ids)] } }));
        const byId = new Map(found.map((row) => [row.id, row]));
        return ids.map((id) => byId.get(id) ?? null);
      },
      { cache: false, maxBatchSize: 1_000 },
    );

  return {
    run: rows((db, where) => db.run.findMany({ where })),
    pipeline: rows((db, where) => db.pipeline.findMany({ where })),
    pipelineVersion: rows((db, where) => db.pipelineVersion.findMany({ where })),
    transfer: rows((db, where) => db.transfer.findMany({ where })),
    delivery: rows((db, where) => db.delivery.findMany({ where })),
    session: rows((db, where) => db.session.findMany({ where })),
    principal: rows((db, where) => db.principal.findMany({ where })),
    endpoint: rows((db, where) => db.connectorEndpoint.findMany({ where })),
    webhook: rows((db, where) => db.webhook.findMany({ where })),
    webhookDelivery: rows((db, where) => db.webhookDelivery.findMany({ where })),
    auditEvent: rows((db, where) => db.auditEvent.findMany({ where })),
    apiKey: rows((db, where) => db.apiKey.findMany({ where })),
    secret: rows((db, where) => db.secret.findMany({ where })),
    integration: rows((db, where) => db.integration.findMany({ where, include: withKeys })),
    breaker: new DataLoader<string, EndpointBreaker | null>(
      async (endpointIds) => {
        const found = await read(({ db }, tenantId) =>
          db.endpointBreaker.findMany({ where: { tenantId, endpointId: { in: [...endpointIds] } } }),
        );
        const byEndpoint = new Map(found.map((row) => [row.endpointId, row]));
        return endpointIds.map((id) => byEndpoint.get(id) ?? null);
      },
      { cache: false, maxBatchSize: 1_000 },
    ),
    held: new DataLoader<string, HeldCounts>(
      async (endpointIds) => {
        const found = await read(({ sql }, tenantId) => heldCounts(sql, tenantId, endpointIds));
        const byEndpoint = new Map(found.map((row) => [row.endpointId, row]));
        return endpointIds.map((id) => byEndpoint.get(id) ?? { endpointId: id, runs: 0, deliveries: 0 });
      },
      { cache: false, maxBatchSize: 1_000 },
    ),
    grants: new DataLoader<string, PrincipalGrant[]>(
      async (principalIds) => {
        const grants = await read(({ db }, tenantId) =>
          db.principalGrant.findMany({
            where: { tenantId, principalId: { in: [...principalIds] } },
            orderBy: [{ action: 'asc' }, { target: 'asc' }],
          }),
        );
        return principalIds.map((id) => grants.filter(({ principalId }) => principalId === id));
      },
      { cache: false, maxBatchSize: 1_000 },
    ),
    liveVersion: new DataLoader<Pipeline, PipelineVersion | null>(
      async (pipelines) => {
        const versions = await read(({ db }, tenantId) =>
          db.pipelineVersion.findMany({
            where: {
              tenantId,
              OR: pipelines.map((pipeline) => ({ pipelineId: pipeline.id, hash: pipeline.liveVersionHash })),
            },
          }),
        );
        const byPipeline = new Map(versions.map((version) => [version.pipelineId, version]));
        return pipelines.map((pipeline) => byPipeline.get(pipeline.id) ?? null);
      },
      { cache: false, maxBatchSize: 1_000 },
    ),
    progress: new DataLoader<string, RunProgress>(
      async (runIds) => {
        const found = await read(({ sql }, tenantId) => sql.query<ProgressRow>(progressStatement, [tenantId, runIds]));
        const byRun = new Map(found.map((row) => [row.id, progressOf(row)]));
        return runIds.map((id) => byRun.get(id) ?? none);
      },
      { cache: false, maxBatchSize: 1_000 },
    ),
    transferCounts: new DataLoader<string, TransferCounts>(
      async (transferIds) => {
        const found = await read(({ sql }, tenantId) =>
          sql.query<ProgressRow>(transferStatement, [tenantId, transferIds]),
        );
        const byTransfer = new Map(found.map((row) => [row.id, progressOf(row)]));
        return transferIds.map((id) => {
          const { filesDone, bytesDone, filesSkipped, filesFailed } = byTransfer.get(id) ?? none;
          return { files: filesDone, bytes: bytesDone, skipped: filesSkipped, failed: filesFailed };
        });
      },
      { cache: false, maxBatchSize: 1_000 },
    ),
  };
}

interface ProgressRow extends Record<string, unknown> {
  id: string;
  planned: string;
  done: string;
  bytes_planned: string;
  bytes_done: string;
  failed: string;
  skipped: string;
  retries: string;
}

const figures = `
  count(*) as planned,
  count(*) filter (where state in ('published', 'settled')) as done,
  coalesce(sum(source_size) filter (where state <> 'skipped'), 0) as bytes_planned,
  coalesce(sum(bytes_done) filter (where state <> 'skipped'), 0) as bytes_done,
  count(*) filter (where state = 'failed') as failed,
  count(*) filter (where state = 'skipped') as skipped,
  coalesce(sum(greatest(attempt - 1, 0)), 0) as retries
`;
const progressStatement = `select run_id as id, ${figures} from delivery
  where tenant_id = $1::uuid and run_id = any($2::uuid[]) group by run_id`;
const transferStatement = `select transfer_id as id, ${figures} from delivery
  where tenant_id = $1::uuid and transfer_id = any($2::uuid[]) group by transfer_id`;

function progressOf(row: ProgressRow): RunProgress {
  return {
    filesPlanned: Number(row.planned),
    filesDone: Number(row.done),
    bytesPlanned: Number(row.bytes_planned),
    bytesDone: Number(row.bytes_done),
    filesFailed: Number(row.failed),
    filesSkipped: Number(row.skipped),
    retries: Number(row.retries),
  };
}
