import { setTimeout as delay } from 'node:timers/promises';
import { createApiKey } from '../../identity/apiKeys.ts';
import { createPasswordHashing } from '../../identity/passwordHashing.ts';
import { createTenant, type FoundedTenant, type NewTenant } from '../../identity/tenants/createTenant.ts';
import { type ExportManifest, exportTenant } from '../../identity/tenants/exportTenant.ts';
import { findTenant, type Tenant } from '../../identity/tenants/findTenant.ts';
import { listTenants, type TenantPage } from '../../identity/tenants/listTenants.ts';
import { resumeTenant, type Suspension, suspendTenant } from '../../identity/tenants/suspendTenant.ts';
import { runsThatGoOn } from '../../prisma/admission.ts';
import type { Store } from '../../prisma/contract.ts';
import { openStore } from '../../prisma/store.ts';
import { type RemovedRows, removeRows, removeTenant } from '../../prisma/tenantRemoval.ts';
import { countRows, tenantTables } from '../../prisma/tenantTables.ts';
import { WaybillError } from '../../schema/errors.ts';
import { createLog } from '../log.ts';
import type { OperatorSettings } from '../settings.ts';
import { withNewFile } from './newFile.ts';
import { connectTenantWorkflows, type RemovedWork, type TenantWorkflows } from './tenantWorkflows.ts';

/** What the operator of an installation does with its tenants, with the credentials of the database. */
export interface Tenants {
  /** Throws as `createTenant` and `withNewFile` do. `apiKeyFile`: gets a key of the owner. */
  create(tenant: NewTenant, apiKeyFile: string | null): Promise<FoundedTenant>;
  /** Throws invalid when the settings have no system role, which alone sees more than one tenant. */
  list(page: { first: number; after?: string }): Promise<TenantPage>;
  /** `told` is false when Temporal could not be asked to end the runs: the worker's sweep tells it within a minute. */
  suspend(name: string): Promise<Suspension & { told: boolean }>;
  /** False when it was not suspended. */
  resume(name: string): Promise<boolean>;
  export(name: string, folder: string): Promise<ExportManifest>;
  delete(name: string, options: { cancelRuns: boolean }): Promise<Removal>;
  close(): Promise<void>;
}

/** The proof: what was counted after all of it. */
export interface Removal {
  tenantId: string;
  removed: RemovedRows;
  /** Rows that any table still holds. */
  remaining: number;
  workflows: number;
  /** Executions that Temporal still holds. */
  remainingWorkflows: number;
  schedules: number;
}

/** Connects at the first use. Each method but `create` and `list` throws not-found when there is no tenant of that name. */
export function openTenants(settings: OperatorSettings): Tenants {
  const log = createLog('tenants', 'error');
  const { ownerUrl, applicationUrl, systemUrl } = settings;
  const owner = openStore({ applicationUrl: ownerUrl, log });
  const application = openStore({ applicationUrl, systemUrl: systemUrl ?? undefined, log });
  const connect = () => connectTenantWorkflows(settings.temporalAddress, settings.temporalNamespace);
  return {
    create: (tenant, apiKeyFile) => create(owner, tenant, apiKeyFile),
    list: async (page) => {
      if (systemUrl === null)
        throw new WaybillError(
          'invalid',
          'DATABASE_SYSTEM_URL is not set; the role it names sees all tenants, no other does',
        );
      return listTenants(application, page);
    },
    suspend: async (name) => {
      const { id } = await findTenant(application, name);
      const suspension = await suspendTenant(owner, id, { cancelRuns: true });
      return { ...suspension, told: await tell(connect, suspension) };
    },
    resume: async (name) => resumeTenant(owner, (await findTenant(application, name)).id),
    export: async (name, folder) => exportTenant({ owner, ownerUrl }, await findTenant(application, name), folder),
    delete: async (name, { cancelRuns }) => {
      const tenant = await findTenant(application, name);
      const workflows = await connect();
      try {
        return await remove(owner, workflows, tenant, cancelRuns);
      } finally {
        await workflows.close();
      }
    },
    close: async () => {
      await owner.close();
      await application.close();
    },
  };
}

async function create(owner: Store, tenant: NewTenant, apiKeyFile: string | null): Promise<FoundedTenant> {
  const found = () => createTenant(owner, createPasswordHashing(), tenant);
  if (apiKeyFile === null) return found();
  return withNewFile(apiKeyFile, async (write) => {
    const founded = await found();
    const { secret } = await createApiKey(owner, { ...founded, name: 'first key', scopes: ['*'] });
    await write(`${secret}\n`);
    return founded;
  });
}

async function tell(connect: () => Promise<TenantWorkflows>, { runs }: Suspension): Promise<boolean> {
  if (runs.length === 0) return true;
  try {
    const workflows = await connect();
    try {
      await workflows.cancel(runs.map(({ workflowId }) => workflowId));
    } finally {
      await workflows.close();
    }
    return true;
  } catch {
    return false;
  }
}

/** Runs that were cancelled walk their `finally` and release what they hold; those that take longer are ended without. */
const finallyMs = 30_000;
const pollMs = 200;
/** Whoever was let in before the suspension has done what they were at. */
const settleMs = 3_000;
/** So long an attempt may go on that has lost its workflow: until its next sign of life. */
const settleAttemptsMs = 15_000;
const maxRounds = 10;

/**
 * Suspends the tenant, ends its runs, and removes what Temporal and the database hold of it, again and again until a round
 * finds nothing more; last of all the rows by which it is found. Cut off at any place it is gone on with when called
 * again. Throws conflict when runs go on and are not to be cancelled, and when somebody does not stop writing.
 */
async function remove(owner: Store, workflows: TenantWorkflows, { id }: Tenant, cancelRuns: boolean): Promise<Removal> {
  const { runs } = await suspendTenant(owner, id, { cancelRuns });
  await workflows.cancel(runs.map(({ workflowId }) => workflowId));
  await untilEnded(owner, id);
  const cutOff = (await workflows.count(id)).open > 0;
  const totals: RemovedWork & { removed: RemovedRows } = { workflows: 0, schedules: 0, removed: {} };
  for (let round = 0; round < maxRounds; round++) {
    const settled = delay(round === 0 && cutOff ? settleAttemptsMs : settleMs);
    const gone = await removeOnce(owner, workflows, id, totals);
    await workflows.untilNone(id);
    await settled;
    if (round === 0 || gone > 0) continue;
    const last = await removeTenant(owner, id);
    if (last === undefined) continue;
    add(totals.removed, last);
    const remaining = await owner.sql(id, async (sql) => countRows(sql, id, await tenantTables(sql)));
    return {
      tenantId: id,
      ...totals,
      remaining: sum(remaining),
      remainingWorkflows: (await workflows.count(id)).all,
    };
  }
  throw new WaybillError('conflict', 'rows of the tenant keep coming; stop what writes them, and delete it again');
}

/** Adds to the totals, and gives how much has gone. */
async function removeOnce(
  owner: Store,
  workflows: TenantWorkflows,
  tenantId: string,
  totals: RemovedWork & { removed: RemovedRows },
): Promise<number> {
  const work = await workflows.remove(tenantId);
  totals.workflows += work.workflows;
  totals.schedules += work.schedules;
  const rows = await removeRows(owner, tenantId);
  add(totals.removed, rows);
  return work.workflows + work.schedules + sum(rows);
}

async function untilEnded(owner: Store, tenantId: string): Promise<void> {
  const deadline = Date.now() + finallyMs;
  while ((await owner.sql(tenantId, (sql) => runsThatGoOn(sql, tenantId))).length > 0) {
    if (Date.now() > deadline) return;
    await delay(pollMs);
  }
}

function add(totals: RemovedRows, rows: RemovedRows): void {
  for (const [table, count] of Object.entries(rows)) totals[table] = (totals[table] ?? 0) + count;
}

function sum(rows: RemovedRows): number {
  return Object.values(rows).reduce((total, count) => total + count, 0);
}
