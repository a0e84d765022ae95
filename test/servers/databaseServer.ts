import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pg from 'pg';
import type { TestProject } from 'vitest/node';
import { removePostgres, startPostgres } from '../../cli/embedded/postgres.ts';
import { migrate } from '../../prisma/migrate.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** URLs of the migrated template, whose database name is to be replaced. */
    postgres: { ownerUrl: string; applicationUrl: string; systemUrl: string };
  }
}

const folderPrefix = 'waybill-test-postgres-';
/** Databases of test files are copies of the embedded one, which nobody connects to after its migration. */
export const templateDatabase = 'waybill';

/** Vitest's global set-up: one PostgreSQL for the whole run, with a migrated template, stopped and removed at its end. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  await removeForgotten();
  const stateFolder = await mkdtemp(path.join(tmpdir(), `${folderPrefix}${process.pid}-`));
  // PostgreSQL runs as nobody when the tests run as root, and has to get in.
  await chmod(stateFolder, 0o755);
  const remove = async (): Promise<void> => {
    await removePostgres(stateFolder);
    await rm(stateFolder, { recursive: true, force: true });
  };
  try {
    const postgres = await startPostgres({ stateFolder, port: 0, onProgress: () => undefined });
    const { ownerUrl, applicationUrl, systemUrl } = postgres;
    await migrate(postgres);
    await spareTheDisk(ownerUrl);
    project.provide('postgres', { ownerUrl, applicationUrl, systemUrl });
    return remove;
  } catch (error) {
    await remove();
    throw error;
  }
}

/** A test run that was killed leaves its PostgreSQL behind; the next one finds it by the folder that names its owner. */
async function removeForgotten(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const pid = name.startsWith(folderPrefix) ? Number(name.slice(folderPrefix.length).split('-')[0]) : Number.NaN;
    if (Number.isNaN(pid) || isAlive(pid)) continue;
    const stateFolder = path.join(tmpdir(), name);
    await removePostgres(stateFolder);
    await rm(stateFolder, { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Nobody waits for a disk in a test: what a crash of the machine loses is thrown away anyway. */
async function spareTheDisk(ownerUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: ownerUrl });
  await client.connect();
  await client.query('alter system set synchronous_commit = off');
  await client.query('select pg_reload_conf()');
  await client.end();
}
