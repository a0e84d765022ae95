import type { Sql } from '../prisma/contract.ts';
import { WaybillError } from '../schema/errors.ts';
import type { Json } from '../schema/plan.ts';

/** Standard Webhooks: a body is smaller than this. */
const maxWebhookBodyBytes = 20_000;

export interface NewEvent {
  type: string;
  /** `success` when not given. */
  outcome?: 'success' | 'failure';
  actor: { principalId: string | null; sessionId?: string | null; applicationId?: number | null };
  runId?: string | null;
  transferId?: string | null;
  deliveryId?: string | null;
  data: Json;
  /** A second event of the same key is not written, nor sent: makes an activity that is run twice write one. */
  dedupeKey?: string;
}

export interface WebhookMessage {
  type: string;
  data: Json;
  runId: string | null;
  /** The webhook-id header: the same message twice is sent once. */
  messageId: string;
}

/**
 * Writes events, and for each new one a pending message to every enabled webhook whose filter matches, in the caller's
 * transaction: the change, its evidence and what is sent about it appear together or not at all. One statement, one
 * round trip, however many events. Throws as `Sql` does; a run, session or principal of another tenant is refused. Of a
 * tenant that was removed meanwhile nothing is written: such an event would be all that is left of it.
 *
 * An event of a session carries what the sign-in said of itself: who impersonates, the client's version and address, and
 * the external user, as they are in the session's row.
 *
 * A webhook's `data` is the event's, with the public ids of event, run, transfer and delivery where `data` is a map and
 * does not name them itself. When that makes 20 kB or more, only the ids go out, with `truncated: true`.
 */
export async function recordEvents(sql: Sql, tenantId: string, events: readonly NewEvent[]): Promise<void> {
  if (events.length === 0) return;
  const rows = events.map((event, ordinal) => ({
    ordinal,
    type: event.type,
    outcome: event.outcome ?? 'success',
    principal_id: event.actor.principalId,
    session_id: event.actor.sessionId ?? null,
    application_id: event.actor.applicationId ?? null,
    run_id: event.runId ?? null,
    transfer_id: event.transferId ?? null,
    delivery_id: event.deliveryId ?? null,
    data: event.data,
    dedupe_key: event.dedupeKey ?? null,
  }));
  await sql.query(insertEvents, [tenantId, storableJson(rows)]);
}

/**
 * A message of a pipeline's own (`webhook.send`) to every enabled webhook whose filter matches, in the caller's
 * transaction. Gives how many there are; the same message id again adds nothing. Throws invalid when the body has 20 kB.
 */
export async function enqueueWebhookMessage(sql: Sql, tenantId: string, message: WebhookMessage): Promise<number> {
  const body = storableJson({ type: message.type, timestamp: new Date().toISOString(), data: message.data });
  const bytes = Buffer.byteLength(body);
  if (bytes >= maxWebhookBodyBytes) {
    throw new WaybillError(
      'invalid',
      `the message has ${bytes} bytes; a webhook takes less than ${maxWebhookBodyBytes}`,
      {
        field: 'data',
      },
    );
  }
  const [answer] = await sql.query<{ webhooks: number }>(insertMessage, [
    tenantId,
    message.type,
    message.messageId,
    message.runId,
    body,
  ]);
  return answer?.webhooks ?? 0;
}

/** A plain notify: the listener looks into the outbox, so the payload is empty and PostgreSQL folds many into one. */
const tellTheOutbox = `pg_notify('outbox', '')`;

const matching = `
  w.tenant_id = $1::uuid and w.disabled_at is null and exists (select from unnest(w.event_patterns) pattern where`;

const insertEvents = `
  with written as (
    insert into audit_event (tenant_id, type, outcome, principal_id, session_id, application_id, run_id, transfer_id, delivery_id, data, dedupe_key,
      impersonator_id, client_version, ip_address, user_string)
    select $1::uuid, e.type, outcome, e.principal_id, session_id, coalesce(e.application_id, s.application_id), e.run_id, transfer_id, delivery_id,
      coalesce(data, 'null'::jsonb), dedupe_key, s.impersonator_id, s.client_version, s.ip_address, s.user_string
    from jsonb_to_recordset($2::jsonb) as e(ordinal int, type text, outcome text, principal_id uuid, session_id uuid,
      application_id int, run_id uuid, transfer_id uuid, delivery_id uuid, data jsonb, dedupe_key text)
    left join session s on s.tenant_id = $1::uuid and s.id = e.session_id
    where exists (select from tenant where id = $1::uuid)
      or $1::uuid is distinct from nullif(current_setting('app.tenant_id', true), '')::uuid
    order by ordinal
    on conflict (tenant_id, dedupe_key) do nothing
    returning id, type, created_at, run_id, transfer_id, delivery_id, data
  ), message as (
    select id, type, run_id, replace(id::text, '-', '') as hex,
      to_char(created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as time,
      case when jsonb_typeof(data) = 'object' then data end as facts, data,
      jsonb_strip_nulls(jsonb_build_object(
        'event', 'evt_' || replace(id::text, '-', ''), 'run', 'run_' || replace(run_id::text, '-', ''),
        'transfer', 'tr_' || replace(transfer_id::text, '-', ''), 'delivery', 'dlv_' || replace(delivery_id::text, '-', ''))) as ids
    from written
  ), told as (
    select id, type, run_id, hex,
      json_build_object('type', type, 'timestamp', time, 'data', coalesce(ids || facts, data))::text as whole,
      json_build_object('type', type, 'timestamp', time, 'data', ids || '{"truncated": true}')::text as short
    from message
  ), queued as (
    insert into webhook_delivery (tenant_id, webhook_id, message_id, run_id, type, body, state)
    select $1::uuid, w.id, 'msg_' || t.hex, t.run_id, t.type,
      case when octet_length(t.whole) < ${maxWebhookBodyBytes} then t.whole else t.short end, 'pending'
    from told t join webhook w on ${matching} t.type like pattern)
    order by t.id
    returning id
  )
  select ${tellTheOutbox} from (select from queued limit 1) as one`;

const insertMessage = `
  with matched as (
    select w.id from webhook w where ${matching} $2::text like pattern)
  ), queued as (
    insert into webhook_delivery (tenant_id, webhook_id, message_id, run_id, type, body, state)
    select $1::uuid, id, $3::text, $4::uuid, $2::text, $5::text, 'pending' from matched
    on conflict (tenant_id, webhook_id, message_id) do nothing
    returning id
  ), told as (
    select ${tellTheOutbox} from (select from queued limit 1) as one
  )
  select (select count(*)::int from matched) as webhooks, (select count(*) from told) as told`;

/** JSON that PostgreSQL stores: it knows neither the character NUL nor half a surrogate pair. */
function storableJson(value: unknown): string {
  return JSON.stringify(value, (_, item: unknown) =>
    typeof item === 'string' ? item.toWellFormed().replaceAll('\u0000', '\ufffd') : item,
  );
}
