import type { ConnectorEndpoint, EndpointBreaker } from '../../prisma/generated/client.ts';
import { publicId } from '../../schema/names.ts';
import type { EndpointReport } from '../operations/checkEndpoint.ts';
import type { EndpointRights } from '../operations/probe.ts';
import { pageByName, pageByTime } from '../pages.ts';
import { builder } from './builder.ts';
import { connection, pageArguments } from './connection.ts';
import { EndpointType, NodeType, PrincipalType } from './types.ts';

const EndpointConnection = connection('Endpoint', EndpointType, 'endpoint:read');

const RightsType = builder.objectRef<EndpointRights>('EndpointRights').implement({
  description: 'What the account may do in the folder that was tried; null: it could not be tried.',
  fields: (t) => ({
    list: t.exposeBoolean('list', { nullable: true }),
    read: t.exposeBoolean('read', { nullable: true }),
    write: t.exposeBoolean('write', { nullable: true }),
    rename: t.exposeBoolean('rename', { nullable: true }),
    delete: t.exposeBoolean('delete', { nullable: true }),
  }),
});

type Check = EndpointReport & { id: string; ok: boolean; createdAt: Date };

export const EndpointCheckType = builder.objectRef<Check>('EndpointCheck').implement({
  description: 'What a check of the endpoint found.',
  authScopes: { may: 'endpoint:read' },
  fields: (t) => ({
    ok: t.exposeBoolean('ok'),
    checkedAt: t.expose('createdAt', { type: 'DateTime' }),
    server: t.exposeString('server', { nullable: true }),
    roundTripMs: t.exposeFloat('roundTripMs', { nullable: true }),
    clockSkewMs: t.float({
      nullable: true,
      description: "How far the server's clock is ahead.",
      resolve: ({ clockSkewMs }) => clockSkewMs ?? null,
    }),
    identity: t.exposeString('identity', { nullable: true, description: 'Host key or certificate fingerprint.' }),
    rights: t.field({ type: RightsType, nullable: true, resolve: ({ rights }) => rights ?? null }),
    capabilities: t.field({ type: 'JSON', nullable: true, resolve: ({ capabilities }) => capabilities ?? null }),
    left: t.string({
      nullable: true,
      description: 'A file that the check made and may not remove.',
      resolve: ({ left }) => left ?? null,
    }),
    errorKind: t.exposeString('errorKind', { nullable: true }),
    errorMessage: t.exposeString('errorMessage', { nullable: true }),
  }),
});
const CheckConnection = connection('EndpointCheck', EndpointCheckType, 'endpoint:read');

const PauseType = builder.objectRef<ConnectorEndpoint>('EndpointPause').implement({
  description: 'Work for the endpoint is held.',
  fields: (t) => ({
    at: t.expose('pausedAt', { type: 'DateTime', nullable: true }),
    until: t.expose('pausedUntil', { type: 'DateTime', nullable: true, description: 'null: until it is resumed' }),
    by: t.field({
      type: PrincipalType,
      nullable: true,
      resolve: ({ pausedBy }, _, { loaders }) => (pausedBy === null ? null : loaders.principal.load(pausedBy)),
    }),
    reason: t.exposeString('pauseReason', { nullable: true }),
  }),
});

const BreakerType = builder.objectRef<EndpointBreaker>('EndpointBreaker').implement({
  description:
    'Failures in a row of connection and endpoint. After five, work is held for 15 seconds, then twice as long each time, at most 10 minutes.',
  fields: (t) => ({
    failures: t.exposeInt('failures'),
    openUntil: t.expose('openUntil', {
      type: 'DateTime',
      nullable: true,
      description: 'When it is tried again; null: it has not opened.',
    }),
    errorKind: t.exposeString('errorKind'),
    errorMessage: t.exposeString('errorMessage'),
  }),
});

EndpointType.implement({
  description: 'A configured instance of a connector. Secrets are never shown, only their names.',
  interfaces: [NodeType],
  authScopes: { may: 'endpoint:read' },
  fields: (t) => ({
    id: t.id({ resolve: (endpoint) => publicId('endpoint', endpoint.id) }),
    name: t.exposeString('name'),
    connector: t.exposeString('connector'),
    config: t.expose('config', { type: 'JSON' }),
    limits: t.expose('limits', { type: 'JSON' }),
    secretNames: t.stringList({ resolve: (endpoint) => Object.keys(endpoint.secretRefs as object).sort() }),
    version: t.exposeInt('version'),
    updatedAt: t.expose('updatedAt', { type: 'DateTime' }),
    check: t.field({ type: EndpointCheckType, nullable: true, resolve: checkOf }),
    checks: t.field({
      type: CheckConnection,
      description: 'The last hundred, the newest first.',
      args: pageArguments(),
      resolve: ({ id: endpointId }, page, { read }) =>
        read(({ db }, tenantId) =>
          pageByTime(page, async ({ after, orderBy, take }) => {
            const where = { AND: [{ tenantId, endpointId }, after] };
            const rows = await db.endpointCheck.findMany({ where, orderBy, take });
            return rows.map(({ id, ok, createdAt, report }) => ({
              ...(report as unknown as EndpointReport),
              ...{ id, ok, createdAt },
            }));
          }),
        ),
    }),
    pause: t.field({ type: PauseType, nullable: true, resolve: (endpoint) => (isPaused(endpoint) ? endpoint : null) }),
    breaker: t.field({
      type: BreakerType,
      nullable: true,
      resolve: ({ id }, _, { loaders }) => loaders.breaker.load(id),
    }),
    heldRuns: t.int({
      description: 'Runs that wait for it.',
      resolve: async ({ id }, _, { loaders }) => (await loaders.held.load(id)).runs,
    }),
    heldDeliveries: t.int({
      description: 'Files of those runs that are held.',
      resolve: async ({ id }, _, { loaders }) => (await loaders.held.load(id)).deliveries,
    }),
  }),
});

function isPaused({ pausedAt, pausedUntil }: ConnectorEndpoint): boolean {
  return pausedAt !== null && (pausedUntil === null || pausedUntil.getTime() > Date.now());
}

/** The last check, or null when there was none. */
export function checkOf(endpoint: ConnectorEndpoint): Check | null {
  const { id, checkedAt, checkOk, checkReport } = endpoint;
  if (checkedAt === null || checkOk === null) return null;
  return { ...(checkReport as unknown as EndpointReport), id, ok: checkOk, createdAt: checkedAt };
}

builder.queryField('endpoints', (t) =>
  t.field({
    type: EndpointConnection,
    description: 'By name.',
    authScopes: { may: 'endpoint:read' },
    args: pageArguments(),
    resolve: (_, page, { read }) =>
      read(({ db }, tenantId) =>
        pageByName(page, ({ after, orderBy, take }) =>
          db.connectorEndpoint.findMany({ where: { AND: [{ tenantId }, after] }, orderBy, take }),
        ),
      ),
  }),
);
builder.queryField('endpoint', (t) =>
  t.field({
    type: EndpointType,
    nullable: true,
    authScopes: { may: 'endpoint:read' },
    args: { name: t.arg.string({ required: true }) },
    resolve: (_, { name }, { read }) =>
      read(({ db }, tenantId) => db.connectorEndpoint.findFirst({ where: { tenantId, name } })),
  }),
);
