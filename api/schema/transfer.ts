import { publicId, rowId } from '../../schema/names.ts';
import { type TransferStatus, transferStatuses } from '../../schema/plan.ts';
import { pageByTime } from '../pages.ts';
import { builder } from './builder.ts';
import { connection, pageArguments } from './connection.ts';
import { missing } from './missing.ts';
import { findNode, nowhere } from './node.ts';
import { NodeType, RunType, TransferCountsType, TransferType } from './types.ts';

const TransferStatusEnum = builder.enumType('TransferStatus', { values: transferStatuses });
const TransferConnection = connection('Transfer', TransferType, 'transfer:read');

TransferType.implement({
  description: 'The movement of a set of files from one endpoint to one or more others.',
  interfaces: [NodeType],
  authScopes: { may: 'transfer:read' },
  fields: (t) => ({
    id: t.id({ resolve: (transfer) => publicId('transfer', transfer.id) }),
    step: t.exposeString('step'),
    status: t.field({ type: TransferStatusEnum, resolve: (transfer) => transfer.status as TransferStatus }),
    sourceEndpoint: t.exposeString('sourceEndpoint'),
    targetEndpoint: t.exposeString('targetEndpoint', { description: 'The first of them.' }),
    targetEndpoints: t.stringList({
      description: 'Where each file goes, in the order of `to`; an endpoint stands here once.',
      resolve: targetEndpointsOf,
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
    endedAt: t.expose('endedAt', { type: 'DateTime', nullable: true }),
    counts: t.field({
      type: TransferCountsType,
      resolve: (transfer, _, { loaders }) => loaders.transferCounts.load(transfer.id),
    }),
    run: t.field({
      type: RunType,
      resolve: async (transfer, _, { loaders }) =>
        (await loaders.run.load(transfer.runId)) ?? missing('the run of a transfer'),
    }),
  }),
});

/** Transfers of older versions have one target, and do not list it. */
function targetEndpointsOf({ options, targetEndpoint }: { options: unknown; targetEndpoint: string }): string[] {
  const { targets } = options as { targets?: ReadonlyArray<{ endpoint: string }> };
  return [...new Set((targets ?? [{ endpoint: targetEndpoint }]).map(({ endpoint }) => endpoint))];
}

builder.objectField(RunType, 'transfers', (t) =>
  t.field({
    type: TransferConnection,
    description: 'Newest first.',
    args: pageArguments(),
    resolve: (run, page, { read }) =>
      read(({ db }, tenantId) =>
        pageByTime(page, ({ after, orderBy, take }) =>
          db.transfer.findMany({ where: { AND: [{ tenantId, runId: run.id }, after] }, orderBy, take }),
        ),
      ),
  }),
);

builder.queryFields((t) => ({
  transfers: t.field({
    type: TransferConnection,
    description: 'Newest first.',
    authScopes: { may: 'transfer:read' },
    args: { ...pageArguments(), run: t.arg.id() },
    resolve: (_, { run, ...page }, { read }) =>
      read(({ db }, tenantId) => {
        const ofRun = run == null ? {} : { runId: rowId('run', run) ?? nowhere };
        return pageByTime(page, ({ after, orderBy, take }) =>
          db.transfer.findMany({ where: { AND: [{ tenantId }, ofRun, after] }, orderBy, take }),
        );
      }),
  }),
  transfer: t.field({
    type: TransferType,
    nullable: true,
    authScopes: { may: 'transfer:read' },
    args: { id: t.arg.id({ required: true }) },
    resolve: (_, { id }, { loaders }) => findNode(loaders, 'transfer', id),
  }),
}));
