import type { Run } from '../../prisma/generated/client.ts';
import { type CancelledRun, cancelRun } from '../operations/cancelRun.ts';
import { type DecidedRun, pauseRun, resumeRun } from '../operations/pauseRun.ts';
import { resendDelivery } from '../operations/resendDelivery.ts';
import { retryDelivery, retryRun } from '../operations/retryRun.ts';
import { refuseStart, startRun } from '../operations/startRun.ts';
import { builder } from './builder.ts';
import { asResult, forbidden, resultUnion } from './errors.ts';
import { RunType } from './types.ts';

const StartRunPayload = builder.objectRef<{ run: Run }>('StartRunPayload').implement({
  fields: (t) => ({ run: t.expose('run', { type: RunType }) }),
});
const StartRunResult = resultUnion('StartRunResult', StartRunPayload, [
  'InvalidInputError',
  'NotFoundError',
  'ForbiddenError',
  'ConflictError',
  'UnavailableError',
]);
const CancelRunPayload = builder.objectRef<CancelledRun>('CancelRunPayload').implement({
  fields: (t) => ({
    run: t.expose('run', { type: RunType }),
    note: t.exposeString('note', { nullable: true, description: 'What keeps the run from ending within seconds.' }),
  }),
});
const DecideRunPayload = builder.objectRef<DecidedRun>('DecideRunPayload').implement({
  fields: (t) => ({
    run: t.expose('run', { type: RunType }),
    note: t.exposeString('note', { nullable: true, description: 'What keeps it from taking effect within seconds.' }),
  }),
});
const DecideRunResult = resultUnion('DecideRunResult', DecideRunPayload, [
  'NotFoundError',
  'ConflictError',
  'ForbiddenError',
  'UnavailableError',
]);
const CancelRunResult = resultUnion('CancelRunResult', CancelRunPayload, [
  'NotFoundError',
  'ConflictError',
  'ForbiddenError',
  'UnavailableError',
]);

const keyDescription = 'The same key with the same input gives the same run for 24 hours.';

const StartRunInput = builder.inputType('StartRunInput', {
  fields: (t) => ({
    pipeline: t.string({ required: true }),
    version: t.string({
      description: 'At least 8 leading digits of the hash of a version; the live version when not given.',
    }),
    inputs: t.field({ type: 'JSON' }),
    idempotencyKey: t.string({ required: true, description: keyDescription }),
  }),
});
const RetryRunInput = builder.inputType('RetryRunInput', {
  fields: (t) => ({
    id: t.id({ required: true }),
    failedOnly: t.boolean({ description: 'Only the deliveries that failed.' }),
    idempotencyKey: t.string({ required: true, description: keyDescription }),
  }),
});
const RetryDeliveryInput = builder.inputType('RetryDeliveryInput', {
  fields: (t) => ({
    id: t.id({ required: true }),
    reason: t.string({ description: 'kept in the event delivery.retried' }),
    idempotencyKey: t.string({ required: true, description: keyDescription }),
  }),
});
const ResendDeliveryInput = builder.inputType('ResendDeliveryInput', {
  fields: (t) => ({
    id: t.id({ required: true }),
    reason: t.string({ required: true, description: 'kept in the event delivery.resent' }),
    idempotencyKey: t.string({ required: true, description: keyDescription }),
  }),
});
const CancelRunInput = builder.inputType('CancelRunInput', {
  fields: (t) => ({
    id: t.id({ required: true }),
    reason: t.string({ description: 'kept in the event run.cancel-requested' }),
  }),
});
const DecideRunInput = builder.inputType('DecideRunInput', {
  fields: (t) => ({
    id: t.id({ required: true }),
    reason: t.string({ description: 'kept in the event run.paused or run.resumed' }),
  }),
});

builder.mutationFields((t) => ({
  startRun: t.field({
    type: StartRunResult,
    description: 'Starts the live version of a pipeline, or the one that is named. A refused run is recorded.',
    authScopes: { may: 'run:start' },
    unauthorizedResolver: (_, { input }, { operation }) => asResult(() => refuseStart(operation, input)),
    args: { input: t.arg({ type: StartRunInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => startRun(operation, input)),
  }),
  cancelRun: t.field({
    type: CancelRunResult,
    description: 'Asks a run to stop; it ends within seconds, after its finally.',
    authScopes: { may: 'run:cancel' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: CancelRunInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => cancelRun(operation, input)),
  }),
  pauseRun: t.field({
    type: DecideRunResult,
    description: 'Holds a run: within seconds nothing new starts, and transfers stop where they can go on.',
    authScopes: { may: 'run:pause' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: DecideRunInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => pauseRun(operation, input)),
  }),
  resumeRun: t.field({
    type: DecideRunResult,
    description: 'Lets a paused run go on.',
    authScopes: { may: 'run:pause' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: DecideRunInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => resumeRun(operation, input)),
  }),
  retryRun: t.field({
    type: StartRunResult,
    description: 'A new run of the same version with the same inputs.',
    authScopes: { may: 'run:start' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: RetryRunInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => retryRun(operation, input)),
  }),
  retryDelivery: t.field({
    type: StartRunResult,
    description: 'A new run for one failed delivery alone.',
    authScopes: { may: 'delivery:retry' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: RetryDeliveryInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => retryDelivery(operation, input)),
  }),
  resendDelivery: t.field({
    type: StartRunResult,
    description: 'A new run that sends the file version of one delivery once more, although it was delivered.',
    authScopes: { may: 'delivery:resend' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: ResendDeliveryInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => resendDelivery(operation, input)),
  }),
}));
