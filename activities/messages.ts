import { createHash } from 'node:crypto';
import { enqueueWebhookMessage, recordEvents } from '../audit/record.ts';
import type { Sql, Store } from '../prisma/contract.ts';
import { WaybillError } from '../schema/errors.ts';
import { isCustomEvent } from '../schema/events.ts';
import type { Json } from '../schema/plan.ts';

/** The most that an event's data may take, as JSON. */
export const maxEventDataBytes = 16 * 1024;

export interface EventInput {
  tenantId: string;
  runId: string;
  stepKey: string;
  step: string;
  with: { event: string; data?: { [key: string]: Json } };
}

/** `webhook.send`: one message for each webhook whose filter matches, in the outbox. The message id comes from the step, so a retried activity sends nothing twice. */
export async function sendMessage(store: Store, input: EventInput): Promise<{ messageId: string; webhooks: number }> {
  const { tenantId, runId } = input;
  const data = checkedData(input);
  const messageId = `msg_${stepDigest(input)}`;
  const webhooks = await store.sql(tenantId, (sql) =>
    enqueueWebhookMessage(sql, tenantId, { type: input.with.event, data, runId, messageId }),
  );
  return { messageId, webhooks };
}

/** `audit.write`: an event of the pipeline's own, in the log. */
export async function writeEvent(store: Store, input: EventInput): Promise<{ event: string }> {
  const { tenantId, runId } = input;
  const data = checkedData(input);
  await store.sql(tenantId, async (sql) => {
    const actor = await runActor(sql, tenantId, runId);
    await recordEvents(sql, tenantId, [
      { type: input.with.event, actor, runId, data, dedupeKey: `audit.write/${stepDigest(input)}` },
    ]);
  });
  return { event: input.with.event };
}

/** Who a run acts as. */
export async function runActor(
  sql: Sql,
  tenantId: string,
  runId: string,
): Promise<{ principalId: string | null; sessionId: string | null; applicationId: number | null }> {
  const [row] = await sql.query<{ principalId: string; sessionId: string; applicationId: number }>(
    `select s.principal_id as "principalId", s.id as "sessionId", s.application_id as "applicationId"
       from run r join session s on s.tenant_id = r.tenant_id and s.id = r.session_id
      where r.tenant_id = $1::uuid and r.id = $2::uuid`,
    [tenantId, runId],
  );
  return row ?? { principalId: null, sessionId: null, applicationId: null };
}

function checkedData({ with: { event, data = {} }, step }: EventInput): { [key: string]: Json } {
  if (!isCustomEvent(event))
    throw new WaybillError('invalid', `step ${step}: "${event}" is not an event name of your own`, { field: 'event' });
  const bytes = Buffer.byteLength(JSON.stringify(data));
  if (bytes > maxEventDataBytes)
    throw new WaybillError('invalid', `step ${step}: data has ${bytes} bytes, more than ${maxEventDataBytes}`, {
      field: 'data',
    });
  return data;
}

/** Names a step of a run, the same in every attempt: 32 characters of 0-9 and a-f. */
export function stepDigest({ tenantId, runId, stepKey }: Pick<EventInput, 'tenantId' | 'runId' | 'stepKey'>): string {
  return createHash('sha256').update(`${tenantId}/${runId}/${stepKey}`).digest('hex').slice(0, 32);
}
