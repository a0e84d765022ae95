import type { Store } from '../../prisma/contract.ts';
import { WaybillError } from '../../schema/errors.ts';
import { findSite } from '../sites.ts';

export interface Tenant {
  id: string;
  name: string;
  suspendedAt: Date | null;
}

/** The tenant of that name. `application` is a store of the application role. Throws not-found. */
export async function findTenant(application: Store, name: string): Promise<Tenant> {
  const id = await findSite(application, name);
  const tenant = id === undefined ? undefined : await readTenant(application, id);
  // Under its host names a tenant is reached by others, not by who is about to remove it.
  if (tenant?.name !== name)
    throw new WaybillError('not-found', `there is no tenant ${JSON.stringify(name)}`, { field: 'name' });
  return tenant;
}

async function readTenant(application: Store, id: string): Promise<Tenant | undefined> {
  const [tenant] = await application.sql(id, (sql) =>
    sql.query<Tenant & Record<string, unknown>>(
      'select id, name, suspended_at as "suspendedAt" from tenant where id = $1::uuid',
      [id],
    ),
  );
  return tenant;
}
