import type { Store } from '../prisma/contract.ts';

const ownerName = 'owner';

/** Finds or makes the tenant of that name and its owner. Safe twice, and two at once get the same. */
export async function ensureTenant(store: Store, name: string): Promise<{ tenantId: string; principalId: string }> {
  const tenantId = await store.system(async (sql) => {
    await sql.query('insert into tenant (name) values ($1::text) on conflict (name) do nothing', [name]);
    const [tenant] = await sql.query<{ id: string }>('select id from tenant where name = $1::text', [name]);
    return tenant!.id;
  });
  const principalId = await store.sql(tenantId, async (sql) => {
    await sql.query(
      `insert into principal (tenant_id, kind, name, role) values ($1::uuid, 'user', $2::text, 'owner')
       on conflict (tenant_id, name) do nothing`,
      [tenantId, ownerName],
    );
    const [owner] = await sql.query<{ id: string }>(
      'select id from principal where tenant_id = $1::uuid and name = $2::text',
      [tenantId, ownerName],
    );
    return owner!.id;
  });
  return { tenantId, principalId };
}
