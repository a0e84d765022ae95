import { AsyncLocalStorage } from 'node:async_hooks';
import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import { WaybillError } from '../schema/errors.ts';
import type { Sql, Store } from './contract.ts';
import { databaseError } from './errors.ts';
import { PrismaClient } from './generated/client.ts';
import { listenTo } from './listen.ts';
import { checkWall } from './selfCheck.ts';

const connectTimeoutMs = 10_000;
const statementTimeoutMs = 60_000;
/** Also keeps firewalls from forgetting an idle connection. */
const keepAliveMs = 30_000;
const idleInTransactionTimeoutMs = 60_000;
/** How long an interactive transaction waits for a connection, and how long it may take as a whole. */
const transactionWaitMs = 15_000;
const transactionTimeoutMs = 60_000;
const applicationConnections = 20;
const systemConnections = 4;
const asideConnections = 2;

/** Keys and sessions whose place is kept in memory: some megabytes. */
const placesRemembered = 10_000;

/** The part of pino that is used. */
export interface StoreLog {
  warn(facts: object, message: string): void;
}

export interface StoreOptions {
  applicationUrl: string;
  /** Without it `system` refuses. */
  systemUrl?: string | undefined;
  log: StoreLog;
}

/**
 * Opens the door to PostgreSQL; connects at the first use. Its connections survive a restart of the server: what was
 * under way fails with `unavailable` and what comes after goes to a new connection.
 *
 * Errors of the database come as WaybillError: unavailable, timeout, conflict (foreign key, deadlock), exists (unique),
 * invalid (check, not null, malformed value), forbidden (privilege, row-level security). Errors of `work` come unchanged.
 */
export function openStore({ applicationUrl, systemUrl, log }: StoreOptions): Store {
  const application = openPool(applicationUrl, applicationConnections, log);
  const system = systemUrl === undefined ? undefined : openPool(systemUrl, systemConnections, log);
  const apart = openPool(applicationUrl, asideConnections, log);
  const connections = new TransactionConnections(application);
  const prisma = new PrismaClient({ adapter: connections, errorFormat: 'minimal' });
  const systemPool = (): pg.Pool => {
    if (!system) throw new WaybillError('unsupported', 'this process has no connection of the system role');
    return system;
  };
  const stops = new Set<() => Promise<void>>();
  const places = new Map<string, CredentialPlace>();

  return {
    withTenant: async (tenantId, work) => {
      const tenant = checkedTenant(tenantId);
      return translated('withTenant', () =>
        connections.capture((connection) =>
          prisma.$transaction(
            async (db) => {
              const sql = sqlOn(connection());
              await sql.query(enterTenant(tenant));
              return work({ db, sql });
            },
            { maxWait: transactionWaitMs, timeout: transactionTimeoutMs },
          ),
        ),
      );
    },
    sql: async (tenantId, work) => {
      const tenant = checkedTenant(tenantId);
      return translated('sql', () => inTransaction(application, `begin; ${enterTenant(tenant)}`, work));
    },
    aside: async (tenantId, work) => {
      const tenant = checkedTenant(tenantId);
      return translated('aside', () => inTransaction(apart, `begin; ${enterTenant(tenant)}`, work));
    },
    look: async (tenantId, statement, values) => {
      const enter = enterTenant(checkedTenant(tenantId));
      return translated('look', () => lookOnce(application, enter, statement, values));
    },
    findCredential: async (kind, hash) => {
      const place = `${kind}/${hash.toString('base64')}`;
      const known = places.get(place);
      if (known !== undefined) return known;
      const [found] = await translated('findCredential', () =>
        lookOnce<CredentialPlace>(application, presentCredential(hash), selectCredential, [hash.toString('hex'), kind]),
      );
      // A host name may come to belong to somebody else; a key or a session never does.
      if (found !== undefined && kind !== 'site') remember(places, place, found);
      return found;
    },
    system: async (work) => translated('system', () => inTransaction(systemPool(), 'begin', work)),
    listen: async (channel, notify) => {
      const stop = await translated('listen', () => listenTo(applicationUrl, channel, notify, log));
      stops.add(stop);
      return async () => {
        stops.delete(stop);
        await stop();
      };
    },
    selfCheck: async () => {
      await translated('selfCheck', () => checkWall(application, 'application'));
      if (system) await translated('selfCheck', () => checkWall(system, 'system'));
    },
    close: async () => {
      await Promise.all([...stops].map((stop) => stop()));
      await prisma.$disconnect();
      await Promise.all([application.end(), apart.end(), system?.end()]);
    },
  };
}

function openPool(connectionString: string, max: number, log: StoreLog): pg.Pool {
  const pool = new pg.Pool({
    connectionString,
    max,
    connectionTimeoutMillis: connectTimeoutMs,
    statement_timeout: statementTimeoutMs,
    idle_in_transaction_session_timeout: idleInTransactionTimeoutMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: keepAliveMs,
    application_name: 'waybill',
  });
  // Without a listener the death of a connection, idle or in use, would end the process.
  pool.on('error', (error) => log.warn({ error: error.message }, 'a database connection was lost'));
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}

/** Tenant ids are put into the statement, which saves a round trip; so they are checked to be nothing but a UUID. */
function checkedTenant(tenantId: string): string {
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(tenantId)) return tenantId;
  throw new WaybillError('invalid', 'the tenant id is not a UUID', { field: 'tenantId' });
}

function enterTenant(tenantId: string): string {
  return `select set_config('app.tenant_id', '${tenantId}', true)`;
}

/** Row-level security then shows that one row of the credential index. */
function presentCredential(hash: Buffer): string {
  return `select set_config('app.credential', '${hash.toString('hex')}', true)`;
}

interface CredentialPlace extends Record<string, unknown> {
  tenantId: string;
  credentialId: string;
}

const selectCredential = `select tenant_id as "tenantId", credential_id as "credentialId" from credential_index
  where hash = decode($1, 'hex') and kind = $2`;

/** Where credentials lead to: what they are good for is looked up each time. The oldest makes room. */
function remember(places: Map<string, CredentialPlace>, name: string, place: CredentialPlace): void {
  if (places.size >= placesRemembered) places.delete(places.keys().next().value!);
  places.set(name, place);
}

/** By connection, the names under which it has prepared statements: planning one takes longer than the answer. */
const prepared = new WeakMap<pg.PoolClient, Map<string, string>>();

/** A transaction of one statement, sent as a whole: where requests wait for the database, each trip counts. */
async function lookOnce<Row extends Record<string, unknown>>(
  pool: pg.Pool,
  enter: string,
  statement: string,
  values: readonly string[],
): Promise<Row[]> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    const name = await prepare(client, statement);
    // Several statements together take no parameters but as text.
    const execute = `execute ${name}(${values.map((value) => pg.escapeLiteral(value)).join(', ')})`;
    const results = (await client.query(
      `begin read only; ${enter}; ${execute}; commit`,
    )) as unknown as pg.QueryResult[];
    return results[2]!.rows as Row[];
  } catch (error) {
    await client.query('rollback').catch((cause: Error) => {
      broken = cause;
    });
    throw error;
  } finally {
    client.release(broken);
  }
}

async function prepare(client: pg.PoolClient, statement: string): Promise<string> {
  const names = prepared.get(client) ?? new Map<string, string>();
  prepared.set(client, names);
  const known = names.get(statement);
  if (known !== undefined) return known;
  const name = `look_${names.size}`;
  await client.query(`prepare ${name} as ${statement}`);
  names.set(statement, name);
  return name;
}

async function inTransaction<Result>(
  pool: pg.Pool,
  begin: string,
  work: (sql: Sql) => Promise<Result>,
): Promise<Result> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    await client.query(begin);
    const result = await work(sqlOn(client));
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback').catch((cause: Error) => {
      broken = cause;
    });
    throw error;
  } finally {
    client.release(broken);
  }
}

function sqlOn(client: pg.PoolClient): Sql {
  return {
    query: async <Row extends Record<string, unknown>>(
      statement: string,
      values?: readonly unknown[],
    ): Promise<Row[]> => {
      try {
        const result = await client.query<Row>(statement, values && [...values]);
        return result.rows;
      } catch (error) {
        throw databaseError(error, 'query');
      }
    },
  };
}

async function translated<Result>(operation: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw databaseError(error, operation);
  }
}

/**
 * Prisma's adapter, which also tells the code inside an interactive transaction on which connection it runs, so that
 * plain SQL and Prisma share one transaction and give the same types as `sql` does.
 */
class TransactionConnections extends PrismaPg {
  readonly #current = new AsyncLocalStorage<{ client: pg.PoolClient | undefined }>();

  capture<Result>(work: (connection: () => pg.PoolClient) => Promise<Result>): Promise<Result> {
    const slot: { client: pg.PoolClient | undefined } = { client: undefined };
    const connection = (): pg.PoolClient => {
      if (slot.client) return slot.client;
      throw new WaybillError('internal', 'Prisma began a transaction outside its own context');
    };
    return this.#current.run(slot, () => work(connection));
  }

  override async connect() {
    const adapter = await super.connect();
    const startTransaction = adapter.startTransaction.bind(adapter);
    adapter.startTransaction = async (isolationLevel) => {
      const transaction = await startTransaction(isolationLevel);
      const slot = this.#current.getStore();
      // `client` is the adapter's own, protected, name for the connection of the transaction.
      if (slot) slot.client = (transaction as unknown as { client: pg.PoolClient }).client;
      return transaction;
    };
    return adapter;
  }
}
