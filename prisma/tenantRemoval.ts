import type { Sql, Store } from './contract.ts';
import { countRows, quoted, type TenantTable, tenantTables } from './tenantTables.ts';

/** So many rows go in a transaction: none of them is long, and what was cut off is gone on with. */
const rowsOfTransaction = 10_000;

/** Rows that were removed, by table. */
export type RemovedRows = Record<string, number>;

/**
 * Removes the rows of a tenant from every table but those by which it is found, each table in pieces. `owner` is a store
 * of the role that owns the tables. Gives how many have gone. Cut off it has removed a part: called again it goes on.
 */
export async function removeRows(owner: Store, tenantId: string): Promise<RemovedRows> {
  const removed: RemovedRows = {};
  for (const table of await owner.sql(tenantId, tenantTables)) {
    if (table.name === 'tenant') continue;
    const condition = table.name === 'credential_index' ? `kind <> '${siteKind}'` : 'true';
    for (let last = rowsOfTransaction; last === rowsOfTransaction; ) {
      last = await owner.sql(tenantId, (sql) => removePiece(sql, tenantId, table, condition));
      removed[table.name] = (removed[table.name] ?? 0) + last;
    }
  }
  return removed;
}

/**
 * Removes the rows by which the tenant is found, when all others are gone: in the same transaction they are counted again.
 * Undefined when somebody has written some since `removeRows`.
 */
export async function removeTenant(owner: Store, tenantId: string): Promise<RemovedRows | undefined> {
  return owner.sql(tenantId, async (sql) => {
    const tables = await tenantTables(sql);
    const own = tables.filter(({ name }) => name === 'credential_index' || name === 'tenant');
    const others = tables.filter((table) => !own.includes(table));
    const left = Object.values(await countRows(sql, tenantId, others)).reduce((sum, count) => sum + count, 0);
    if (left > 0) return undefined;
    const removed: RemovedRows = {};
    for (const table of own) {
      const gone = await sql.query(
        `delete from ${quoted(table.name)} where ${quoted(table.tenantColumn)} = $1::uuid returning 1`,
        [tenantId],
      );
      removed[table.name] = gone.length;
    }
    return removed;
  });
}

/** Of the rows of the credential index that say under which names a tenant is reached. */
const siteKind = 'site';

async function removePiece(
  sql: Sql,
  tenantId: string,
  { name, tenantColumn }: TenantTable,
  condition: string,
): Promise<number> {
  const [answer] = await sql.query<{ count: number }>(
    `with gone as (
       delete from ${quoted(name)} where ${quoted(tenantColumn)} = $1::uuid and ctid = any(array(
         select ctid from ${quoted(name)} where ${quoted(tenantColumn)} = $1::uuid and ${condition} limit $2::int))
       returning 1)
     select count(*)::int as count from gone`,
    [tenantId, rowsOfTransaction],
  );
  return answer!.count;
}
