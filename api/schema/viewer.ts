import type { Caller } from '../../identity/caller.ts';
import { publicId } from '../../schema/names.ts';
import { builder } from './builder.ts';
import { missing } from './missing.ts';
import { PrincipalType } from './types.ts';

const ViewerType = builder.objectRef<Caller>('Viewer').implement({
  fields: (t) => ({
    tenant: t.exposeString('tenantName'),
    principal: t.field({
      type: PrincipalType,
      resolve: async (caller, _, { loaders }) =>
        (await loaders.principal.load(caller.principalId)) ?? missing('the principal of the caller'),
    }),
    scopes: t.exposeStringList('scopes'),
    apiKeyId: t.id({
      nullable: true,
      resolve: ({ credential }) => (credential.kind === 'key' ? publicId('apiKey', credential.id) : null),
    }),
    sessionId: t.id({
      nullable: true,
      description: 'The id of the row, not what is presented.',
      resolve: ({ credential }) => (credential.kind === 'session' ? publicId('session', credential.id) : null),
    }),
  }),
});

builder.queryField('viewer', (t) =>
  t.field({
    type: ViewerType,
    description: 'Who the credential is.',
    authScopes: { signedIn: true },
    resolve: (_, __, { operation }) => operation.caller,
  }),
);
