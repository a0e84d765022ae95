import { publicId, rowId } from '../../schema/names.ts';
import { pageByTime } from '../pages.ts';
import { builder } from './builder.ts';
import { connection, pageArguments } from './connection.ts';
import { nowhere } from './node.ts';
import { AuditEventType, NodeType, PrincipalType, RunType, SessionType } from './types.ts';

const AuditEventConnection = connection('AuditEvent', AuditEventType, 'audit:read');

AuditEventType.implement({
  description: 'One entry of the audit log.',
  interfaces: [NodeType],
  authScopes: { may: 'audit:read' },
  fields: (t) => ({
    id: t.id({ resolve: (event) => publicId('auditEvent', event.id) }),
    type: t.exposeString('type'),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
    outcome: t.exposeString('outcome', { description: 'success or failure' }),
    applicationId: t.exposeInt('applicationId', { nullable: true }),
    clientVersion: t.exposeString('clientVersion', {
      nullable: true,
      description: 'What the client said of itself when it signed in; of a run, the client that started it.',
    }),
    ipAddress: t.exposeString('ipAddress', { nullable: true, description: 'Where it signed in from.' }),
    userString: t.exposeString('userString', { nullable: true, description: 'The external user.' }),
    impersonator: t.field({
      type: PrincipalType,
      nullable: true,
      description: 'Who acted as somebody else when this was done or started.',
      resolve: ({ impersonatorId }, _, { loaders }) =>
        impersonatorId === null ? null : loaders.principal.load(impersonatorId),
    }),
    startedBy: t.field({
      type: PrincipalType,
      nullable: true,
      description: 'Who started the run of the event: the principal is the account that it acts as.',
      resolve: async ({ runId }, _, { loaders }) => {
        const run = runId === null ? null : await loaders.run.load(runId);
        return run === null ? null : loaders.principal.load(run.createdBy);
      },
    }),
    principal: t.field({
      type: PrincipalType,
      nullable: true,
      resolve: ({ principalId }, _, { loaders }) => (principalId === null ? null : loaders.principal.load(principalId)),
    }),
    session: t.field({
      type: SessionType,
      nullable: true,
      resolve: ({ sessionId }, _, { loaders }) => (sessionId === null ? null : loaders.session.load(sessionId)),
    }),
    run: t.field({
      type: RunType,
      nullable: true,
      resolve: ({ runId }, _, { loaders }) => (runId === null ? null : loaders.run.load(runId)),
    }),
    transferId: t.id({
      nullable: true,
      resolve: ({ transferId }) => (transferId === null ? null : publicId('transfer', transferId)),
    }),
    deliveryId: t.id({
      nullable: true,
      resolve: ({ deliveryId }) => (deliveryId === null ? null : publicId('delivery', deliveryId)),
    }),
    data: t.expose('data', { type: 'JSON' }),
  }),
});

builder.queryField('auditEvents', (t) =>
  t.field({
    type: AuditEventConnection,
    description: 'In the order of the log, oldest first.',
    authScopes: { may: 'audit:read' },
    args: { ...pageArguments(), run: t.arg.id(), type: t.arg.string() },
    resolve: (_, { run, type, ...page }, { read }) =>
      read(({ db }, tenantId) => {
        const ofRun = run == null ? {} : { runId: rowId('run', run) ?? nowhere };
        const ofType = type == null ? {} : { type };
        return pageByTime(
          page,
          ({ after, orderBy, take }) =>
            db.auditEvent.findMany({ where: { AND: [{ tenantId }, ofRun, ofType, after] }, orderBy, take }),
          'asc',
        );
      }),
  }),
);

builder.objectField(RunType, 'auditEvents', (t) =>
  t.field({
    type: AuditEventConnection,
    description: 'In the order of the log, oldest first.',
    args: pageArguments(),
    resolve: (run, page, { read }) =>
      read(({ db }, tenantId) =>
        pageByTime(
          page,
          ({ after, orderBy, take }) =>
            db.auditEvent.findMany({ where: { AND: [{ tenantId, runId: run.id }, after] }, orderBy, take }),
          'asc',
        ),
      ),
  }),
);
