import type { Connector, ConnectorContext, Log } from '../connectors/contract.ts';
import type { ConnectorRegistry } from '../connectors/registry.ts';
import type { SecretBox } from '../identity/secrets.ts';
import type { Store } from '../prisma/contract.ts';
import { findEndpoint, type StoredEndpoint } from '../prisma/endpoints.ts';
import { WaybillError } from '../schema/errors.ts';
import { withEndpointName } from './endpointErrors.ts';
import { createGate, type Gate } from './transfer/gate.ts';

/** Live connectors, shared by all activities of the process. */
export interface EndpointPool {
  /**
   * Lends the connector of a tenant's endpoint. Its errors name the endpoint. Throws not-found when there is no such
   * endpoint, invalid when its stored config no longer fits its connector. A connector that was lent is closed only when
   * it is back, even when the endpoint has changed meanwhile.
   */
  use<Result>(
    tenantId: string,
    endpointName: string,
    work: (connector: Connector, settings: EndpointSettings) => Promise<Result>,
  ): Promise<Result>;
  /** Closes every connector. Safe twice. */
  close(): Promise<void>;
}

export interface EndpointSettings {
  /** Files at the same time: the endpoint's `limits.concurrency`. */
  concurrency: number;
  /** Keeps to `concurrency` over all activities of this process. */
  gate: Gate;
}

/** An endpoint nobody uses for so long is closed. */
const idleMs = 60_000;
const idleCheckMs = 10_000;
/** Files at the same time over an endpoint that sets no limit of its own; the connector's own figure is usually lower. */
const concurrencyWhenUnlimited = 64;

interface Lent {
  revision: string;
  connector: Connector;
  settings: EndpointSettings;
  users: number;
  usedAt: number;
  /** A newer revision has taken its place. */
  outdated: boolean;
}

export function createEndpointPool(dependencies: {
  store: Store;
  registry: ConnectorRegistry;
  secretBox: Pick<SecretBox, 'open'>;
  connectorContext: ConnectorContext;
  log: Log;
}): EndpointPool {
  const { store, registry, secretBox, connectorContext, log } = dependencies;
  const open = new Map<string, Lent>();
  let closed = false;
  const idleCheck = setInterval(() => closeIdle(), idleCheckMs);
  idleCheck.unref();

  async function lend(tenantId: string, name: string): Promise<Lent> {
    if (closed) throw new WaybillError('unavailable', 'this worker is shutting down', { endpoint: name });
    const stored = await store.sql(tenantId, (sql) => findEndpoint(sql, tenantId, name));
    if (stored === undefined)
      throw new WaybillError('not-found', `there is no endpoint ${name}`, { operation: 'opening', endpoint: name });
    const key = `${tenantId}/${name}`;
    const present = open.get(key);
    if (present?.revision === stored.revision) return present;
    if (present !== undefined) retire(key, present);
    const fresh = connect(tenantId, name, stored);
    open.set(key, fresh);
    return fresh;
  }

  function connect(tenantId: string, name: string, stored: StoredEndpoint): Lent {
    const secrets: Record<string, string> = {};
    for (const [secret, { name: storedName, ciphertext }] of Object.entries(stored.secrets)) {
      if (ciphertext === null)
        throw new WaybillError('invalid', `the secret ${storedName} (${secret} of ${name}) is not stored`, {
          endpoint: name,
        });
      secrets[secret] = secretBox.open(tenantId, storedName, ciphertext);
    }
    const connector = registry.open(stored.connector, stored.config, secrets, connectorContext);
    const concurrency = stored.concurrency ?? concurrencyWhenUnlimited;
    return {
      revision: stored.revision,
      connector: withEndpointName(connector, name),
      settings: { concurrency, gate: createGate(concurrency) },
      users: 0,
      usedAt: Date.now(),
      outdated: false,
    };
  }

  function retire(key: string, lent: Lent) {
    if (open.get(key) === lent) open.delete(key);
    lent.outdated = true;
    if (lent.users === 0) void shut(lent);
  }

  function closeIdle() {
    for (const [key, lent] of open) if (lent.users === 0 && Date.now() - lent.usedAt > idleMs) retire(key, lent);
  }

  async function shut(lent: Lent) {
    try {
      await lent.connector.close();
    } catch (error) {
      log.warn({ error: String(error) }, 'closing an endpoint failed');
    }
  }

  return {
    async use(tenantId, endpointName, work) {
      const lent = await lend(tenantId, endpointName);
      lent.users++;
      try {
        return await work(lent.connector, lent.settings);
      } finally {
        lent.users--;
        lent.usedAt = Date.now();
        if (lent.outdated && lent.users === 0) await shut(lent);
      }
    },
    async close() {
      closed = true;
      clearInterval(idleCheck);
      const all = [...open.values()];
      open.clear();
      await Promise.all(all.map(shut));
    },
  };
}
