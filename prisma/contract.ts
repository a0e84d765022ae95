import type { Prisma } from './generated/client.ts';

/** The one door to PostgreSQL: see `store.ts` for the implementation. */
export interface Store {
  /**
   * One interactive transaction in which row-level security shows one tenant. Never held across network I/O.
   * `sql` runs in the same transaction. Throws unavailable when the database cannot be reached.
   */
  withTenant<Result>(tenantId: string, work: (tx: TenantTransaction) => Promise<Result>): Promise<Result>;
  /** The same on a plain connection, without Prisma, for the ledger, the audit log and sign-in. */
  sql<Result>(tenantId: string, work: (sql: Sql) => Promise<Result>): Promise<Result>;
  /**
   * The same on connections that nothing else takes: for what is asked in the middle of another transaction, and would
   * wait for ever when all of those have to wait for it. Statements of a moment only.
   */
  aside<Result>(tenantId: string, work: (sql: Sql) => Promise<Result>): Promise<Result>;
  /** What one statement that changes nothing gives, in one trip to the database: for what every request asks first. */
  look<Row extends Record<string, unknown>>(
    tenantId: string,
    statement: string,
    values: readonly string[],
  ): Promise<Row[]>;
  /** Where the credential of that SHA-256 belongs: the one look-up before the tenant is known. Undefined when there is none. */
  findCredential(kind: string, hash: Buffer): Promise<{ tenantId: string; credentialId: string } | undefined>;
  /** A transaction of the system role: across tenants, for the outbox and the sweeps. Throws unsupported in a process without that role. */
  system<Result>(work: (sql: Sql) => Promise<Result>): Promise<Result>;
  /** Calls back on each NOTIFY of the channel, and once after each reconnection. Gives the function that stops it. */
  listen(channel: string, notify: () => void): Promise<() => Promise<void>>;
  /** Refuses (throws) when the role could step over the wall between tenants or a table lacks it. */
  selfCheck(): Promise<void>;
  close(): Promise<void>;
}

export interface TenantTransaction {
  db: Prisma.TransactionClient;
  sql: Sql;
}

/**
 * Statements are constants with `$1` parameters, each with an explicit cast (`$1::uuid`, `$2::text[]`). Rows come as pg
 * gives them: bigint as text, timestamptz as Date, bytea as Buffer, jsonb parsed. A list for jsonb is given as JSON text.
 * One statement at a time. Throws WaybillError: unavailable, timeout, conflict (foreign key, deadlock), exists (unique),
 * invalid (check, not null, malformed value), forbidden (privilege, row-level security).
 */
export interface Sql {
  query<Row extends Record<string, unknown>>(statement: string, values?: readonly unknown[]): Promise<Row[]>;
}
