import type { Made } from '../../identity/tickets/makeTicket.ts';
import { rotationDueAt } from '../../identity/tickets/upkeep.ts';
import { publicId } from '../../schema/names.ts';
import {
  createIntegration,
  createTicket,
  createUploadToken,
  disableIntegration,
  type IntegrationWithKeys,
  type IssuedSecret,
  rotateIntegration,
  withKeys,
} from '../operations/integrations.ts';
import { pageByName } from '../pages.ts';
import { builder } from './builder.ts';
import { connection, pageArguments } from './connection.ts';
import { asResult, forbidden, resultUnion } from './errors.ts';
import { NodeType } from './types.ts';

const KeyType = builder.objectRef<IntegrationWithKeys['keys'][number]>('IntegrationKey').implement({
  description: 'A key of tickets and tokens. What it is was shown once.',
  authScopes: { may: 'integration:read' },
  fields: (t) => ({
    kid: t.exposeString('kid', { description: 'What a ticket of version 2 names it by.' }),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
    endsAt: t.expose('endsAt', { type: 'DateTime', nullable: true, description: 'When its overlap is over.' }),
    rotationDueAt: t.field({
      type: 'DateTime',
      description: 'Reminders come 60, 30, 7 and 1 days before; the key goes on after it.',
      resolve: ({ createdAt }) => rotationDueAt(createdAt),
    }),
  }),
});

const IntegrationType = builder.objectRef<IntegrationWithKeys>('Integration').implement({
  description: 'A site of a partner that makes tickets and upload tokens with a shared secret.',
  interfaces: [NodeType],
  authScopes: { may: 'integration:read' },
  fields: (t) => ({
    id: t.id({ resolve: ({ id }) => publicId('integration', id) }),
    name: t.exposeString('name'),
    site: t.exposeString('site', { description: 'What a ticket must say.' }),
    legacy: t.exposeBoolean('legacy', { description: 'Whether version 1, AES-256-CBC, is taken too.' }),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
    disabledAt: t.expose('disabledAt', { type: 'DateTime', nullable: true }),
    keys: t.field({ type: [KeyType], description: 'Oldest first.', resolve: ({ keys }) => keys }),
  }),
});

const IntegrationConnection = connection('Integration', IntegrationType, 'integration:read');

builder.queryField('integrations', (t) =>
  t.field({
    type: IntegrationConnection,
    description: 'By name.',
    authScopes: { may: 'integration:read' },
    args: pageArguments(),
    resolve: (_, page, { read }) =>
      read(({ db }, tenantId) =>
        pageByName(page, ({ after, orderBy, take }) =>
          db.integration.findMany({ where: { AND: [{ tenantId }, after] }, orderBy, take, include: withKeys }),
        ),
      ),
  }),
);

const IntegrationPayload = builder
  .objectRef<{ integration: IntegrationWithKeys }>('IntegrationPayload')
  .implement({ fields: (t) => ({ integration: t.expose('integration', { type: IntegrationType }) }) });
const IntegrationSecretPayload = builder
  .objectRef<IssuedSecret & { oldKeyEndsAt?: Date }>('IntegrationSecretPayload')
  .implement({
    fields: (t) => ({
      integration: t.expose('integration', { type: IntegrationType }),
      kid: t.exposeString('kid'),
      keyBase64: t.exposeString('keyBase64', { description: '32 bytes in base64. Shown once.' }),
      ivBase64: t.exposeString('ivBase64', { description: '16 bytes in base64. Shown once.' }),
      oldKeyEndsAt: t.field({
        type: 'DateTime',
        nullable: true,
        description: 'Until when the key before it is good.',
        resolve: ({ oldKeyEndsAt }) => oldKeyEndsAt ?? null,
      }),
    }),
  });
const TicketPayload = builder.objectRef<Made>('TicketPayload').implement({
  fields: (t) => ({
    ticket: t.exposeString('text', { description: 'A ticket or an upload token. Good once.' }),
    version: t.exposeInt('version'),
    expiresAt: t.expose('expiresAt', { type: 'DateTime' }),
  }),
});

const CreateIntegrationInput = builder.inputType('CreateIntegrationInput', {
  fields: (t) => ({
    name: t.string({ required: true }),
    site: t.string({ required: true, description: 'what <sitename> of a ticket is, such as files.example.com' }),
    legacy: t.boolean({ defaultValue: false, description: 'take version 1, AES-256-CBC, too' }),
    keyBase64: t.string({ description: 'a key of 32 bytes that is in use already; made here when not given' }),
    ivBase64: t.string({ description: 'its initialisation vector of 16 bytes' }),
  }),
});
const RotateIntegrationInput = builder.inputType('RotateIntegrationInput', {
  fields: (t) => ({
    name: t.string({ required: true }),
    overlapHours: t.int({ description: 'how long the key before it is good, 0 to 2160; 168 when not given' }),
  }),
});
const DisableIntegrationInput = builder.inputType('DisableIntegrationInput', {
  fields: (t) => ({ name: t.string({ required: true }) }),
});
const version = '1 or 2; 1 for an integration that takes it, when not given';
const CreateTicketInput = builder.inputType('CreateTicketInput', {
  fields: (t) => ({
    integration: t.string({ required: true }),
    user: t.string({ required: true, description: 'DOMAIN\\user, or the name alone' }),
    version: t.int({ description: version }),
  }),
});
const CreateUploadTokenInput = builder.inputType('CreateUploadTokenInput', {
  fields: (t) => ({
    integration: t.string({ required: true }),
    folderId: t.string({ required: true }),
    email: t.string({ required: true, description: 'whom the audit names' }),
    ip: t.string({ required: true, description: 'the one address that the upload comes from' }),
    session: t.string({ required: true, description: 'the sessionId that a sign-in gave' }),
    version: t.int({ description: version }),
  }),
});

builder.mutationFields((t) => ({
  createIntegration: t.field({
    type: resultUnion('CreateIntegrationResult', IntegrationSecretPayload, [
      'InvalidInputError',
      'ConflictError',
      'ForbiddenError',
    ]),
    description: 'Lets a site of a partner make tickets. Whoever has its key can sign in as any user of the tenant.',
    authScopes: { may: 'integration:change' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: CreateIntegrationInput, required: true }) },
    resolve: (_, { input }, { operation }) =>
      asResult(() => createIntegration(operation, { ...input, legacy: input.legacy ?? false })),
  }),
  rotateIntegration: t.field({
    type: resultUnion('RotateIntegrationResult', IntegrationSecretPayload, [
      'InvalidInputError',
      'NotFoundError',
      'ConflictError',
      'ForbiddenError',
    ]),
    description: 'A new key. The one before it is good until the overlap is over, and any older one ends now.',
    authScopes: { may: 'integration:change' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: RotateIntegrationInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => rotateIntegration(operation, input)),
  }),
  disableIntegration: t.field({
    type: resultUnion('DisableIntegrationResult', IntegrationPayload, ['NotFoundError', 'ForbiddenError']),
    description: 'Refuses its tickets from now on; sessions that stand go on.',
    authScopes: { may: 'integration:change' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: DisableIntegrationInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => disableIntegration(operation, input)),
  }),
  createTicket: t.field({
    type: resultUnion('CreateTicketResult', TicketPayload, [
      'InvalidInputError',
      'NotFoundError',
      'ConflictError',
      'ForbiddenError',
    ]),
    description: 'A ticket as the partner makes them, to try an integration.',
    authScopes: { may: 'integration:change' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: CreateTicketInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => createTicket(operation, input)),
  }),
  createUploadToken: t.field({
    type: resultUnion('CreateUploadTokenResult', TicketPayload, [
      'InvalidInputError',
      'NotFoundError',
      'ConflictError',
      'ForbiddenError',
    ]),
    description: 'An upload token as the partner makes them.',
    authScopes: { may: 'integration:change' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: CreateUploadTokenInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => createUploadToken(operation, input)),
  }),
}));
