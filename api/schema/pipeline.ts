import { publicId } from '../../schema/names.ts';
import type { Plan } from '../../schema/plan.ts';
import { WaybillError } from '../../schema/errors.ts';
import { pageByName, pageByTime } from '../pages.ts';
import { builder } from './builder.ts';
import { connection, pageArguments } from './connection.ts';
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
        read(async ({ db }, tenantId) => {
          const found = await pageByTime(page, async ({ after, orderBy, take }) => {
            const rows = await db.pipelineVersion.findMany({
              where: { AND: [{ tenantId, pipelineId: pipeline.id }, publishedAfter(after)] },
              orderBy: [{ publishedAt: orderBy[0].createdAt }, { id: orderBy[1].id }],
              take,
            });
            return rows.map((row) => ({ ...row, createdAt: row.publishedAt }));
          });
          return found;
        }),
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
