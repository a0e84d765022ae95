import type { Connector, ConnectorContext, Log, Service, Services } from '../connectors/contract.ts';
import type { ConnectorRegistry, OpenedEndpoint } from '../connectors/registry.ts';
import type { SecretBox } from '../identity/secrets.ts';
import type { Store } from '../prisma/contract.ts';
import { findEndpoint, type StoredEndpoint } from '../prisma/endpoints.ts';
import { WaybillError } from '../schema/errors.ts';
import { withEndpointName, withEndpointNameOnService } from './endpointErrors.ts';
import { createGate, type Gate } from './transfer/gate.ts';

/** Live endpoints, shared by all activities of the process. */
export interface EndpointPool {
  /**
   * Lends the connector of a tenant's endpoint. Its errors name the endpoint. Throws not-found when there is no such
   * endpoint, invalid when its stored config no longer fits its connector, unsupported when it holds no files. A connector
   * that was lent is closed only when it is back, even when the endpoint has changed meanwhile.
   */
  use<Result>(
    tenantId: string,
    endpointName: string,
    work: (connector: Connector, settings: EndpointSettings) => Promise<Result>,
  ): Promise<Result>;
  /** As `use`, for an endpoint that is there for something else than files. */
  useService<Kind extends Exclude<Service, 'files'>, Result>(
    tenantId: string,
    endpointName: string,
    kind: Kind,
    work: (endpoint: Services[Kind]) => Promise<Result>,
  ): Promise<Result>;
  /** Closes every endpoint. Safe twice. */
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
  opened: OpenedEndpoint;
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
    const opened = registry.open(stored.connector, stored.config, secrets, connectorContext);
    const concurrency = stored.concurrency ?? concurrencyWhenUnlimited;
    const gate = createGate(concurrency);
    return {
      revision: stored.revision,
      opened: named(opened, name, gate),
      settings: { concurrency, gate },
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
      await lent.opened.endpoint.close();
    } catch (error) {
      log.warn({ error: String(error) }, 'closing an endpoint failed');
    }
  }

  async function using<Kind extends Service, Result>(
    tenantId: string,
    name: string,
    kind: Kind,
    work: (endpoint: Services[Kind], settings: EndpointSettings) => Promise<Result>,
  ): Promise<Result> {
    const lent = await lend(tenantId, name);
    if (lent.opened.serves !== kind) throw wrongService(name, lent.opened.serves, kind);
    lent.users++;
    try {
      return await work(lent.opened.endpoint as Services[Kind], lent.settings);
    } finally {
      lent.users--;
      lent.usedAt = Date.now();
      if (lent.outdated && lent.users === 0) await shut(lent);
    }
  }

  return {
    use: (tenantId, endpointName, work) => using(tenantId, endpointName, 'files', work),
    useService: (tenantId, endpointName, kind, work) => using(tenantId, endpointName, kind, work),
    async close() {
      closed = true;
      clearInterval(idleCheck);
      const all = [...open.values()];
      open.clear();
      await Promise.all(all.map(shut));
    },
  };
}

function named(opened: OpenedEndpoint, name: string, gate: Gate): OpenedEndpoint {
  return opened.serves === 'files'
    ? { serves: 'files', endpoint: withEndpointName(opened.endpoint, name) }
    : withEndpointNameOnService(opened, name, gate);
}

const serviceWords: Record<Service, { is: string; use: string }> = {
  files: { is: 'holds files', use: 'a file action takes an endpoint of a connector such as sftp or local' },
  requests: { is: 'is an HTTP interface', use: 'http.request takes an endpoint of connector http' },
  messages: { is: 'sends messages', use: 'notify.send takes an endpoint of connector smtp, slack or teams' },
};

function wrongService(endpoint: string, is: Service, wanted: Service): WaybillError {
  const message = `${endpoint} ${serviceWords[is].is}, and the step needs something else: ${serviceWords[wanted].use}`;
  return new WaybillError('unsupported', message, { operation: 'opening', endpoint });
}
