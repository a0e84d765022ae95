import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { StoreLog } from './store.ts';

const connectTimeoutMs = 10_000;
const firstRetryMs = 200;
const maxRetryMs = 5_000;
/** A connection that died without a word (a firewall, a sleeping machine) is noticed after this. */
const probeEveryMs = 30_000;
const probeTimeoutMs = 10_000;

/**
 * Listens on a channel over a connection of its own. A lost connection is made again for as long as it takes, and then
 * `notify` is called once, since what was told in between is gone. Throws when the first connection fails.
 */
export async function listenTo(
  url: string,
  channel: string,
  notify: () => void,
  log: StoreLog,
): Promise<() => Promise<void>> {
  const stopped = new AbortController();
  let client = await connect(url, channel, notify);
  const watching = (async () => {
    while (!stopped.signal.aborted) {
      await ended(client, stopped.signal);
      await client.end().catch(() => undefined);
      if (stopped.signal.aborted) return;
      log.warn({ channel }, 'the listening database connection was lost');
      const next = await reconnect(url, channel, notify, stopped.signal);
      if (!next) return;
      client = next;
      notify();
    }
  })();
  return async () => {
    stopped.abort();
    await watching;
  };
}

async function connect(url: string, channel: string, notify: () => void): Promise<pg.Client> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: connectTimeoutMs,
    query_timeout: probeTimeoutMs,
    keepAlive: true,
    application_name: 'waybill listener',
  });
  client.on('error', () => undefined);
  client.on('notification', (message) => {
    if (message.channel === channel) notify();
  });
  try {
    await client.connect();
    await client.query(`listen ${client.escapeIdentifier(channel)}`);
    return client;
  } catch (error) {
    await client.end().catch(() => undefined);
    throw error;
  }
}

/** Comes back when the connection has ended, does not answer a probe, or `signal` is aborted. */
function ended(client: pg.Client, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const probe = setInterval(() => void client.query('select 1').catch(finish), probeEveryMs);
    function finish(): void {
      clearInterval(probe);
      client.removeListener('end', finish);
      client.removeListener('error', finish);
      signal.removeEventListener('abort', finish);
      resolve();
    }
    client.once('end', finish);
    client.once('error', finish);
    signal.addEventListener('abort', finish);
    if (signal.aborted) finish();
  });
}

async function reconnect(
  url: string,
  channel: string,
  notify: () => void,
  signal: AbortSignal,
): Promise<pg.Client | undefined> {
  for (let waitMs = firstRetryMs; !signal.aborted; waitMs = Math.min(waitMs * 2, maxRetryMs)) {
    try {
      return await connect(url, channel, notify);
    } catch {
      await delay(waitMs, undefined, { signal }).catch(() => undefined);
    }
  }
  return undefined;
}
