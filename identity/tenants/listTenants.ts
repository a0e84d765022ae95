import type { Sql, Store } from '../../prisma/contract.ts';
import { findDefaultSite } from '../sites.ts';
import type { Tenant } from './findTenant.ts';

export interface ListedTenant extends Tenant {
  createdAt: Date;
  /** Host names that it is reached under, besides `/t/<name>/`. */
  hosts: string[];
  /** Requests that name no site are its own. */
  isDefault: boolean;
}

export interface TenantPage {
  tenants: ListedTenant[];
  hasMore: boolean;
}

/** Tenants in the order of their names, from the one behind `after` on. Throws unsupported for a store without the system role. */
export async function listTenants(
  store: Store,
  { first, after = '' }: { first: number; after?: string | undefined },
): Promise<TenantPage> {
  const found = await store.system((sql) => readTenants(sql, after, first + 1));
  const defaultId = await findDefaultSite(store);
  const tenants: ListedTenant[] = [];
  for (const tenant of found.slice(0, first))
    tenants.push({ ...tenant, hosts: await hostsOf(store, tenant.id), isDefault: tenant.id === defaultId });
  return { tenants, hasMore: found.length > first };
}

/** Ordered by bytes, as the names are compared: a collation of the database's own could pass over some. */
async function readTenants(sql: Sql, after: string, most: number) {
  return sql.query<Tenant & { createdAt: Date } & Record<string, unknown>>(
    `select id, name, created_at as "createdAt", suspended_at as "suspendedAt" from tenant
      where name collate "C" > $1::text collate "C" order by name collate "C" limit $2::int`,
    [after, most],
  );
}

async function hostsOf(store: Store, tenantId: string): Promise<string[]> {
  const rows = await store.look<{ host: string }>(
    tenantId,
    'select host from tenant_host where tenant_id = $1::uuid order by host collate "C"',
    [tenantId],
  );
  return rows.map(({ host }) => host);
}
