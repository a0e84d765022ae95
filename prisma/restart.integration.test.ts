import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type EmbeddedPostgres, removePostgres, startPostgres } from '../cli/embedded/postgres.ts';
import { ensureTenant } from '../identity/firstRun.ts';
import { silentLog } from '../test/servers/database.ts';
import type { Store } from './contract.ts';
import { migrate } from './migrate.ts';
import { openStore } from './store.ts';

/** A PostgreSQL of its own: this file takes it away in the middle of things. */
let stateFolder: string;
let postgres: EmbeddedPostgres;
let store: Store;
let tenantId: string;

beforeAll(async () => {
  stateFolder = await mkdtemp(path.join(tmpdir(), 'waybill-restart-'));
  await chmod(stateFolder, 0o755);
  postgres = await start(0);
  await migrate(postgres);
  store = openStore({ ...postgres, log: silentLog });
  tenantId = (await ensureTenant(store, 'acme')).tenantId;
});
afterAll(async () => {
  await store.close();
  await removePostgres(stateFolder);
  await rm(stateFolder, { recursive: true, force: true });
});

const start = (port: number) => startPostgres({ stateFolder, port, onProgress: () => undefined });
const countPrincipals = () => store.withTenant(tenantId, ({ db }) => db.principal.count());
const ways = {
  sql: () => store.sql(tenantId, (sql) => sql.query('select from principal')),
  prisma: countPrincipals,
  system: () => store.system((sql) => sql.query('select from tenant')),
};

test.each([
  ['stopped', async () => postgres.stop()],
  ['killed', async () => process.kill(postgres.pid, 'SIGKILL')],
])('when PostgreSQL is %s, work is refused as unavailable, and goes on once it is back', async (_, end) => {
  // Every pool holds idle connections that are about to die.
  await Promise.all(Array.from({ length: 10 }, () => Object.values(ways).map((way) => way())).flat());
  let heard = 0;
  const stopListening = await store.listen('outbox', () => {
    heard += 1;
  });
  let leave = (): void => undefined;
  const held = new Promise<void>((resolve) => {
    leave = resolve;
  });
  let entered = 0;
  const interrupted = Promise.allSettled([
    store.sql(tenantId, async (sql) => {
      entered += 1;
      await held;
      await sql.query(
        `insert into principal (tenant_id, kind, name, role) values ($1::uuid, 'user', 'lost', 'owner')`,
        [tenantId],
      );
    }),
    store.withTenant(tenantId, async ({ db }) => {
      entered += 1;
      await held;
      await db.principal.create({ data: { tenantId, kind: 'user', name: 'lost too', role: 'owner' } });
    }),
  ]);
  await expect.poll(() => entered).toBe(2);
  await end();
  for (const way of Object.values(ways))
    await expect.poll(() => way().catch((error: unknown) => error)).toMatchObject({ kind: 'unavailable' });
  leave();
  for (const outcome of await interrupted)
    expect(outcome).toMatchObject({ status: 'rejected', reason: { kind: 'unavailable' } });

  postgres = await start(postgres.port);
  expect(await countPrincipals()).toBe(1);
  for (const way of Object.values(ways)) await way();
  await expect.poll(() => heard, { timeout: 15_000 }).toBe(1);
  await store.system((sql) => sql.query(`select pg_notify('outbox', '')`));
  await expect.poll(() => heard).toBe(2);
  await stopListening();
});
