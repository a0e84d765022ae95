import { randomUUID } from 'node:crypto';
import type { Sql } from '../prisma/contract.ts';
import { quoted, type TenantTable, tenantTables } from '../prisma/tenantTables.ts';
import type { TestDatabase, TestTenant } from './servers/database.ts';

/** Begins every text that `plantRows` writes, followed by the column: what a search is to find, or not to. */
export const planted = 'planted-in';

/** Values that the database checks, by column. Everything else gets a value by its type, null columns too. */
export const particular: Record<string, unknown> = {
  'principal.kind': 'user',
  'principal.role': 'owner',
  'principal.disabled_at': null,
  'principal_grant.action': 'use',
  'session.kind': 'concurrent',
  'session.ended_at': null,
  'session.expires_at': new Date('2099-01-01'),
  'api_key.revoked_at': null,
  'run.status': 'succeeded',
  'transfer.status': 'succeeded',
  'delivery.state': 'published',
  'webhook_delivery.state': 'delivered',
  'audit_event.outcome': 'success',
  'application.id': 1001,
  // Before the first one that is used: what is sealed for the tenant stays readable.
  'tenant_key.version': 0,
};

/**
 * Writes a row into every table that holds rows of tenants, with every column set, so that a table which is added later is
 * filled too. Gives the tables. A column with a new check needs a particular value above.
 */
export async function plantRows({ store, asOwner }: TestDatabase, { tenantId }: TestTenant): Promise<TenantTable[]> {
  const tables = await store.sql(tenantId, tenantTables);
  const references = await store.sql(tenantId, readReferences);
  const written = new Map<string, Record<string, unknown>>();
  // Those that others refer to come last where rows are removed.
  for (const table of tables.toReversed()) {
    if (table.name === 'tenant') continue;
    const row = rowOf(table, tenantId);
    for (const { from, to, columns, targets } of references)
      if (from === table.name && written.has(to))
        columns.forEach((column, index) => {
          row[column] = written.get(to)![targets[index]!];
        });
    const names = table.columns.map(({ name }) => name);
    await asOwner(
      `insert into ${quoted(table.name)} (${names.map(quoted).join(', ')})
       values (${table.columns.map(({ type }, index) => `$${index + 1}::${type}`).join(', ')})`,
      names.map((name) => row[name]),
    );
    written.set(table.name, row);
  }
  return tables;
}

interface ForeignKey extends Record<string, unknown> {
  from: string;
  to: string;
  columns: string[];
  targets: string[];
}

async function readReferences(sql: Sql): Promise<ForeignKey[]> {
  const names = (table: string, keys: string): string => `
    array(select a.attname::text from unnest(${keys}) with ordinality as k(attnum, position)
            join pg_attribute a on a.attrelid = ${table} and a.attnum = k.attnum order by k.position)`;
  return sql.query<ForeignKey>(`
    select f.relname::text as "from", t.relname::text as "to", ${names('f.oid', 'k.conkey')} as columns,
      ${names('t.oid', 'k.confkey')} as targets
    from pg_constraint k join pg_class f on f.oid = k.conrelid join pg_class t on t.oid = k.confrelid
    where k.contype = 'f' and k.conrelid <> k.confrelid`);
}

function rowOf({ name: table, columns }: TenantTable, tenantId: string): Record<string, unknown> {
  return Object.fromEntries(
    columns.map(({ name, type }) => {
      const column = `${table}.${name}`;
      if (name === 'tenant_id') return [name, tenantId];
      return [name, column in particular ? particular[column] : valueByType(type, `${planted}-${table}-${name}`)];
    }),
  );
}

function valueByType(type: string, text: string): unknown {
  if (type === 'uuid') return randomUUID();
  if (type === 'bytea') return Buffer.from(`${text}-${randomUUID()}`);
  if (type === 'jsonb') return JSON.stringify({ text });
  if (type === 'boolean') return true;
  if (type === 'integer' || type === 'bigint') return 7;
  if (type.startsWith('timestamp')) return new Date();
  if (type === 'text[]') return [text];
  if (type === 'uuid[]') return [randomUUID()];
  return text;
}
