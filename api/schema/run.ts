import { publicId, rowId } from '../../schema/names.ts';
import { deliveryStates, type Failure, type RunStatus, runStatuses } from '../../schema/plan.ts';
import { runOfWorkflow, temporalRunUrl } from '../../schema/workflow.ts';
import { watchRun } from '../operations/watchRun.ts';
import { pageByTime } from '../pages.ts';
import { builder } from './builder.ts';
import { connection, pageArguments } from './connection.ts';
import { findNode, nowhere } from './node.ts';
import {
  FailureType,
  NodeType,
  PipelineVersionType,
  PrincipalType,
  RunProgressType,
  RunType,
  SessionType,
  TransferCountsType,
} from './types.ts';

const RunStatusEnum = builder.enumType('RunStatus', { values: runStatuses });
export const DeliveryStateEnum = builder.enumType('DeliveryState', { values: deliveryStates });
export const RunConnection = connection('Run', RunType, 'run:read');

RunType.implement({
  description: 'One execution of a version of a pipeline.',
  interfaces: [NodeType],
  authScopes: { may: 'run:read' },
  fields: (t) => ({
    id: t.id({ resolve: (run) => publicId('run', run.id) }),
    pipeline: t.exposeString('pipelineName'),
    status: t.field({ type: RunStatusEnum, resolve: (run) => run.status as RunStatus }),
    trigger: t.exposeString('trigger', { description: 'manual, retry or resend' }),
    retryOf: t.field({
      type: RunType,
      nullable: true,
      resolve: (run, _, { loaders }) => (run.retryOf === null ? null : loaders.run.load(run.retryOf)),
    }),
    version: t.field({
      type: PipelineVersionType,
      nullable: true,
      resolve: (run, _, { loaders }) => (run.versionId === null ? null : loaders.pipelineVersion.load(run.versionId)),
    }),
    session: t.field({
      type: SessionType,
      nullable: true,
      description: 'The session that the run opened for itself.',
      resolve: (run, _, { loaders }) => (run.sessionId === null ? null : loaders.session.load(run.sessionId)),
    }),
    startedBy: t.field({
      type: PrincipalType,
      nullable: true,
      resolve: (run, _, { loaders }) => loaders.principal.load(run.createdBy),
    }),
    inputs: t.expose('inputs', { type: 'JSON' }),
    outputs: t.expose('outputs', { type: 'JSON', nullable: true }),
    error: t.field({ type: FailureType, nullable: true, resolve: (run) => run.error as Failure | null }),
    inputsDigest: t.exposeString('inputsDigest', {
      nullable: true,
      description: 'SHA-256 of the JSON that was given as inputs, when it could not be kept.',
    }),
    pausedAt: t.expose('pausedAt', { type: 'DateTime', nullable: true }),
    pausedBy: t.field({
      type: PrincipalType,
      nullable: true,
      resolve: (run, _, { loaders }) => (run.pausedBy === null ? null : loaders.principal.load(run.pausedBy)),
    }),
    pauseReason: t.exposeString('pauseReason', { nullable: true }),
    cancelRequestedAt: t.expose('cancelRequestedAt', { type: 'DateTime', nullable: true }),
    waitingFor: t.exposeString('waitingFor', {
      nullable: true,
      description: 'What the run waits for, in words: a place under its key, an endpoint that is held.',
    }),
    concurrencyKey: t.exposeString('concurrencyKey', {
      nullable: true,
      description: 'Runs of the same key share a limit.',
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
    startedAt: t.expose('startedAt', { type: 'DateTime', nullable: true }),
    endedAt: t.expose('endedAt', { type: 'DateTime', nullable: true }),
    counts: t.field({
      type: TransferCountsType,
      resolve: ({ files, bytes, skipped, failed }) => ({ files, bytes: Number(bytes), skipped, failed }),
    }),
    progress: t.field({
      type: RunProgressType,
      description: 'Live, while the run goes on: bytes sent and files in each state.',
      resolve: (run, _, { loaders }) => loaders.progress.load(run.id),
    }),
    workflowId: t.exposeString('workflowId'),
    temporalUrl: t.string({
      nullable: true,
      description: "Page of the run in Temporal's UI.",
      resolve: (run, _, { operation: { temporalUiUrl, namespace } }) =>
        temporalUiUrl === null ? null : temporalRunUrl(temporalUiUrl, namespace, run.workflowId),
    }),
  }),
});

TransferCountsType.implement({
  fields: (t) => ({
    files: t.exposeInt('files', { description: 'delivered' }),
    bytes: t.expose('bytes', { type: 'BigInt', description: 'sent to targets' }),
    skipped: t.exposeInt('skipped', { description: 'already delivered' }),
    failed: t.exposeInt('failed'),
  }),
});

RunProgressType.implement({
  fields: (t) => ({
    filesPlanned: t.exposeInt('filesPlanned'),
    filesDone: t.exposeInt('filesDone'),
    bytesPlanned: t.expose('bytesPlanned', { type: 'BigInt' }),
    bytesDone: t.expose('bytesDone', { type: 'BigInt' }),
    filesFailed: t.exposeInt('filesFailed'),
    filesSkipped: t.exposeInt('filesSkipped'),
    retries: t.exposeInt('retries'),
  }),
});

builder.queryFields((t) => ({
  runs: t.field({
    type: RunConnection,
    description: 'Newest first.',
    authScopes: { may: 'run:read' },
    args: { ...pageArguments(), pipeline: t.arg.string(), status: t.arg({ type: RunStatusEnum }) },
    resolve: (_, { pipeline, status, ...page }, { read }) =>
      read(({ db }, tenantId) =>
        pageByTime(page, ({ after, orderBy, take }) =>
          db.run.findMany({
            where: {
              AND: [{ tenantId }, after, pipeline == null ? {} : { pipelineName: pipeline }, status ? { status } : {}],
            },
            orderBy,
            take,
          }),
        ),
      ),
  }),
  run: t.field({
    type: RunType,
    nullable: true,
    description: "By its id, or by its workflow's id in Temporal.",
    authScopes: { may: 'run:read' },
    args: { id: t.arg.id(), workflowId: t.arg.string() },
    resolve: async (_, { id, workflowId }, { loaders }) => {
      if (id != null && workflowId != null) return null;
      if (workflowId == null) return id == null ? null : findNode(loaders, 'run', id);
      const run = await loaders.run.load(runOfWorkflow(workflowId) ?? nowhere);
      return run?.workflowId === workflowId ? run : null;
    },
  }),
}));

builder.subscriptionField('runUpdated', (t) =>
  t.field({
    type: RunType,
    description: 'The run now, and again after each change, until it has ended.',
    authScopes: { may: 'run:read' },
    args: { id: t.arg.id({ required: true }) },
    subscribe: (_, { id }, context) => watchRun(context, rowId('run', id)),
    resolve: (run) => run,
  }),
);
