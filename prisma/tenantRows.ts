import pg from 'pg';
import type { Sql } from './contract.ts';
import { databaseError } from './errors.ts';
import { quoted, type TenantTable, tenantTables } from './tenantTables.ts';

const connectTimeoutMs = 10_000;
/** What is read at a time: rows may be small, and may be whole plans. */
const pieceCharacters = 2 ** 20;
const firstRows = 10;
const maxRows = 500;

/** The rows of a tenant as they were at one moment. */
export interface TenantSnapshot {
  tables: TenantTable[];
  /** The rows of a table, each as a line of JSON, in the order of its key; a piece holds some lines, and its end. */
  read(table: TenantTable, columns: readonly string[]): AsyncGenerator<{ rows: number; text: string }>;
}

/**
 * Lets `work` read all rows of a tenant in one transaction, piece by piece, so that memory does not grow with them.
 * `ownerUrl` is that of the role that owns the tables. Throws as `Sql` does.
 */
export async function readTenant<Result>(
  ownerUrl: string,
  tenantId: string,
  work: (snapshot: TenantSnapshot) => Promise<Result>,
): Promise<Result> {
  const client = new pg.Client({ connectionString: ownerUrl, connectionTimeoutMillis: connectTimeoutMs });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query('begin isolation level repeatable read read only');
    await client.query(`select set_config('app.tenant_id', $1::text, true)`, [tenantId]);
    const result = await work({
      tables: await tenantTables(sqlOn(client)),
      read: (table, columns) => readTable(client, table, columns),
    });
    await client.query('commit');
    return result;
  } catch (error) {
    throw databaseError(error, 'reading a tenant');
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function* readTable(
  client: pg.Client,
  { name, tenantColumn, key }: TenantTable,
  columns: readonly string[],
): AsyncGenerator<{ rows: number; text: string }> {
  const order = key.length === 0 ? '' : `order by ${key.map(quoted).join(', ')}`;
  // A cursor takes no parameters; the setting holds the tenant.
  await client.query(
    `declare lines no scroll cursor for
       select row_to_json(line)::text as line from (
         select ${columns.map(quoted).join(', ')} from ${quoted(name)}
          where ${quoted(tenantColumn)} = current_setting('app.tenant_id')::uuid ${order}) line`,
  );
  for (let wanted = firstRows; ; ) {
    const { rows } = await client.query<{ line: string }>(`fetch ${wanted} from lines`);
    if (rows.length === 0) break;
    const text = rows.map(({ line }) => `${line}\n`).join('');
    yield { rows: rows.length, text };
    wanted = Math.max(1, Math.min(maxRows, Math.floor((pieceCharacters / text.length) * rows.length), wanted * 10));
  }
  await client.query('close lines');
}

function sqlOn(client: pg.Client): Sql {
  return {
    query: async <Row extends Record<string, unknown>>(statement: string, values: readonly unknown[] = []) =>
      (await client.query<Row>(statement, [...values])).rows,
  };
}
