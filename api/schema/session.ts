import { publicId } from '../../schema/names.ts';
import { pageByTime } from '../pages.ts';
import { builder } from './builder.ts';
import { connection, pageArguments } from './connection.ts';
import { missing } from './missing.ts';
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
    runs: t.field({
      type: RunConnection,
      args: pageArguments(),
      resolve: (session, page, { read }) =>
        read(({ db }, tenantId) =>
          pageByTime(page, ({ after, orderBy, take }) =>
            db.run.findMany({ where: { AND: [{ tenantId, sessionId: session.id }, after] }, orderBy, take }),
          ),
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
    args: { ...pageArguments(), live: t.arg.boolean() },
    resolve: (_, { live, ...page }, { read }) =>
      read(({ db }, tenantId) => {
        const now = new Date();
        const alive = { endedAt: null, expiresAt: { gt: now } };
        const filter = live == null ? {} : live ? alive : { NOT: alive };
        return pageByTime(page, ({ after, orderBy, take }) =>
          db.session.findMany({ where: { AND: [{ tenantId }, filter, after] }, orderBy, take }),
        );
      }),
  }),
);
