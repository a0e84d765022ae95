import type { ConnectorEndpoint } from '../../prisma/generated/client.ts';
import { publicId } from '../../schema/names.ts';
import type { EndpointReport } from '../operations/checkEndpoint.ts';
import { pageByName } from '../pages.ts';
import { builder } from './builder.ts';
import { connection, pageArguments } from './connection.ts';
import { EndpointType, NodeType } from './types.ts';

const EndpointConnection = connection('Endpoint', EndpointType, 'endpoint:read');

export const EndpointCheckType = builder
  .objectRef<EndpointReport & { ok: boolean; checkedAt: Date }>('EndpointCheck')
  .implement({
    description: 'What the last check of the endpoint found.',
    fields: (t) => ({
      ok: t.exposeBoolean('ok'),
      checkedAt: t.expose('checkedAt', { type: 'DateTime' }),
      server: t.exposeString('server', { nullable: true }),
      roundTripMs: t.exposeFloat('roundTripMs', { nullable: true }),
      identity: t.exposeString('identity', { nullable: true, description: 'Host key or certificate fingerprint.' }),
      errorKind: t.exposeString('errorKind', { nullable: true }),
      errorMessage: t.exposeString('errorMessage', { nullable: true }),
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
  }),
});

/** The last check, or null when there was none. */
export function checkOf(endpoint: ConnectorEndpoint) {
  const { checkedAt, checkOk, checkReport } = endpoint;
  if (checkedAt === null || checkOk === null) return null;
  return { ...(checkReport as unknown as EndpointReport), ok: checkOk, checkedAt };
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
