import { WaybillError } from '../schema/errors.ts';
import type { Sql } from './contract.ts';

/** A table that holds rows of tenants. */
export interface TenantTable {
  name: string;
  /** Holds the tenant's id: `tenant_id`, and `id` of the table of tenants itself. */
  tenantColumn: string;
  columns: TenantColumn[];
  /** Columns of the primary key, in their order. */
  key: string[];
}

export interface TenantColumn {
  name: string;
  /** As PostgreSQL names it: `bytea`, `text`. */
  type: string;
}

/**
 * Every table with rows of tenants, found in the database's own catalogue so that none added later is forgotten. In the
 * order in which rows can be removed: a table stands before those that it refers to. The rows by which a tenant is found
 * stand last: `credential_index`, then `tenant`. Throws unsupported when tables refer to each other in a circle.
 */
export async function tenantTables(sql: Sql): Promise<TenantTable[]> {
  const tables = await sql.query<TenantTable & Record<string, unknown>>(selectTables);
  const references = await sql.query<Reference>(selectReferences);
  return inOrder(tables, [...references, ...foundLast(tables)]);
}

/** How many rows of the tenant each table holds. */
export async function countRows(
  sql: Sql,
  tenantId: string,
  tables: readonly TenantTable[],
): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { name, tenantColumn } of tables) {
    const [row] = await sql.query<{ count: string }>(
      `select count(*) from ${quoted(name)} where ${quoted(tenantColumn)} = $1::uuid`,
      [tenantId],
    );
    counts[name] = Number(row!.count);
  }
  return counts;
}

/** A name as SQL takes it. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

interface Reference extends Record<string, unknown> {
  from: string;
  to: string;
}

/** The catalogue, and not information_schema: that one hides what the role may not touch. */
const selectTables = `
  select c.relname::text as name, case when c.relname = 'tenant' then 'id' else 'tenant_id' end as "tenantColumn",
    (select jsonb_agg(jsonb_build_object('name', a.attname, 'type', format_type(a.atttypid, null)) order by a.attnum)
       from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns,
    array(select a.attname::text from pg_index i, unnest(i.indkey) with ordinality as k(attnum, position), pg_attribute a
           where i.indrelid = c.oid and i.indisprimary and a.attrelid = c.oid and a.attnum = k.attnum
           order by k.position) as key
  from pg_class c
  where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
    and (c.relname = 'tenant' or exists (
      select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped))
  order by 1`;

const selectReferences = `
  select distinct f.relname::text as "from", t.relname::text as "to"
  from pg_constraint k join pg_class f on f.oid = k.conrelid join pg_class t on t.oid = k.confrelid
  where k.contype = 'f' and k.conrelid <> k.confrelid and f.relnamespace = 'public'::regnamespace
  order by 1, 2`;

/** As if these two were referred to by all others. */
function foundLast(tables: readonly TenantTable[]): Reference[] {
  const [index, tenant] = ['credential_index', 'tenant'];
  return tables.flatMap(({ name }) => [
    ...(name === tenant ? [] : [{ from: name, to: tenant }]),
    ...(name === tenant || name === index ? [] : [{ from: name, to: index }]),
  ]);
}

function inOrder(tables: readonly TenantTable[], references: readonly Reference[]): TenantTable[] {
  const order: TenantTable[] = [];
  const left = new Set(tables);
  while (left.size > 0) {
    const names = new Set([...left].map(({ name }) => name));
    const free = [...left].filter(({ name }) => !references.some(({ from, to }) => to === name && names.has(from)));
    if (free.length === 0)
      throw new WaybillError('unsupported', `these tables refer to each other in a circle: ${[...names].join(', ')}`);
    for (const table of free) {
      order.push(table);
      left.delete(table);
    }
  }
  return order;
}
