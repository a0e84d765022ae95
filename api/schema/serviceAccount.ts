import { grantActions } from '../../identity/grants.ts';
import type { Principal, PrincipalGrant } from '../../prisma/generated/client.ts';
import { createServiceAccount, grantAccount, revokeGrant } from '../operations/serviceAccounts.ts';
import { pageByName } from '../pages.ts';
import { builder } from './builder.ts';
import { connection, pageArguments } from './connection.ts';
import { asResult, forbidden, resultUnion } from './errors.ts';
import { PrincipalType } from './types.ts';

const GrantActionEnum = builder.enumType('GrantAction', {
  description: 'actAs: runs act as the account TARGET. use: runs reach the endpoint TARGET.',
  values: grantActions,
});

const GrantType = builder.objectRef<PrincipalGrant>('Grant').implement({
  authScopes: { may: 'account:read' },
  fields: (t) => ({
    action: t.field({ type: GrantActionEnum, resolve: ({ action }) => action as (typeof grantActions)[number] }),
    target: t.exposeString('target', { description: 'the name of an account or of an endpoint' }),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
  }),
});

builder.objectField(PrincipalType, 'grants', (t) =>
  t.field({
    type: [GrantType],
    nullable: true,
    description: 'What it may do besides what its role says. Owners may do everything; engineers use every endpoint.',
    authScopes: { may: 'account:read' },
    resolve: (principal, _, { loaders }) => loaders.grants.load(principal.id),
  }),
);

const ServiceAccountConnection = connection('ServiceAccount', PrincipalType, 'account:read');

builder.queryField('serviceAccounts', (t) =>
  t.field({
    type: ServiceAccountConnection,
    description: 'Accounts that runs act as, by name.',
    authScopes: { may: 'account:read' },
    args: pageArguments(),
    resolve: (_, page, { read }) =>
      read(({ db }, tenantId) =>
        pageByName(page, ({ after, orderBy, take }) =>
          db.principal.findMany({ where: { AND: [{ tenantId, kind: 'service' }, after] }, orderBy, take }),
        ),
      ),
  }),
);

const AccountPayload = builder.objectRef<{ account: Principal }>('AccountPayload').implement({
  fields: (t) => ({ account: t.expose('account', { type: PrincipalType }) }),
});
const CreateServiceAccountInput = builder.inputType('CreateServiceAccountInput', {
  fields: (t) => ({
    name: t.string({ required: true }),
    role: t.string({ description: 'service when not given' }),
  }),
});
const GrantInput = builder.inputType('GrantInput', {
  fields: (t) => ({
    account: t.string({ required: true, description: 'the name of the account that may do it' }),
    action: t.field({ type: GrantActionEnum, required: true }),
    target: t.string({ required: true, description: 'the name of an account or of an endpoint' }),
  }),
});
const GrantResult = resultUnion('GrantResult', AccountPayload, ['NotFoundError', 'ForbiddenError']);

builder.mutationFields((t) => ({
  createServiceAccount: t.field({
    type: resultUnion('CreateServiceAccountResult', AccountPayload, [
      'InvalidInputError',
      'ConflictError',
      'ForbiddenError',
    ]),
    description: 'An account that runs act as; beyond its role it may do nothing until something is granted.',
    authScopes: { may: 'account:change' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: CreateServiceAccountInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => createServiceAccount(operation, input)),
  }),
  grantAccount: t.field({
    type: GrantResult,
    description: 'Lets an account act as another one, or use an endpoint.',
    authScopes: { may: 'account:change' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: GrantInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => grantAccount(operation, input)),
  }),
  revokeGrant: t.field({
    type: GrantResult,
    description: 'Takes a grant away; runs that go on are not stopped by it.',
    authScopes: { may: 'account:change' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: GrantInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => revokeGrant(operation, input)),
  }),
}));
