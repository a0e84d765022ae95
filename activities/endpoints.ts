import { randomUUID } from 'node:crypto';
import type { Capabilities, Connector, ConnectorContext, Log, Service, Services } from '../connectors/contract.ts';
import type { ConnectorRegistry, OpenedEndpoint } from '../connectors/registry.ts';
import { allowedTo, type HostSecrets, readHostReference } from '../identity/hostSecrets.ts';
import type { SecretBox } from '../identity/secrets.ts';
import type { Store } from '../prisma/contract.ts';
import { type EndpointStanding, endpointStandings, findEndpoint, type StoredEndpoint } from '../prisma/endpoints.ts';
import { asWaybillError, WaybillError } from '../schema/errors.ts';
import { parseSizeBytes } from '../schema/quantities.ts';
import { type EndpointWatch, withEndpointName, withEndpointNameOnService } from './endpointErrors.ts';
import { type Allowance, createAllowance, type LeaseTimes, leaseTimes } from './limits/allowance.ts';
import { type Breaker, breakerOf } from './limits/breaker.ts';
import { heldError, holdNow, holdOf, triedHold } from './limits/hold.ts';
import { inSmallPieces } from './limits/pieces.ts';
import type { Gate } from './transfer/gate.ts';

/** Live endpoints, shared by all activities of the process. */
export interface EndpointPool {
  /**
   * Lends the connector of a tenant's endpoint. Its errors name the endpoint. Throws not-found when there is no such
   * endpoint, invalid when its stored config no longer fits its connector, unsupported when it holds no files, and what
   * `holdOf` knows while it is paused or its breaker is open. A connector that was lent is closed only when it is back,
   * even when the endpoint has changed meanwhile.
   */
  use<Result>(
    tenantId: string,
    endpointName: string,
    work: (connector: Connector, settings: EndpointSettings) => Promise<Result>,
  ): Promise<Result>;
  /** What the connector of an endpoint can do, which takes no connection: also while it is held. Throws as `use` does otherwise. */
  capabilities(tenantId: string, endpointName: string): Promise<Capabilities>;
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
  /** Files at the same time, over all workers: the endpoint's `limits.concurrency`. */
  concurrency: number;
  /** Keeps to this process's share of it, over all its activities. */
  gate: Gate;
  /** What to throw when the endpoint was paused since it was lent; null: go on. */
  held(): WaybillError | null;
}

/** An endpoint nobody uses for so long is closed. */
const idleMs = 60_000;
const idleCheckMs = 10_000;
/** How often it is looked whether endpoints in use were paused, or their limits changed. */
const lookEveryMs = 3_000;
/** For endpoints that set no limit of their own. */
const concurrencyWhenUnlimited = 64;

interface NamedTenant {
  tenantId: string;
  tenantName: string;
}

interface Lent {
  tenantId: string;
  name: string;
  endpointId: string;
  revision: string;
  opened: OpenedEndpoint;
  settings: EndpointSettings;
  allowance: Allowance;
  breaker: Breaker;
  /** Failures are known that the next success puts an end to. */
  failing: boolean;
  /** It has answered since. */
  answered: boolean;
  /** Why it takes no work since it was lent. */
  held: WaybillError | null;
  users: number;
  usedAt: number;
  /** A newer revision has taken its place. */
  outdated: boolean;
}

export function createEndpointPool(dependencies: {
  store: Store;
  registry: ConnectorRegistry;
  secretBox: Pick<SecretBox, 'open'>;
  hostSecrets: HostSecrets;
  connectorContext: ConnectorContext;
  log: Log;
  times?: LeaseTimes;
}): EndpointPool {
  const { store, registry, secretBox, hostSecrets, connectorContext, log, times = leaseTimes } = dependencies;
  const open = new Map<string, Lent>();
  const inUse = new Set<Lent>();
  const allowances = new Map<string, Allowance>();
  const owner = randomUUID();
  let closed = false;
  const idleCheck = setInterval(() => closeIdle(), idleCheckMs);
  idleCheck.unref();
  let looking = false;
  const look = setInterval(() => {
    if (!looking) void lookAtStandings();
  }, lookEveryMs);
  look.unref();

  async function find(tenantId: string, name: string): Promise<{ lent: Lent; standing: EndpointStanding }> {
    if (closed) throw stopping(name);
    const stored = await store.sql(tenantId, (sql) => findEndpoint(sql, tenantId, name));
    if (stored === undefined)
      throw new WaybillError('not-found', `there is no endpoint ${name}`, { operation: 'opening', endpoint: name });
    const key = `${tenantId}/${name}`;
    let lent = open.get(key);
    if (lent?.revision !== stored.revision) {
      const tenantName = await tenantNameOf(tenantId);
      const secrets = await openSecrets({ tenantId, tenantName }, name, stored);
      if (closed) throw stopping(name);
      // Meanwhile another use may have opened it.
      lent = open.get(key);
      if (lent?.revision !== stored.revision) {
        if (lent !== undefined) retire(key, lent);
        lent = connect({ tenantId, tenantName }, name, stored, secrets);
        open.set(key, lent);
      }
    }
    lent.allowance.update(stored.limits);
    lent.failing = stored.standing.breaker !== null;
    if (lent.failing) lent.answered = false;
    return { lent, standing: stored.standing };
  }

  /** Throws while the endpoint is held. After that of an open breaker one use goes through, to try. */
  async function admit({ name, revision, breaker }: Lent, standing: EndpointStanding): Promise<void> {
    const hold = holdNow(name, standing, revision);
    if (hold === null) return;
    if (hold !== 'trial') throw heldError(hold);
    if (await breaker.takeTrial()) return;
    throw heldError(triedHold(name, standing.breaker!, standing.nowMs));
  }

  /** What the operator lends is lent by name. */
  async function tenantNameOf(tenantId: string): Promise<string> {
    const [tenant] = await store.sql(tenantId, (sql) =>
      sql.query<{ name: string }>('select name from tenant where id = $1::uuid', [tenantId]),
    );
    if (tenant === undefined) throw new WaybillError('not-found', 'there is no such tenant');
    return tenant.name;
  }

  async function openSecrets(
    { tenantId, tenantName }: NamedTenant,
    name: string,
    stored: StoredEndpoint,
  ): Promise<Record<string, string>> {
    const secrets: Record<string, string> = {};
    for (const [secret, { name: storedName, ciphertext }] of Object.entries(stored.secrets)) {
      const lent = readHostReference(storedName);
      if (lent !== undefined) {
        secrets[secret] = await hostSecrets.read(tenantName, lent);
        continue;
      }
      if (ciphertext === null)
        throw new WaybillError('invalid', `the secret ${storedName} (${secret} of ${name}) is not stored`, {
          endpoint: name,
        });
      secrets[secret] = await secretBox.open(tenantId, storedName, ciphertext);
    }
    return secrets;
  }

  function connect(
    { tenantId, tenantName }: NamedTenant,
    name: string,
    stored: StoredEndpoint,
    secrets: Record<string, string>,
  ): Lent {
    const localRoots = allowedTo(tenantName, connectorContext.localRoots);
    const opened = registry.open(stored.connector, stored.config, secrets, { ...connectorContext, localRoots });
    const { id: endpointId, limits, revision } = stored;
    const allowance = allowanceOf(tenantId, stored);
    const watch: EndpointWatch = {
      admit: (bytes, signal) => allowance.throttle.take(bytes, signal),
      answered: () => {
        lent.answered = true;
      },
      worked: () => {
        if (lent.failing) void worked(lent);
      },
    };
    const lent: Lent = {
      tenantId,
      name,
      endpointId,
      revision,
      opened: named(opened, name, allowance.gate, watch, limits.bandwidth),
      settings: {
        concurrency: limits.concurrency ?? concurrencyWhenUnlimited,
        gate: allowance.gate,
        held: () => lent.held,
      },
      allowance,
      breaker: breakerOf(store, { tenantId, endpointId, name, credential: revision }),
      failing: false,
      answered: false,
      held: null,
      users: 0,
      usedAt: Date.now(),
      outdated: false,
    };
    return lent;
  }

  /** Over all revisions of an endpoint: what an older one has under way counts too. */
  function allowanceOf(tenantId: string, { id: endpointId, limits }: StoredEndpoint): Allowance {
    const key = `${tenantId}/${endpointId}`;
    const present = allowances.get(key);
    if (present !== undefined) return present;
    const fresh = createAllowance({ store, log, owner, times }, { tenantId, endpointId }, limits);
    allowances.set(key, fresh);
    return fresh;
  }

  async function worked(lent: Lent): Promise<void> {
    lent.failing = false;
    await quietly(lent, () => lent.breaker.worked());
  }

  /** What the end of a use says about the endpoint. */
  async function judge(lent: Lent, thrown: unknown): Promise<void> {
    const error = asWaybillError(thrown);
    const isAboutUs = error.context.endpoint === lent.name;
    if (!isAboutUs || error.kind === 'cancelled' || holdOf(error) !== null)
      return lent.failing ? quietly(lent, () => lent.breaker.releaseTrial()) : undefined;
    if (error.scope === 'connection' || error.scope === 'endpoint') {
      lent.failing = true;
      lent.answered = false;
      return quietly(lent, () => lent.breaker.failed(error));
    }
    // It has answered, if only to refuse one file.
    if (lent.failing && error.scope === 'file') await worked(lent);
  }

  /** The database may be away: then nothing is counted. */
  async function quietly({ name }: Lent, write: () => Promise<void>): Promise<void> {
    try {
      await write();
    } catch (error) {
      log.warn({ endpoint: name, error: String(error) }, 'the breaker of an endpoint could not be written');
    }
  }

  /** Pauses and new limits reach what is under way. */
  async function lookAtStandings(): Promise<void> {
    looking = true;
    try {
      for (const tenantId of new Set([...inUse].map((lent) => lent.tenantId))) {
        const lents = [...inUse].filter((lent) => lent.tenantId === tenantId);
        const names = [...new Set(lents.map(({ name }) => name))];
        const found = await store.sql(tenantId, (sql) => endpointStandings(sql, tenantId, names));
        for (const { name, limits, standing } of found)
          for (const lent of lents.filter((other) => other.name === name)) {
            lent.allowance.update(limits);
            const hold = standing.pause === null ? null : holdNow(name, standing, lent.revision);
            lent.held = hold === null || hold === 'trial' ? null : heldError(hold);
          }
      }
    } catch (error) {
      log.debug({ error: String(error) }, 'could not look whether endpoints were paused');
    } finally {
      looking = false;
    }
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
    const { lent, standing } = await find(tenantId, name);
    if (lent.opened.serves !== kind) throw wrongService(name, lent.opened.serves, kind);
    await admit(lent, standing);
    if (lent.users++ === 0) lent.held = null;
    inUse.add(lent);
    try {
      const result = await work(lent.opened.endpoint as Services[Kind], lent.settings);
      if (lent.failing && (lent.answered || kind !== 'files')) await worked(lent);
      return result;
    } catch (error) {
      await judge(lent, error);
      throw error;
    } finally {
      lent.users--;
      lent.usedAt = Date.now();
      if (lent.users === 0) inUse.delete(lent);
      if (lent.outdated && lent.users === 0) await shut(lent);
    }
  }

  return {
    use: (tenantId, endpointName, work) => using(tenantId, endpointName, 'files', work),
    async capabilities(tenantId, endpointName) {
      const { opened } = (await find(tenantId, endpointName)).lent;
      if (opened.serves !== 'files') throw wrongService(endpointName, opened.serves, 'files');
      return { ...opened.endpoint.capabilities };
    },
    useService: (tenantId, endpointName, kind, work) => using(tenantId, endpointName, kind, work),
    async close() {
      closed = true;
      clearInterval(idleCheck);
      clearInterval(look);
      const all = [...open.values()];
      open.clear();
      await Promise.all(all.map(shut));
      await Promise.all([...allowances.values()].map((allowance) => allowance.close()));
    },
  };
}

function named(
  opened: OpenedEndpoint,
  name: string,
  gate: Gate,
  watch: EndpointWatch,
  bandwidth: string | undefined,
): OpenedEndpoint {
  if (opened.serves !== 'files') return withEndpointNameOnService(opened, name, gate);
  const connector = withEndpointName(opened.endpoint, name, watch);
  const bytesPerSecond = bandwidth === undefined ? undefined : parseSizeBytes(bandwidth);
  return { serves: 'files', endpoint: inSmallPieces(connector, bytesPerSecond) };
}

function stopping(endpoint: string): WaybillError {
  return new WaybillError('unavailable', 'this worker is shutting down', { endpoint });
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
