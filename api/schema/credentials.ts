import { publicId } from '../../schema/names.ts';
import { pageByName, pageByTime } from '../pages.ts';
import { builder } from './builder.ts';
import { connection, pageArguments } from './connection.ts';
import { missing } from './missing.ts';
import { ApiKeyType, NodeType, PrincipalType, SecretType } from './types.ts';

const ApiKeyConnection = connection('ApiKey', ApiKeyType, 'key:read');
const SecretConnection = connection('Secret', SecretType, 'secret:read');

ApiKeyType.implement({
  interfaces: [NodeType],
  authScopes: { may: 'key:read' },
  fields: (t) => ({
    id: t.id({ resolve: (key) => publicId('apiKey', key.id) }),
    name: t.exposeString('name'),
    keyId: t.exposeString('keyId', { description: 'The part of the key that may be shown.' }),
    scopes: t.exposeStringList('scopes'),
    allowedCidrs: t.exposeStringList('allowedCidrs', {
      description: 'Networks that the key may come from; empty: from anywhere.',
    }),
    principal: t.field({
      type: PrincipalType,
      resolve: async (key, _, { loaders }) =>
        (await loaders.principal.load(key.principalId)) ?? missing('the principal of a key'),
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
    expiresAt: t.expose('expiresAt', { type: 'DateTime' }),
    lastUsedAt: t.expose('lastUsedAt', { type: 'DateTime', nullable: true }),
    revokedAt: t.expose('revokedAt', { type: 'DateTime', nullable: true }),
  }),
});

SecretType.implement({
  description: 'A stored secret. Its value is never shown.',
  interfaces: [NodeType],
  authScopes: { may: 'secret:read' },
  fields: (t) => ({
    id: t.id({ resolve: (secret) => publicId('secret', secret.id) }),
    name: t.exposeString('name'),
    updatedAt: t.expose('updatedAt', { type: 'DateTime' }),
  }),
});

builder.queryFields((t) => ({
  apiKeys: t.field({
    type: ApiKeyConnection,
    description: 'Newest first.',
    authScopes: { may: 'key:read' },
    args: pageArguments(),
    resolve: (_, page, { read }) =>
      read(({ db }, tenantId) =>
        pageByTime(page, ({ after, orderBy, take }) =>
          db.apiKey.findMany({ where: { AND: [{ tenantId }, after] }, orderBy, take }),
        ),
      ),
  }),
  secrets: t.field({
    type: SecretConnection,
    description: 'By name.',
    authScopes: { may: 'secret:read' },
    args: pageArguments(),
    resolve: (_, page, { read }) =>
      read(({ db }, tenantId) =>
        pageByName(page, ({ after, orderBy, take }) =>
          db.secret.findMany({ where: { AND: [{ tenantId }, after] }, orderBy, take }),
        ),
      ),
  }),
}));
