import { publicId } from '../../schema/names.ts';
import { pageByName, pageByTime } from '../pages.ts';
import { builder } from './builder.ts';
import { connection, pageArguments } from './connection.ts';
import { missing } from './missing.ts';
import { AuditEventType, NodeType, RunType, WebhookDeliveryType, WebhookType } from './types.ts';

const WebhookConnection = connection('Webhook', WebhookType, 'webhook:read');
const WebhookDeliveryConnection = connection('WebhookDelivery', WebhookDeliveryType, 'webhook:read');

WebhookType.implement({
  description: 'Where events are pushed.',
  interfaces: [NodeType],
  authScopes: { may: 'webhook:read' },
  fields: (t) => ({
    id: t.id({ resolve: (webhook) => publicId('webhook', webhook.id) }),
    name: t.exposeString('name'),
    url: t.exposeString('url'),
    events: t.exposeStringList('events'),
    version: t.exposeInt('version'),
    disabledAt: t.expose('disabledAt', { type: 'DateTime', nullable: true }),
  }),
});

WebhookDeliveryType.implement({
  description: 'One message to one webhook, with all its attempts.',
  interfaces: [NodeType],
  authScopes: { may: 'webhook:read' },
  fields: (t) => ({
    id: t.id({ resolve: (delivery) => publicId('webhookDelivery', delivery.id) }),
    messageId: t.exposeString('messageId', { description: 'The webhook-id header.' }),
    type: t.exposeString('type'),
    state: t.exposeString('state', { description: 'pending, retrying, delivered or failed' }),
    attempts: t.exposeInt('attempts'),
    lastStatus: t.exposeInt('lastStatus', { nullable: true }),
    lastError: t.exposeString('lastError', { nullable: true }),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
    deliveredAt: t.expose('deliveredAt', { type: 'DateTime', nullable: true }),
    webhook: t.field({
      type: WebhookType,
      resolve: async (delivery, _, { loaders }) =>
        (await loaders.webhook.load(delivery.webhookId)) ?? missing('the webhook of a delivery'),
    }),
  }),
});

builder.queryField('webhooks', (t) =>
  t.field({
    type: WebhookConnection,
    description: 'By name.',
    authScopes: { may: 'webhook:read' },
    args: pageArguments(),
    resolve: (_, page, { read }) =>
      read(({ db }, tenantId) =>
        pageByName(page, ({ after, orderBy, take }) =>
          db.webhook.findMany({ where: { AND: [{ tenantId }, after] }, orderBy, take }),
        ),
      ),
  }),
);

builder.objectField(WebhookType, 'deliveries', (t) =>
  t.field({
    type: WebhookDeliveryConnection,
    description: 'Newest first.',
    args: pageArguments(),
    resolve: (webhook, page, { read }) =>
      read(({ db }, tenantId) =>
        pageByTime(page, ({ after, orderBy, take }) =>
          db.webhookDelivery.findMany({ where: { AND: [{ tenantId, webhookId: webhook.id }, after] }, orderBy, take }),
        ),
      ),
  }),
);
builder.objectField(RunType, 'webhookDeliveries', (t) =>
  t.field({
    type: WebhookDeliveryConnection,
    description: 'Newest first.',
    args: pageArguments(),
    resolve: (run, page, { read }) =>
      read(({ db }, tenantId) =>
        pageByTime(page, ({ after, orderBy, take }) =>
          db.webhookDelivery.findMany({ where: { AND: [{ tenantId, runId: run.id }, after] }, orderBy, take }),
        ),
      ),
  }),
);
builder.objectField(AuditEventType, 'webhookDeliveries', (t) =>
  t.field({
    type: WebhookDeliveryConnection,
    description: 'The messages that told of the event.',
    args: pageArguments(),
    resolve: (event, page, { read }) =>
      read(({ db }, tenantId) =>
        pageByTime(page, ({ after, orderBy, take }) =>
          db.webhookDelivery.findMany({
            where: { AND: [{ tenantId, messageId: `msg_${event.id.replaceAll('-', '')}` }, after] },
            orderBy,
            take,
          }),
        ),
      ),
  }),
);
