import { randomBytes } from 'node:crypto';
import { Webhook, WebhookVerificationError } from 'standardwebhooks';
import { WaybillError } from '../schema/errors.ts';

/** Standard Webhooks 1.0.0: a symmetric secret has 24 to 64 bytes. */
const minSecretBytes = 24;
const maxSecretBytes = 64;
const newSecretBytes = 32;
const prefix = 'whsec_';

/** A new secret in the form that both sides store: `whsec_` and base64. */
export function newSigningSecret(): string {
  return prefix + randomBytes(newSecretBytes).toString('base64');
}

/**
 * The `webhook-signature` header of one attempt: `v1,` and base64 of the HMAC-SHA256 of id, time and exact body. Time is
 * that of the attempt, in seconds since 1970. With several secrets, during a rotation, one signature each.
 *
 * Throws invalid when a secret is not a `whsec_` text of 24 to 64 bytes, or the id holds a full stop.
 */
export function signWebhook(
  secrets: string | readonly string[],
  id: string,
  timestampSeconds: number,
  body: string,
): string {
  // The signed text is joined by full stops: one in the id would let a part of it pass as the time.
  if (id.includes('.')) throw new WaybillError('invalid', 'a webhook id holds no full stop', { field: 'webhook-id' });
  const all = typeof secrets === 'string' ? [secrets] : secrets;
  return all.map((secret) => openSecret(secret).sign(id, new Date(timestampSeconds * 1000), body)).join(' ');
}

/**
 * For receivers: checks signature and freshness (5 minutes both ways) of the exact bytes received. Several secrets are
 * tried during a rotation. Throws unauthenticated, without saying which part was wrong.
 */
export function verifyWebhook(
  secrets: string | readonly string[],
  headers: Record<string, string | string[] | undefined>,
  body: string,
): void {
  const single: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) if (typeof value === 'string') single[name] = value;
  const all = (typeof secrets === 'string' ? [secrets] : secrets).map(openSecret);
  const verified = all.some((webhook) => isSigned(webhook, single, body));
  if (!verified) throw new WaybillError('unauthenticated', 'the webhook is not signed by us, or is not fresh');
}

function isSigned(webhook: Webhook, headers: Record<string, string>, body: string): boolean {
  try {
    webhook.verify(body, headers, { jsonParse: false });
    return true;
  } catch (error) {
    if (error instanceof WebhookVerificationError) return false;
    throw error;
  }
}

/** The library takes any base64, with or without the prefix, and an empty key only by accident not. */
function openSecret(secret: string): Webhook {
  const encoded = secret.startsWith(prefix) ? secret.slice(prefix.length) : '';
  const key = Buffer.from(encoded, 'base64');
  const canonical = key.toString('base64') === encoded;
  if (!canonical || key.length < minSecretBytes || key.length > maxSecretBytes) {
    throw new WaybillError(
      'invalid',
      `a signing secret is ${prefix} and the base64 of ${minSecretBytes} to ${maxSecretBytes} bytes`,
      { field: 'secrets.signing' },
    );
  }
  return new Webhook(secret);
}
