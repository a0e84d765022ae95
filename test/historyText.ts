import type { Client } from '@temporalio/client';
import type { Payload } from '@temporalio/common';
import { decodePayload, payloadOwner } from '../identity/keys/payloadCodec.ts';
import type { TenantKeys } from '../identity/keys/tenantKeys.ts';

/** All that Temporal keeps of a workflow's history: as it is stored, base64 read, and after decryption. */
export async function historyText(
  { temporal, tenantKeys }: { temporal: Client; tenantKeys: TenantKeys },
  workflowId: string,
): Promise<{ stored: string; decrypted: string }> {
  const history = JSON.parse(JSON.stringify(await temporal.workflow.getHandle(workflowId).fetchHistory()));
  const stored = readable(history);
  await decryptIn(history, tenantKeys);
  return { stored, decrypted: readable(history) };
}

function readable(history: unknown): string {
  return JSON.stringify(history).replace(/"data":"([A-Za-z0-9+/=]+)"/g, (_, data) =>
    Buffer.from(data, 'base64').toString('utf8'),
  );
}

/** Puts what each payload held in its place. */
async function decryptIn(value: unknown, tenantKeys: TenantKeys): Promise<void> {
  if (typeof value !== 'object' || value === null) return;
  const held = value as { metadata?: Record<string, string>; data?: string };
  if (typeof held.data === 'string' && typeof held.metadata === 'object') {
    const fields = Object.entries(held.metadata).map(([name, text]) => [name, Buffer.from(text, 'base64')]);
    const payload: Payload = { metadata: Object.fromEntries(fields), data: Buffer.from(held.data, 'base64') };
    if (payloadOwner(payload) !== null)
      held.data = Buffer.from((await decodePayload(tenantKeys, payload)).data!).toString('base64');
    return;
  }
  for (const inner of Object.values(value)) await decryptIn(inner, tenantKeys);
}
