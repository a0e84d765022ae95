import { recordEvents } from '../audit/record.ts';
import type { Connector, Log, SinkToken } from '../connectors/contract.ts';
import type { Store } from '../prisma/contract.ts';
import {
  endpointsWithTrouble,
  foldersWithTrouble,
  forgetSweptWrites,
  keptWrites,
  tenantsWithRuns,
} from '../prisma/ledger.ts';
import { asWaybillError, type WaybillError } from '../schema/errors.ts';
import type { EndpointPool, EndpointSettings } from './endpoints.ts';
import { holdOf } from './limits/hold.ts';

/** Of one endpoint in one round. The rest waits for the next round. */
const limits = {
  /** A younger write may be under way. */
  olderThanMs: 24 * 3_600_000,
  /** Deliveries, and steps that write small files, of so many days say where something may be left. */
  days: 14,
  folders: 1_000,
  endpointMs: 5 * 60_000,
  /** Endpoints of one answer, and tenants that are looked at for it. */
  pageEndpoints: 200,
  pageTenants: 100,
} as const;

export interface SweepDependencies {
  store: Store;
  endpoints: EndpointPool;
  log: Log;
}

export interface SweptPlace {
  tenantId: string;
  endpoint: string;
}

export interface SweepPage {
  places: SweptPlace[];
  /** From where on the next page begins; null: there is none. */
  next: SweptPlace | null;
}

/** Endpoints, of all tenants, that deliveries and steps of the last two weeks may have left something at. */
export async function findLeftOvers(
  { store }: Pick<SweepDependencies, 'store'>,
  { from }: { from: SweptPlace | null },
): Promise<SweepPage> {
  const { days, pageEndpoints, pageTenants } = limits;
  const tenants = await store.system((sql) =>
    tenantsWithRuns(sql, { days, from: from?.tenantId ?? null, most: pageTenants + 1 }),
  );
  const places: SweptPlace[] = [];
  for (const tenantId of tenants.slice(0, pageTenants)) {
    const after = tenantId === from?.tenantId ? from.endpoint : '';
    const most = pageEndpoints - places.length;
    const found = await store.sql(tenantId, (sql) => endpointsWithTrouble(sql, tenantId, { days, after, most }));
    places.push(...found.map((endpoint) => ({ tenantId, endpoint })));
    if (places.length === pageEndpoints) return { places, next: places.at(-1)! };
  }
  const nextTenant = tenants[pageTenants];
  return { places, next: nextTenant === undefined ? null : { tenantId: nextTenant, endpoint: '' } };
}

/**
 * Removes unfinished writes from the folders of one endpoint that may have some, by the rules of `endpoints sweep`: only old
 * ones, and none that a run may go on with. What it did and what kept it from more is the event `endpoint.swept`. Throws
 * only when the database cannot be reached. Safe twice.
 */
export async function sweepEndpoint(
  { store, endpoints, log }: SweepDependencies,
  { tenantId, endpoint }: SweptPlace,
  signal: AbortSignal,
): Promise<{ removed: number; failed: boolean }> {
  const { days, folders: most } = limits;
  const { folders, kept } = await store.sql(tenantId, async (sql) => ({
    folders: await foldersWithTrouble(sql, tenantId, { days, endpoint, most }),
    kept: await keptWrites(sql, tenantId),
  }));
  const done: Done = { folders: 0, removed: 0, failure: null };
  const stop = AbortSignal.any([signal, AbortSignal.timeout(limits.endpointMs)]);
  try {
    await endpoints.use(tenantId, endpoint, (connector, settings) =>
      sweepFolders({ connector, settings, kept, done, signal: stop }, folders),
    );
  } catch (error) {
    done.failure ??= asWaybillError(error);
  }
  const { removed, failure } = done;
  const error = failure === null ? null : { kind: failure.kind, message: failure.message };
  if (error !== null) log.warn({ tenantId, endpoint, ...error }, 'an endpoint could not be swept');
  const data = { endpoint, folders: done.folders, olderThan: '24h', removed, error };
  const outcome = failure === null ? 'success' : 'failure';
  await store.sql(tenantId, async (sql) => {
    await recordEvents(sql, tenantId, [{ type: 'endpoint.swept', outcome, actor: { principalId: null }, data }]);
    if (failure === null) await forgetSweptWrites(sql, tenantId, { endpoint, folders });
  });
  return { removed, failed: failure !== null };
}

interface Done {
  folders: number;
  removed: number;
  /** The first one. */
  failure: WaybillError | null;
}

interface Sweeping {
  connector: Connector;
  settings: EndpointSettings;
  kept: readonly SinkToken[];
  done: Done;
  signal: AbortSignal;
}

/** A folder that cannot be swept does not keep the others from it. Throws what is wrong with the endpoint. */
async function sweepFolders(sweeping: Sweeping, folders: readonly string[]): Promise<void> {
  const { settings, done, signal } = sweeping;
  for (const folder of folders) {
    signal.throwIfAborted();
    const held = settings.held();
    if (held !== null) throw held;
    try {
      done.removed += await sweepFolder(sweeping, folder);
      done.folders++;
    } catch (thrown) {
      const error = asWaybillError(thrown);
      if (error.scope !== 'file' && error.scope !== 'request') throw error;
      if (holdOf(error) !== null || signal.aborted) throw error;
      done.failure ??= error;
    }
  }
}

/** One that is gone holds nothing. It counts as a file under the endpoint's limit. */
async function sweepFolder({ connector, settings, kept, signal }: Sweeping, folder: string): Promise<number> {
  if (connector.sweep === undefined) return 0;
  const leave = await settings.gate.enter(signal);
  try {
    return await connector.sweep(folder, limits.olderThanMs, signal, kept);
  } catch (error) {
    if (asWaybillError(error).kind === 'not-found') return 0;
    throw error;
  } finally {
    leave();
  }
}
