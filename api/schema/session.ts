import { findUserByName } from '../../identity/users.ts';
import type { Session } from '../../prisma/generated/client.ts';
import { publicId } from '../../schema/names.ts';
import { closeSession } from '../operations/closeSession.ts';
import { pageByTime } from '../pages.ts';
import { builder } from './builder.ts';
import { connection, pageArguments } from './connection.ts';
import { asResult, forbidden, resultUnion } from './errors.ts';
import { missing } from './missing.ts';
import { nowhere } from './node.ts';
import { RunConnection } from './run.ts';
import { NodeType, PrincipalType, SessionType } from './types.ts';

const SessionConnection = connection('Session', SessionType, 'session:read');

SessionType.implement({
  description: 'One signed-in principal under one application.',
  interfaces: [NodeType],
  authScopes: { may: 'session:read' },
  fields: (t) => ({
    id: t.id({ resolve: (session) => publicId('session', session.id) }),
    principal: t.field({
      type: PrincipalType,
      resolve: async (session, _, { loaders }) =>
        (await loaders.principal.load(session.principalId)) ?? missing('the principal of a session'),
    }),
    applicationId: t.exposeInt('applicationId'),
    kind: t.exposeString('kind', { description: 'replaceable or concurrent' }),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
    expiresAt: t.expose('expiresAt', { type: 'DateTime' }),
    endedAt: t.expose('endedAt', { type: 'DateTime', nullable: true }),
    endReason: t.exposeString('endReason', { nullable: true }),
    method: t.exposeString('method', {
      nullable: true,
      description: 'The mutation that opened it; null for the session of a run.',
    }),
    lastUsedAt: t.expose('lastUsedAt', { type: 'DateTime', nullable: true }),
    clientVersion: t.exposeString('clientVersion', { nullable: true }),
    ipAddress: t.exposeString('ipAddress', { nullable: true }),
    userString: t.exposeString('userString', { nullable: true, description: 'The external user.' }),
    impersonator: t.field({
      type: PrincipalType,
      nullable: true,
      description: 'Who acts as the principal.',
      resolve: ({ impersonatorId }, _, { loaders }) =>
        impersonatorId === null ? null : loaders.principal.load(impersonatorId),
    }),
    reason: t.exposeString('reason', { nullable: true, description: 'Why somebody acts as the principal.' }),
    parent: t.field({
      type: SessionType,
      nullable: true,
      description: 'The session that opened this one: that of the impersonator, or of who started the run.',
      resolve: ({ parentId }, _, { loaders }) => (parentId === null ? null : loaders.session.load(parentId)),
    }),
    runs: t.field({
      type: RunConnection,
      description: 'Those that it has started, retried or resent; of the session of a run, that run.',
      args: pageArguments(),
      resolve: ({ id }, page, { read }) =>
        read(({ db }, tenantId) =>
          pageByTime(page, ({ after, orderBy, take }) => {
            const ofSession = { tenantId, OR: [{ sessionId: id }, { startedBySession: id }] };
            return db.run.findMany({ where: { AND: [ofSession, after] }, orderBy, take });
          }),
        ),
    }),
  }),
});

PrincipalType.implement({
  description: 'Who acts: a user or a service account.',
  interfaces: [NodeType],
  authScopes: { signedIn: true },
  fields: (t) => ({
    id: t.id({ resolve: (principal) => publicId('principal', principal.id) }),
    kind: t.exposeString('kind'),
    name: t.exposeString('name'),
    role: t.exposeString('role'),
  }),
});

builder.queryField('sessions', (t) =>
  t.field({
    type: SessionConnection,
    description: 'Newest first; with live: true, those that have neither ended nor expired.',
    authScopes: { may: 'session:read' },
    args: {
      ...pageArguments(),
      live: t.arg.boolean(),
      user: t.arg.string({ description: 'a user name, in whatever case' }),
    },
    resolve: (_, { live, user, ...page }, { read }) =>
      read(async ({ db, sql }, tenantId) => {
        const principalId = user == null ? null : ((await findUserByName(sql, tenantId, user))?.principalId ?? nowhere);
        const now = new Date();
        const alive = { endedAt: null, expiresAt: { gt: now } };
        const filter = live == null ? {} : live ? alive : { NOT: alive };
        const ofUser = principalId === null ? {} : { principalId };
        return pageByTime(page, ({ after, orderBy, take }) =>
          db.session.findMany({ where: { AND: [{ tenantId }, ofUser, filter, after] }, orderBy, take }),
        );
      }),
  }),
);

const CloseSessionPayload = builder.objectRef<{ session: Session }>('CloseSessionPayload').implement({
  fields: (t) => ({ session: t.expose('session', { type: SessionType }) }),
});
const CloseSessionInput = builder.inputType('CloseSessionInput', {
  fields: (t) => ({ id: t.id({ required: true, description: 'of the row: ses_...' }) }),
});

builder.mutationField('closeSession', (t) =>
  t.field({
    type: resultUnion('CloseSessionResult', CloseSessionPayload, ['NotFoundError', 'ConflictError', 'ForbiddenError']),
    description: "Ends somebody's session, and stops the runs that it has started.",
    authScopes: { may: 'session:close' },
    unauthorizedResolver: forbidden,
    args: { input: t.arg({ type: CloseSessionInput, required: true }) },
    resolve: (_, { input }, { operation }) => asResult(() => closeSession(operation, input)),
  }),
);
