/** The events of the audit log that Waybill itself writes. `audit.write` and `webhook.send` may not use these families. */
export const reservedEventFamilies: readonly string[] = [
  'session',
  'credential',
  'file',
  'http',
  'notify',
  'transfer',
  'delivery',
  'run',
  'pipeline',
  'policy',
  'endpoint',
  'node',
  'webhook',
  'expectation',
  'key',
  'audit',
  'secret',
  'account',
];

export const eventTypes = [
  'session.opened',
  'session.closed',
  'session.denied',
  'credential.created',
  'credential.revoked',
  'secret.set',
  'secret.removed',
  'transfer.started',
  'transfer.completed',
  'transfer.failed',
  'transfer.cancelled',
  'delivery.published',
  'delivery.skipped',
  'delivery.failed',
  'delivery.retried',
  'delivery.resent',
  'delivery.rechecked',
  'delivery.restarted',
  'file.moved',
  'file.deleted',
  'file.written',
  'file.folder-made',
  'http.requested',
  'notify.sent',
  'run.started',
  'run.completed',
  'run.failed',
  'run.cancelled',
  'run.refused',
  'run.cancel-requested',
  'run.paused',
  'run.resumed',
  'account.created',
  'account.granted',
  'account.revoked',
  'pipeline.published',
  'pipeline.removed',
  'endpoint.created',
  'endpoint.changed',
  'endpoint.removed',
  'endpoint.checked',
  'endpoint.paused',
  'endpoint.resumed',
  'endpoint.breaker-opened',
  'endpoint.breaker-closed',
  'endpoint.host-key-accepted',
  'endpoint.swept',
  'webhook.created',
  'webhook.changed',
  'webhook.removed',
  'webhook.failed',
] as const;
export type EventType = (typeof eventTypes)[number];

/** `orders.received`: at least two segments, the first not a reserved family. */
export const customEventPattern = '^[a-z][a-z0-9-]*(\\.[a-z][a-z0-9-]*)+$';

/** Whether a pipeline may write an event of that name. */
export function isCustomEvent(type: string): boolean {
  return new RegExp(customEventPattern).test(type) && !reservedEventFamilies.includes(type.slice(0, type.indexOf('.')));
}

/** The SQL LIKE pattern of a webhook filter: `orders.*` is `orders.%`, `run.failed` itself. */
export function eventLikePattern(filter: string): string {
  return filter.replace(/[\\%_]/g, '\\$&').replaceAll('*', '%');
}
