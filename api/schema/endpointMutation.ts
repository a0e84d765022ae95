import type { ConnectorEndpoint } from '../../prisma/generated/client.ts';
import { acceptHostKey } from '../operations/acceptHostKey.ts';
import { checkEndpoint } from '../operations/checkEndpoint.ts';
import { type DecidedEndpoint, pauseEndpoint, resumeEndpoint } from '../operations/pauseEndpoint.ts';
import { removeEndpoint } from '../operations/removeEndpoint.ts';
import { type Swept, sweepEndpoint } from '../operations/sweepEndpoint.ts';
import { builder } from './builder.ts';
import { checkOf, EndpointCheckType } from './endpoint.ts';
import { asResult, forbidden, resultUnion } from './errors.ts';
import { missing } from './missing.ts';
import { EndpointType } from './types.ts';

const CheckPayload = builder.objectRef<{ endpoint: ConnectorEndpoint }>('CheckEndpointPayload').implement({
  fields: (t) => ({
    endpoint: t.expose('endpoint', { type: EndpointType }),
    check: t.field({
      type: EndpointCheckType,
      resolve: ({ endpoint }) => checkOf(endpoint) ?? missing('the check of an endpoint'),
    }),
  }),
});
const RemovePayload = builder.objectRef<{ name: string }>('RemoveEndpointPayload').implement({
  fields: (t) => ({ name: t.exposeString('name') }),
});
const DecidePayload = builder.objectRef<DecidedEndpoint>('DecideEndpointPayload').implement({
  fields: (t) => ({
    endpoint: t.expose('endpoint', { type: EndpointType }),
    note: t.exposeString('note', { nullable: true, description: 'What keeps it from taking effect within seconds.' }),
  }),
});
const DecideResult = resultUnion('DecideEndpointResult', DecidePayload, [
  'NotFoundError',
  'InvalidInputError',
  'ForbiddenError',
]);
const AcceptPayload = builder.objectRef<{ endpoint: ConnectorEndpoint }>('AcceptHostKeyPayload').implement({
  fields: (t) => ({ endpoint: t.expose('endpoint', { type: EndpointType }) }),
});
const SweepPayload = builder.objectRef<Swept>('SweepEndpointPayload').implement({
  fields: (t) => ({ folder: t.exposeString('folder'), removed: t.exposeInt('removed') }),
});

const CheckInput = builder.inputType('CheckEndpointInput', {
  fields: (t) => ({
    name: t.string({ required: true }),
    path: t.string({ description: 'The folder in which rights are tried; / when not given.' }),
  }),
});
const PauseInput = builder.inputType('PauseEndpointInput', {
  fields: (t) => ({
    name: t.string({ required: true }),
    until: t.field({ type: 'DateTime', description: 'When it goes on by itself.' }),
    reason: t.string({ required: true, description: 'kept in the event endpoint.paused' }),
  }),
});
const ResumeInput = builder.inputType('ResumeEndpointInput', {
  fields: (t) => ({
    name: t.string({ required: true }),
    reason: t.string({ description: 'kept in the event endpoint.resumed' }),
  }),
});
const AcceptInput = builder.inputType('AcceptHostKeyInput', {
  fields: (t) => ({
    name: t.string({ required: true }),
    fingerprint: t.string({ required: true, description: 'SHA256:... as the owner of the server told you.' }),
    reason: t.string({ required: true, description: 'kept in the event endpoint.host-key-accepted' }),
  }),
});
const SweepInput = builder.inputType('SweepEndpointInput', {
  fields: (t) => ({
    name: t.string({ required: true }),
    path: t.string({ required: true, description: 'The folder, without those below it.' }),
    olderThan: t.string({
      required: true,
      description: 'A duration of 1h or more: longer than the longest copy takes.',
    }),
  }),
});
const RemoveInput = builder.inputType('RemoveEndpointInput', {
  fields: (t) => ({ name: t.string({ required: true }) }),
});

builder.mutationFields((t) => ({
  checkEndpoint: t.field({
    type: resultUnion('CheckEndpointResult', CheckPayload, ['NotFoundError', 'InvalidInputError', 'ForbiddenError']),
    description: 'Reaches the endpoint, signs in and tries its rights; a failure there is data of the check.',
    authScopes: { may: 'endpoint:check' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: CheckInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => checkEndpoint(operation, input)),
  }),
  pauseEndpoint: t.field({
    type: DecideResult,
    description:
      'Holds all work for an endpoint: within seconds nothing begins there, and copies stop where they can go on.',
    authScopes: { may: 'endpoint:pause' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: PauseInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => pauseEndpoint(operation, input)),
  }),
  resumeEndpoint: t.field({
    type: DecideResult,
    description: 'Ends the pause of an endpoint and closes its breaker.',
    authScopes: { may: 'endpoint:pause' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: ResumeInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => resumeEndpoint(operation, input)),
  }),
  acceptHostKey: t.field({
    type: resultUnion('AcceptHostKeyResult', AcceptPayload, [
      'NotFoundError',
      'InvalidInputError',
      'ConflictError',
      'UnavailableError',
      'ForbiddenError',
    ]),
    description: 'Trusts the host key that the server shows now, when it is the one that is named.',
    authScopes: { may: 'endpoint:change' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: AcceptInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => acceptHostKey(operation, input)),
  }),
  sweepEndpoint: t.field({
    type: resultUnion('SweepEndpointResult', SweepPayload, [
      'NotFoundError',
      'InvalidInputError',
      'UnavailableError',
      'ForbiddenError',
    ]),
    description: 'Removes unfinished writes of Waybill from one folder.',
    authScopes: { may: 'endpoint:sweep' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: SweepInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => sweepEndpoint(operation, input)),
  }),
  removeEndpoint: t.field({
    type: resultUnion('RemoveEndpointResult', RemovePayload, ['NotFoundError', 'ConflictError', 'ForbiddenError']),
    description: 'Removes an endpoint that no live pipeline and no run uses, and its secrets.',
    authScopes: { may: 'endpoint:change' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: RemoveInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => removeEndpoint(operation, input)),
  }),
}));
