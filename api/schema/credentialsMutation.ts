import type { ApiKey, Secret } from '../../prisma/generated/client.ts';
import { createApiKey, revokeApiKey, rotateApiKey } from '../operations/apiKeys.ts';
import { removeSecret, rotateKey, setSecret } from '../operations/secrets.ts';
import { builder } from './builder.ts';
import { asResult, forbidden, resultUnion } from './errors.ts';
import { ApiKeyType, SecretType } from './types.ts';

const CreateApiKeyPayload = builder.objectRef<{ apiKey: ApiKey; secret: string }>('CreateApiKeyPayload').implement({
  fields: (t) => ({
    apiKey: t.expose('apiKey', { type: ApiKeyType }),
    secret: t.exposeString('secret', { description: 'Shown once.' }),
  }),
});
const RevokeApiKeyPayload = builder.objectRef<{ apiKey: ApiKey }>('RevokeApiKeyPayload').implement({
  fields: (t) => ({ apiKey: t.expose('apiKey', { type: ApiKeyType }) }),
});
const RotateApiKeyPayload = builder
  .objectRef<{ apiKey: ApiKey; secret: string; replacedUntil: Date }>('RotateApiKeyPayload')
  .implement({
    fields: (t) => ({
      apiKey: t.expose('apiKey', { type: ApiKeyType }),
      secret: t.exposeString('secret', { description: 'Shown once.' }),
      replacedUntil: t.expose('replacedUntil', { type: 'DateTime', description: 'When the key before ends.' }),
    }),
  });
const SetSecretPayload = builder.objectRef<{ secret: Secret }>('SetSecretPayload').implement({
  fields: (t) => ({ secret: t.expose('secret', { type: SecretType }) }),
});
const RemoveSecretPayload = builder.objectRef<{ name: string }>('RemoveSecretPayload').implement({
  fields: (t) => ({ name: t.exposeString('name') }),
});

const CreateApiKeyInput = builder.inputType('CreateApiKeyInput', {
  fields: (t) => ({
    name: t.string({ required: true }),
    scopes: t.stringList({ description: 'Those of the asking key when not given.' }),
    expiresInDays: t.int({ description: '1 to 90, and 90 when not given' }),
    allowedCidrs: t.stringList({
      description: 'At most 50 networks, such as 203.0.113.0/24. Those of the asking key when not given.',
    }),
  }),
});
const RevokeApiKeyInput = builder.inputType('RevokeApiKeyInput', { fields: (t) => ({ id: t.id({ required: true }) }) });
const RotateApiKeyInput = builder.inputType('RotateApiKeyInput', {
  fields: (t) => ({
    id: t.id({ required: true }),
    overlap: t.string({ description: 'how long both are good, at most 7d, and 24h when not given' }),
  }),
});
const RotateTenantKeyPayload = builder
  .objectRef<{ version: number; resealed: number }>('RotateTenantKeyPayload')
  .implement({
    fields: (t) => ({
      version: t.exposeInt('version', { description: 'Of the new key.' }),
      resealed: t.exposeInt('resealed', { description: 'Secrets that are sealed under it now.' }),
    }),
  });

const SetSecretInput = builder.inputType('SetSecretInput', {
  fields: (t) => ({ name: t.string({ required: true }), value: t.string({ required: true }) }),
});
const RemoveSecretInput = builder.inputType('RemoveSecretInput', {
  fields: (t) => ({ name: t.string({ required: true }) }),
});

builder.mutationFields((t) => ({
  createApiKey: t.field({
    type: resultUnion('CreateApiKeyResult', CreateApiKeyPayload, ['InvalidInputError', 'ForbiddenError']),
    description: "Another key of the caller's own principal.",
    authScopes: { may: 'key:create' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: CreateApiKeyInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => createApiKey(operation, input)),
  }),
  revokeApiKey: t.field({
    type: resultUnion('RevokeApiKeyResult', RevokeApiKeyPayload, ['NotFoundError', 'ForbiddenError']),
    authScopes: { may: 'key:revoke' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: RevokeApiKeyInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => revokeApiKey(operation, input)),
  }),
  rotateApiKey: t.field({
    type: resultUnion('RotateApiKeyResult', RotateApiKeyPayload, [
      'InvalidInputError',
      'NotFoundError',
      'ConflictError',
      'ForbiddenError',
    ]),
    description: 'A new key with the rights of another one, which ends after the overlap.',
    authScopes: { may: 'key:create' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: RotateApiKeyInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => rotateApiKey(operation, input)),
  }),
  setSecret: t.field({
    type: resultUnion('SetSecretResult', SetSecretPayload, ['InvalidInputError', 'ForbiddenError']),
    description: 'Stores a secret that documents name by { secret: NAME }.',
    authScopes: { may: 'secret:set' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: SetSecretInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => setSecret(operation, input)),
  }),
  removeSecret: t.field({
    type: resultUnion('RemoveSecretResult', RemoveSecretPayload, ['NotFoundError', 'ConflictError', 'ForbiddenError']),
    authScopes: { may: 'secret:set' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: RemoveSecretInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => removeSecret(operation, input)),
  }),
  rotateTenantKey: t.field({
    type: resultUnion('RotateTenantKeyResult', RotateTenantKeyPayload, ['ForbiddenError']),
    description: "A new key for the tenant's secrets, all of which are sealed again under it.",
    authScopes: { may: 'secret:rotate' },
    unauthorizedResolver: forbidden,
    resolve: (_, __, { operation }) => asResult(() => rotateKey(operation)),
  }),
}));
