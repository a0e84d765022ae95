import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';
import { ensureTenant } from '../../identity/firstRun.ts';
import type { Store } from '../../prisma/contract.ts';
import { openStore, type StoreLog } from '../../prisma/store.ts';
import { templateDatabase } from './databaseServer.ts';

export interface TestTenant {
  tenantId: string;
  principalId: string;
}

export interface TestDatabase {
  store: Store;
  ownerUrl: string;
  applicationUrl: string;
  systemUrl: string;
  /** Two from the start: what one does, the other must not see. */
  tenants: { a: TestTenant; b: TestTenant };
  /** A statement as the owner, who stands above the wall: to look, or to break something on purpose. */
  asOwner<Row extends Record<string, unknown>>(statement: string, values?: readonly unknown[]): Promise<Row[]>;
  drop(): Promise<void>;
}

export const silentLog: StoreLog = { warn: () => undefined };

/** A migrated database of its own for one test file, on the PostgreSQL of the whole run. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  const template = inject('postgres');
  await execute(inDatabase(template.ownerUrl, 'postgres'), `create database ${name} template ${templateDatabase}`);
  const urls = {
    ownerUrl: inDatabase(template.ownerUrl, name),
    applicationUrl: inDatabase(template.applicationUrl, name),
    systemUrl: inDatabase(template.systemUrl, name),
  };
  const store = openStore({ ...urls, log: silentLog });
  return {
    store,
    ...urls,
    tenants: { a: await ensureTenant(store, 'tenant-a'), b: await ensureTenant(store, 'tenant-b') },
    asOwner: (statement, values) => execute(urls.ownerUrl, statement, values),
    drop: async () => {
      await store.close();
      await execute(inDatabase(template.ownerUrl, 'postgres'), `drop database ${name} with (force)`);
    },
  };
}

function inDatabase(url: string, name: string): string {
  const changed = new URL(url);
  changed.pathname = `/${name}`;
  return changed.toString();
}

async function execute<Row extends Record<string, unknown>>(
  url: string,
  statement: string,
  values: readonly unknown[] = [],
): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Row>(statement, [...values])).rows;
  } finally {
    await client.end();
  }
}
