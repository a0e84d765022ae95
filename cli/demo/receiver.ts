import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { verifyWebhook } from '../../audit/webhookSigning.ts';

export interface ReceivedWebhook {
  id: string;
  type: string;
  /** The signature is ours and fresh: checked over the exact bytes that came. */
  verified: boolean;
  body: unknown;
}

export interface WebhookReceiver {
  url: string;
  /** The first webhook of that type, or null when none comes in that time. */
  received(type: string, timeoutMs: number): Promise<ReceivedWebhook | null>;
  close(): Promise<void>;
}

const maxBodyBytes = 64 * 1024;

/** An application of ACME's customer, as small as one gets: takes webhooks and checks their signature (Standard Webhooks). */
export async function startReceiver(secret: string): Promise<WebhookReceiver> {
  const webhooks: ReceivedWebhook[] = [];
  const waiting = new Set<() => void>();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= maxBodyBytes) chunks.push(chunk);
      else request.destroy();
    });
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString('utf8');
      const verified = isVerified(secret, request.headers, text);
      const body = parse(text);
      webhooks.push({ id: String(request.headers['webhook-id']), type: typeOf(body), verified, body });
      response.writeHead(verified ? 204 : 401).end();
      for (const wake of waiting) wake();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`,
    async received(type, timeoutMs) {
      const deadline = Date.now() + timeoutMs;
      for (;;) {
        const found = webhooks.find((webhook) => webhook.type === type);
        if (found !== undefined || Date.now() >= deadline) return found ?? null;
        await nextWebhook(waiting, deadline - Date.now());
      }
    },
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

function nextWebhook(waiting: Set<() => void>, timeoutMs: number): Promise<void> {
  return new Promise((resolve) => {
    const wake = (): void => {
      clearTimeout(timer);
      waiting.delete(wake);
      resolve();
    };
    const timer = setTimeout(wake, timeoutMs);
    waiting.add(wake);
  });
}

function isVerified(secret: string, headers: Record<string, string | string[] | undefined>, body: string): boolean {
  try {
    verifyWebhook(secret, headers, body);
    return true;
  } catch {
    return false;
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function typeOf(body: unknown): string {
  const type = typeof body === 'object' && body !== null && 'type' in body ? body.type : undefined;
  return typeof type === 'string' ? type : '';
}
