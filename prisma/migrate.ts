import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { WaybillError } from '../schema/errors.ts';
import { databaseError } from './errors.ts';
import { openSchemaEngine } from './schemaEngine.ts';

/** The roles that the privileges and policies of the migrations name. Login roles are these, or members of them. */
const groupRoles = { application: 'waybill_app', system: 'waybill_system' } as const;
const migrationsFolder = fileURLToPath(new URL('./migrations', import.meta.url));
/** "waybill" in ASCII: one migration at a time in a database. */
const lockKey = '33603417263532140';
const connectTimeoutMs = 10_000;

export interface LoginRole {
  name: string;
  password: string;
}

export interface MigrateOptions {
  /** A role that owns the database and may create roles. */
  ownerUrl: string;
  applicationRole: LoginRole;
  /** Without it the system role keeps the password it has, or cannot sign in yet. */
  systemRole?: LoginRole | undefined;
  onProgress?: (message: string) => void;
}

/**
 * Brings the database to the newest migration and gives the two login roles their passwords. Does nothing the second
 * time; two at once wait for each other. Gives the names of the migrations that it applied.
 *
 * Throws unavailable when the database cannot be reached, conflict when its history is not ours (an applied migration was
 * edited, is unknown or failed), unauthenticated or forbidden when the owner is not one.
 */
export async function migrate(options: MigrateOptions): Promise<string[]> {
  const onProgress = options.onProgress ?? (() => undefined);
  const client = new pg.Client({ connectionString: options.ownerUrl, connectionTimeoutMillis: connectTimeoutMs });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query(`select pg_advisory_lock(${lockKey})`);
    const applied = await applyMigrations(options.ownerUrl, onProgress);
    await ensureLogin(client, options.applicationRole, groupRoles.application);
    if (options.systemRole !== undefined) await ensureLogin(client, options.systemRole, groupRoles.system);
    return applied;
  } catch (error) {
    throw databaseError(error, 'migrating');
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function applyMigrations(ownerUrl: string, onProgress: (message: string) => void): Promise<string[]> {
  const engine = await openSchemaEngine(ownerUrl);
  try {
    const migrationsList = await readMigrations();
    const filters = { externalTables: [], externalEnums: [] };
    const found = await engine.diagnose({ migrationsList, filters, optInToShadowDatabase: false });
    if (found.editedMigrationNames.length > 0)
      throw foreignHistory('was edited after it was applied', found.editedMigrationNames);
    if (found.failedMigrationNames.length > 0) throw foreignHistory('failed before', found.failedMigrationNames);
    if (found.history && found.history.diagnostic !== 'databaseIsBehind')
      throw foreignHistory('is unknown to this version of Waybill', found.history.unpersistedMigrationNames);
    const applied = await engine.apply({ migrationsList, filters });
    if (applied.length > 0) onProgress(`applied migrations: ${applied.join(', ')}`);
    return applied;
  } finally {
    await engine.close();
  }
}

/**
 * The SQL of Prisma that leads from an earlier text of schema.prisma, or from nothing, to the present one: the beginning
 * of a migration, to be completed by hand with grants and, for a new table, the wall.
 */
export async function schemaScript(ownerUrl: string, from: string | null): Promise<string> {
  const engine = await openSchemaEngine(ownerUrl);
  try {
    return await engine.diff(from, await readFile(new URL('./schema.prisma', import.meta.url), 'utf8'));
  } finally {
    await engine.close();
  }
}

function foreignHistory(what: string, names: string[]): WaybillError {
  return new WaybillError('conflict', `the database's migration ${names.join(', ')} ${what}`, { migrations: names });
}

async function readMigrations() {
  const folders = (await readdir(migrationsFolder, { withFileTypes: true })).filter((entry) => entry.isDirectory());
  const names = folders.map((entry) => entry.name).sort();
  const read = async (name: string) => ({
    tag: 'ok' as const,
    value: await readFile(path.join(migrationsFolder, name), 'utf8'),
  });
  return {
    baseDir: migrationsFolder,
    lockfile: { path: 'migration_lock.toml', content: (await read('migration_lock.toml')).value },
    shadowDbInitScript: '',
    migrationDirectories: await Promise.all(
      names.map(async (name) => ({
        path: name,
        migrationFile: { path: 'migration.sql', content: await read(path.join(name, 'migration.sql')) },
      })),
    ),
  };
}

/** Roles belong to the cluster: they may exist already, from another database of it. */
async function ensureLogin(client: pg.Client, role: LoginRole, group: string): Promise<void> {
  const name = client.escapeIdentifier(role.name);
  const found = await client.query('select from pg_roles where rolname = $1', [role.name]);
  if (found.rowCount === 0) await client.query(`create role ${name}`);
  if (role.name !== group) await client.query(`grant ${client.escapeIdentifier(group)} to ${name}`);
  await client.query(`alter role ${name} login inherit password ${client.escapeLiteral(scramVerifier(role.password))}`);
}

/** What PostgreSQL would store (RFC 5803): sent instead of the password, which then cannot reach the server's log. */
function scramVerifier(password: string): string {
  const iterations = 4096;
  const salt = randomBytes(16);
  const salted = pbkdf2Sync(password.normalize('NFKC'), salt, iterations, 32, 'sha256');
  const sign = (text: string): Buffer => createHmac('sha256', salted).update(text).digest();
  const storedKey = createHash('sha256').update(sign('Client Key')).digest('base64');
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${storedKey}:${sign('Server Key').toString('base64')}`;
}
