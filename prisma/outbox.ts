import type { Sql } from './contract.ts';

/** One message to one webhook, with all that sending needs. The system role reads it across tenants. */
export interface OutboxMessage extends Record<string, unknown> {
  tenantId: string;
  deliveryId: string;
  messageId: string;
  type: string;
  body: string;
  attempts: number;
  webhookName: string;
  url: string;
  secretRef: string;
}

const messageColumns = `d.tenant_id as "tenantId", d.id as "deliveryId", d.message_id as "messageId", d.type, d.body, d.attempts,
  w.name as "webhookName", w.url, w.secret_ref as "secretRef"`;

/** Messages that have not been tried yet, oldest first. System role. */
export async function pendingMessages(sql: Sql, limit: number): Promise<OutboxMessage[]> {
  return sql.query<OutboxMessage>(
    `select ${messageColumns} from webhook_delivery d join webhook w on w.tenant_id = d.tenant_id and w.id = d.webhook_id
      where d.state = 'pending' order by d.created_at, d.id limit $1::int`,
    [limit],
  );
}

/** Messages whose first attempt failed and whose retries have not begun, oldest first. System role. */
export async function unretriedMessages(
  sql: Sql,
  limit: number,
): Promise<Array<{ tenantId: string; deliveryId: string }>> {
  return sql.query(
    `select tenant_id as "tenantId", id as "deliveryId" from webhook_delivery
      where state = 'retrying' and attempts = 1 order by created_at, id limit $1::int`,
    [limit],
  );
}

/** One message that has not been delivered or given up, or undefined. */
export async function openMessage(sql: Sql, tenantId: string, deliveryId: string): Promise<OutboxMessage | undefined> {
  const [row] = await sql.query<OutboxMessage>(
    `select ${messageColumns} from webhook_delivery d join webhook w on w.tenant_id = d.tenant_id and w.id = d.webhook_id
      where d.tenant_id = $1::uuid and d.id = $2::uuid and d.state in ('pending', 'retrying')`,
    [tenantId, deliveryId],
  );
  return row;
}

/** Records an attempt: its HTTP status (null when there was no answer) and what went wrong (null when it was delivered). */
export async function recordAttempt(
  sql: Sql,
  tenantId: string,
  deliveryId: string,
  status: number | null,
  error: string | null,
): Promise<void> {
  await sql.query(
    `update webhook_delivery
        set attempts = attempts + 1, last_status = $3::int, last_error = $4::text,
            state = case when $4::text is null then 'delivered' else 'retrying' end,
            delivered_at = case when $4::text is null then now() else delivered_at end
      where tenant_id = $1::uuid and id = $2::uuid and state in ('pending', 'retrying')`,
    [tenantId, deliveryId, status, error],
  );
}

/** Gives a message up; gives what an event tells of it, or undefined when it was not open. */
export async function giveUpMessage(
  sql: Sql,
  tenantId: string,
  deliveryId: string,
): Promise<{ webhookName: string; messageId: string; attempts: number; lastError: string | null } | undefined> {
  const [row] = await sql.query<{ webhookName: string; messageId: string; attempts: number; lastError: string | null }>(
    `update webhook_delivery d set state = 'failed' from webhook w
      where d.tenant_id = $1::uuid and d.id = $2::uuid and d.state in ('pending', 'retrying') and w.tenant_id = d.tenant_id and w.id = d.webhook_id
      returning w.name as "webhookName", d.message_id as "messageId", d.attempts, d.last_error as "lastError"`,
    [tenantId, deliveryId],
  );
  return row;
}
