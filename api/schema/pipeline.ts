import type { Pipeline, PipelineVersion } from '../../prisma/generated/client.ts';
import { publicId } from '../../schema/names.ts';
import type { Plan } from '../../schema/plan.ts';
import type { Loaders } from '../loaders.ts';
import { pageByName, pageByTime, type TimeKey } from '../pages.ts';
import { builder } from './builder.ts';
import { connection, pageArguments } from './connection.ts';
import { missing } from './missing.ts';
import { RunConnection } from './run.ts';
import { NodeType, PipelineType, PipelineVersionType, PrincipalType } from './types.ts';

const PipelineConnection = connection('Pipeline', PipelineType, 'pipeline:read');
const PipelineVersionConnection = connection('PipelineVersion', PipelineVersionType, 'pipeline:read');

PipelineType.implement({
  interfaces: [NodeType],
  authScopes: { may: 'pipeline:read' },
  fields: (t) => ({
    id: t.id({ resolve: (pipeline) => publicId('pipeline', pipeline.id) }),
    name: t.exposeString('name'),
    description: t.string({
      nullable: true,
      resolve: async (pipeline, _, { loaders }) => (await livePlan(loaders, pipeline)).description,
    }),
    labels: t.field({
      type: 'JSON',
      resolve: async (pipeline, _, { loaders }) => (await livePlan(loaders, pipeline)).labels,
    }),
    updatedAt: t.expose('updatedAt', { type: 'DateTime' }),
    removedAt: t.expose('removedAt', { type: 'DateTime', nullable: true }),
    liveVersion: t.field({
      type: PipelineVersionType,
      resolve: (pipeline, _, { loaders }) => liveVersion(loaders, pipeline),
    }),
    versions: t.field({
      type: PipelineVersionConnection,
      description: 'Newest first.',
      args: pageArguments(),
      resolve: (pipeline, page, { read }) =>
        read(({ db }, tenantId) =>
          pageByTime(page, async ({ key, take }) => {
            const rows = await db.pipelineVersion.findMany({
              where: { AND: [{ tenantId, pipelineId: pipeline.id }, publishedBefore(key)] },
              orderBy: [{ publishedAt: 'desc' }, { id: 'desc' }],
              take,
            });
            return rows.map((row) => ({ ...row, createdAt: row.publishedAt }));
          }),
        ),
    }),
    runs: t.field({
      type: RunConnection,
      description: 'Newest first.',
      args: pageArguments(),
      resolve: (pipeline, page, { read }) =>
        read(({ db }, tenantId) =>
          pageByTime(page, ({ after, orderBy, take }) =>
            db.run.findMany({
              where: { AND: [{ tenantId, pipelineName: pipeline.name }, after] },
              orderBy,
              take,
            }),
          ),
        ),
    }),
  }),
});

PipelineVersionType.implement({
  description: 'Immutable: named by the hash of its content.',
  interfaces: [NodeType],
  authScopes: { may: 'pipeline:read' },
  fields: (t) => ({
    id: t.id({ resolve: (version) => publicId('pipelineVersion', version.id) }),
    hash: t.exposeString('hash'),
    source: t.exposeString('source', { description: 'The file as it was published.' }),
    plan: t.expose('plan', { type: 'JSON' }),
    publishedAt: t.expose('publishedAt', { type: 'DateTime' }),
    publishedBy: t.field({
      type: PrincipalType,
      resolve: async (version, _, { loaders }) =>
        (await loaders.principal.load(version.publishedBy)) ?? missing('the publisher of a version'),
    }),
    pipeline: t.field({
      type: PipelineType,
      resolve: async (version, _, { loaders }) =>
        (await loaders.pipeline.load(version.pipelineId)) ?? missing('the pipeline of a version'),
    }),
  }),
});

builder.queryFields((t) => ({
  pipelines: t.field({
    type: PipelineConnection,
    description: 'The live ones, by name.',
    authScopes: { may: 'pipeline:read' },
    args: pageArguments(),
    resolve: (_, page, { read }) =>
      read(({ db }, tenantId) =>
        pageByName(page, ({ after, orderBy, take }) =>
          db.pipeline.findMany({ where: { AND: [{ tenantId, removedAt: null }, after] }, orderBy, take }),
        ),
      ),
  }),
  pipeline: t.field({
    type: PipelineType,
    nullable: true,
    authScopes: { may: 'pipeline:read' },
    args: { name: t.arg.string({ required: true }) },
    resolve: (_, { name }, { read }) =>
      read(({ db }, tenantId) => db.pipeline.findFirst({ where: { tenantId, name, removedAt: null } })),
  }),
}));

async function liveVersion(loaders: Loaders, pipeline: Pipeline): Promise<PipelineVersion> {
  return (await loaders.liveVersion.load(pipeline)) ?? missing(`the live version of pipeline ${pipeline.name}`);
}

async function livePlan(loaders: Loaders, pipeline: Pipeline): Promise<Plan> {
  return (await liveVersion(loaders, pipeline)).plan as unknown as Plan;
}

function publishedBefore(key: TimeKey | null) {
  if (key === null) return {};
  return { OR: [{ publishedAt: { lt: key.createdAt } }, { publishedAt: key.createdAt, id: { lt: key.id } }] };
}
