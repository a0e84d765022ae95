import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { removePostgres, startPostgres } from '../cli/embedded/postgres.ts';
import { ensureTenant } from '../identity/firstRun.ts';
import type { Store } from '../prisma/contract.ts';
import { migrate } from '../prisma/migrate.ts';
import { openStore } from '../prisma/store.ts';

export interface Database {
  store: Store;
  tenant: { tenantId: string; principalId: string };
  /** A folder for whatever else the measurement needs; removed with the database. */
  folder: string;
  /** For a process that opens the store itself. */
  urls: { applicationUrl: string; systemUrl: string };
}

/** Runs work over an empty, migrated PostgreSQL of its own, which waits for its disk as in production. */
export async function withDatabase<Result>(work: (database: Database) => Promise<Result>): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), 'waybill-bench-'));
  // PostgreSQL runs as nobody when we are root, and has to get in.
  await chmod(folder, 0o755);
  try {
    const postgres = await startPostgres({ stateFolder: folder, port: 0, onProgress: () => undefined });
    await migrate(postgres);
    const store = openStore({ ...postgres, log: { warn: () => undefined } });
    try {
      const { applicationUrl, systemUrl } = postgres;
      const tenant = await ensureTenant(store, 'bench');
      return await work({ store, tenant, folder, urls: { applicationUrl, systemUrl } });
    } finally {
      await store.close();
    }
  } finally {
    await removePostgres(folder);
    await rm(folder, { recursive: true, force: true });
  }
}
