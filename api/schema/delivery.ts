import type { Delivery } from '../../prisma/generated/client.ts';
import { publicId } from '../../schema/names.ts';
import type { DeliveryState, Failure } from '../../schema/plan.ts';
import { limits } from '../limits.ts';
import { type DeliveryFilter, findDeliveries } from '../operations/findDeliveries.ts';
import { builder } from './builder.ts';
import { connection, pageArguments } from './connection.ts';
import { missing } from './missing.ts';
import { findNode } from './node.ts';
import { DeliveryStateEnum } from './run.ts';
import { DeliveryType, FailureType, NodeType, RunType, TransferType } from './types.ts';

const DeliveryConnection = connection('Delivery', DeliveryType, 'delivery:read');

const DeliverySourceType = builder.objectRef<Delivery>('DeliverySource').implement({
  fields: (t) => ({
    endpoint: t.exposeString('sourceEndpoint'),
    path: t.exposeString('sourcePath'),
    size: t.expose('sourceSize', { type: 'BigInt' }),
    modified: t.expose('sourceModified', { type: 'DateTime', nullable: true }),
  }),
});

const DeliveryTargetType = builder.objectRef<Delivery>('DeliveryTarget').implement({
  fields: (t) => ({ endpoint: t.exposeString('targetEndpoint'), path: t.exposeString('targetPath') }),
});

DeliveryType.implement({
  description: 'One version of a file to one target: a row of the ledger.',
  interfaces: [NodeType],
  authScopes: { may: 'delivery:read' },
  fields: (t) => ({
    id: t.id({ resolve: (delivery) => publicId('delivery', delivery.id) }),
    state: t.field({ type: DeliveryStateEnum, resolve: (delivery) => delivery.state as DeliveryState }),
    source: t.field({ type: DeliverySourceType, resolve: (delivery) => delivery }),
    target: t.field({ type: DeliveryTargetType, resolve: (delivery) => delivery }),
    bytes: t.expose('bytesDone', { type: 'BigInt', description: 'sent to the target' }),
    sha256: t.string({
      nullable: true,
      description: 'hexadecimal',
      resolve: ({ sha256 }) => (sha256 === null ? null : Buffer.from(sha256).toString('hex')),
    }),
    evidence: t.exposeString('evidence', { nullable: true, description: 'How the target was verified.' }),
    attempt: t.exposeInt('attempt'),
    error: t.field({ type: FailureType, nullable: true, resolve: failureOf }),
    duplicateOf: t.field({
      type: DeliveryType,
      nullable: true,
      description: 'With state skipped: the delivery that had delivered it.',
      resolve: ({ duplicateOf }, _, { loaders }) => (duplicateOf === null ? null : loaders.delivery.load(duplicateOf)),
    }),
    disposedPath: t.exposeString('disposedPath', { nullable: true, description: 'Where the source was moved to.' }),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
    publishedAt: t.expose('publishedAt', { type: 'DateTime', nullable: true }),
    transfer: t.field({
      type: TransferType,
      resolve: async (delivery, _, { loaders }) =>
        (await loaders.transfer.load(delivery.transferId)) ?? missing('the transfer of a delivery'),
    }),
    run: t.field({
      type: RunType,
      resolve: async (delivery, _, { loaders }) =>
        (await loaders.run.load(delivery.runId)) ?? missing('the run of a delivery'),
    }),
  }),
});

function failureOf(delivery: Delivery): Failure | null {
  if (delivery.errorKind === null) return null;
  return {
    kind: delivery.errorKind as Failure['kind'],
    message: delivery.errorMessage ?? delivery.errorKind,
    step: null,
    endpoint: null,
    path: delivery.sourcePath,
  };
}

const DeliveryFilterInput = builder.inputRef<DeliveryFilter>('DeliveryFilter').implement({
  fields: (t) => ({
    run: t.id(),
    transfer: t.id(),
    state: t.field({ type: DeliveryStateEnum }),
    glob: t.string({
      description: `Glob over source and target paths; without a slash, over file names. What it begins with is looked up in an index; a page looks at ${limits.globRows} of those rows at most, and its cursor goes on behind them.`,
    }),
    endpoint: t.string({ description: 'source or target' }),
    since: t.field({ type: 'DateTime' }),
    sha256: t.string({ description: 'hexadecimal' }),
  }),
});

builder.queryFields((t) => ({
  deliveries: t.field({
    type: DeliveryConnection,
    description:
      'Newest first. A page of a search by glob may hold fewer rows than asked for and still have a next page.',
    authScopes: { may: 'delivery:read' },
    args: { ...pageArguments(), filter: t.arg({ type: DeliveryFilterInput }) },
    resolve: (_, { filter, ...page }, { read }) => findDeliveries(read, filter ?? {}, page),
  }),
  delivery: t.field({
    type: DeliveryType,
    nullable: true,
    authScopes: { may: 'delivery:read' },
    args: { id: t.arg.id({ required: true }) },
    resolve: (_, { id }, { loaders }) => findNode(loaders, 'delivery', id),
  }),
}));

builder.objectField(RunType, 'deliveries', (t) =>
  t.field({
    type: DeliveryConnection,
    args: { ...pageArguments(), state: t.arg({ type: DeliveryStateEnum }) },
    resolve: (run, { state, ...page }, { read }) => findDeliveries(read, { run: publicId('run', run.id), state }, page),
  }),
);
builder.objectField(TransferType, 'deliveries', (t) =>
  t.field({
    type: DeliveryConnection,
    args: { ...pageArguments(), state: t.arg({ type: DeliveryStateEnum }) },
    resolve: (transfer, { state, ...page }, { read }) =>
      findDeliveries(read, { transfer: publicId('transfer', transfer.id), state }, page),
  }),
);
