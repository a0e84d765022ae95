import { request } from 'undici';
import { recordEvents } from '../audit/record.ts';
import { signWebhook } from '../audit/webhookSigning.ts';
import type { Log } from '../connectors/contract.ts';
import type { SecretBox } from '../identity/secrets.ts';
import type { Dialler } from '../network/contract.ts';
import type { Store } from '../prisma/contract.ts';
import {
  giveUpMessage,
  type OutboxMessage,
  openMessage,
  pendingMessages,
  recordAttempt,
  unretriedMessages,
} from '../prisma/outbox.ts';
import { asWaybillError, WaybillError } from '../schema/errors.ts';

/** First attempts of one drain, and those under way together. */
const messagesPerDrain = 200;
const messagesInFlight = 16;
const attemptTimeoutMs = 15_000;
const goneStatus = 410;
/** The receiver's answer is kept for people, truncated. */
const keptAnswerCharacters = 300;

export interface WebhookDependencies {
  store: Store;
  secretBox: SecretBox;
  dialler: Dialler;
  log: Log;
  /** Waiting times before the second, third ... attempt. */
  webhookRetryDelaysMs: readonly number[];
}

export interface DrainAnswer {
  failed: Array<{ tenantId: string; deliveryId: string }>;
  more: boolean;
  retryDelaysMs: number[];
}

/**
 * Makes the first attempt of the oldest waiting messages. Answers all that are to be retried by a workflow each, also those
 * of an earlier call whose answer was lost: the table says so, not this attempt's memory.
 */
export async function sendPendingWebhooks(dependencies: WebhookDependencies): Promise<DrainAnswer> {
  const { store, webhookRetryDelaysMs } = dependencies;
  const messages = await store.system((sql) => pendingMessages(sql, messagesPerDrain));
  const queue = messages.values();
  const senders = Array.from({ length: messagesInFlight }, async () => {
    for (const message of queue) {
      if ((await attempt(dependencies, message)) === 'gone') await failWebhook(dependencies, message);
    }
  });
  await Promise.all(senders);
  const failed = await store.system((sql) => unretriedMessages(sql, messagesPerDrain));
  return { failed, more: messages.length === messagesPerDrain, retryDelaysMs: [...webhookRetryDelaysMs] };
}

/** One more attempt of one message. `giveUp` when it is no longer open, or the receiver said 410 Gone. */
export async function sendWebhook(
  dependencies: WebhookDependencies,
  { tenantId, deliveryId }: { tenantId: string; deliveryId: string },
): Promise<{ delivered: boolean; giveUp: boolean }> {
  const message = await dependencies.store.sql(tenantId, (sql) => openMessage(sql, tenantId, deliveryId));
  if (message === undefined) return { delivered: false, giveUp: true };
  const outcome = await attempt(dependencies, message);
  return { delivered: outcome === 'delivered', giveUp: outcome === 'gone' };
}

/** Gives a message up, with an event that says so. Safe twice. */
export async function failWebhook(
  { store }: WebhookDependencies,
  { tenantId, deliveryId }: { tenantId: string; deliveryId: string },
): Promise<void> {
  await store.sql(tenantId, async (sql) => {
    const message = await giveUpMessage(sql, tenantId, deliveryId);
    if (message === undefined) return;
    const { webhookName, messageId, attempts, lastError } = message;
    const data = { webhook: webhookName, messageId, attempts, error: lastError };
    await recordEvents(sql, tenantId, [
      {
        type: 'webhook.failed',
        outcome: 'failure',
        actor: { principalId: null },
        data,
        dedupeKey: `webhook.failed/${deliveryId}`,
      },
    ]);
  });
}

/** `gone`: the receiver said 410, and wants no more of it. */
async function attempt(
  dependencies: WebhookDependencies,
  message: OutboxMessage,
): Promise<'delivered' | 'failed' | 'gone'> {
  const { store } = dependencies;
  const { status, error } = await post(dependencies, message);
  await store.sql(message.tenantId, (sql) => recordAttempt(sql, message.tenantId, message.deliveryId, status, error));
  if (error === null) return 'delivered';
  return status === goneStatus ? 'gone' : 'failed';
}

/** Sends once. 2xx is success; a redirect is a failure and is never followed. */
async function post(
  { store, secretBox, dialler, log }: WebhookDependencies,
  message: OutboxMessage,
): Promise<{ status: number | null; error: string | null }> {
  const { tenantId, messageId, body, url, secretRef } = message;
  try {
    const secret = await readSecret(store, secretBox, tenantId, secretRef);
    const timestamp = Math.floor(Date.now() / 1000);
    const answer = await request(url, {
      method: 'POST',
      dispatcher: dialler.http,
      signal: AbortSignal.timeout(attemptTimeoutMs),
      body,
      headers: {
        'content-type': 'application/json',
        'user-agent': 'waybill-webhooks',
        'webhook-id': messageId,
        'webhook-timestamp': String(timestamp),
        'webhook-signature': signWebhook(secret, messageId, timestamp, body),
      },
    });
    const text = await readTruncated(answer.body);
    if (answer.statusCode >= 200 && answer.statusCode < 300) return { status: answer.statusCode, error: null };
    return { status: answer.statusCode, error: `HTTP ${answer.statusCode}: ${text}` };
  } catch (error) {
    const known =
      error instanceof Error && error.name === 'TimeoutError'
        ? new WaybillError('timeout', `no answer within ${attemptTimeoutMs} ms`)
        : asWaybillError(error);
    log.debug({ tenantId, messageId, kind: known.kind }, 'a webhook attempt failed');
    return { status: null, error: `${known.kind}: ${known.message}`.slice(0, keptAnswerCharacters) };
  }
}

async function readSecret(store: Store, secretBox: SecretBox, tenantId: string, name: string): Promise<string> {
  const [row] = await store.sql(tenantId, (sql) =>
    sql.query<{ ciphertext: Buffer }>('select ciphertext from secret where tenant_id = $1::uuid and name = $2::text', [
      tenantId,
      name,
    ]),
  );
  if (row === undefined)
    throw new WaybillError('not-found', `the signing secret ${name} is not stored; apply the webhook again`);
  return secretBox.open(tenantId, name, row.ciphertext);
}

async function readTruncated(body: AsyncIterable<Buffer> & { destroy(): unknown }): Promise<string> {
  let text = '';
  for await (const chunk of body) {
    text += chunk.toString('utf8');
    if (text.length >= keptAnswerCharacters) break;
  }
  body.destroy();
  return text.slice(0, keptAnswerCharacters);
}
