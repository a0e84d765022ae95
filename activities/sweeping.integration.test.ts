import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readdir, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { keptWrites } from '../prisma/ledger.ts';
import { createTestDatabase, type TestDatabase, type TestTenant } from '../test/servers/database.ts';
import { startSshd } from '../test/servers/sshd.ts';
import { addEndpoint, attemptOf, openEngine, openWorld } from '../test/transfer/world.ts';
import type { WriteOptions } from '../test/transfer/writeProcess.ts';
import { writeFile } from './actions/writeFile.ts';
import { findLeftOvers, type SweepPage, type SweptPlace, sweepEndpoint } from './sweeping.ts';
import { createBuffers } from './transfer/buffers.ts';

const writeProcess = fileURLToPath(new URL('../test/transfer/writeProcess.ts', import.meta.url));
const log = { debug() {}, info() {}, warn() {}, error() {} };

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database?.drop());

interface Written {
  endpoint: string;
  state: string;
  attempt: number;
  daysAgo?: number;
  path?: string;
  token?: Record<string, string>;
}

/** A run of its own with these deliveries, and their endpoints but for those called `gone-...`. */
async function write({ tenantId, principalId }: TestTenant, rows: Written[], status = 'failed'): Promise<void> {
  const [runId, transferId] = [randomUUID(), randomUUID()];
  await database.store.sql(tenantId, async (sql) => {
    await sql.query(
      `insert into run (tenant_id, id, pipeline_name, status, trigger, workflow_id, created_by)
       values ($1::uuid, $2::uuid, 'p', $4::text, 'manual', $2::text, $3::uuid)`,
      [tenantId, runId, principalId, status],
    );
    await sql.query(
      `insert into transfer (tenant_id, id, run_id, step, step_key, source_endpoint, target_endpoint, options, status)
       values ($1::uuid, $2::uuid, $3::uuid, 'copy', 'steps[0]', 'from', 'to', '{}', 'failed')`,
      [tenantId, transferId, runId],
    );
    await sql.query(
      `insert into connector_endpoint (tenant_id, name, connector, config, content_hash)
       select distinct $1::uuid, e, 'local', '{}'::jsonb, 'hash' from unnest($2::text[]) as e where e not like 'gone-%'
       on conflict do nothing`,
      [tenantId, rows.map(({ endpoint }) => endpoint)],
    );
    await sql.query(
      `insert into delivery (tenant_id, transfer_id, run_id, batch, delivery_key, state, source_endpoint, source_path, source_size,
              target_endpoint, target_path, attempt, created_at, sink_token)
       select $1::uuid, $2::uuid, $3::uuid, 0, sha256(d.endpoint::bytea), d.state, 'from', '/a', 1, d.endpoint, d.path, d.attempt,
              now() - make_interval(days => d.days), d.token
         from jsonb_to_recordset($4::jsonb) as d(endpoint text, state text, path text, attempt int, days int, token jsonb)`,
      [
        tenantId,
        transferId,
        runId,
        JSON.stringify(rows.map(({ daysAgo = 0, path = '/in/a', ...row }) => ({ ...row, days: daysAgo, path }))),
      ],
    );
  });
}

test('endpoints that may hold something are found page by page, over all tenants, each once', async () => {
  const { a, b } = database.tenants;
  const many = Array.from({ length: 205 }, (_, index) => `to-${String(index).padStart(3, '0')}`);
  await write(a, [
    ...many.map((endpoint) => ({ endpoint, state: 'failed', attempt: 1 })),
    { endpoint: 'to-000', state: 'settled', attempt: 2 },
    { endpoint: 'never-begun', state: 'failed', attempt: 0 },
    { endpoint: 'went-well', state: 'settled', attempt: 1 },
    { endpoint: 'long-ago', state: 'failed', attempt: 3, daysAgo: 20 },
    { endpoint: 'gone-since', state: 'failed', attempt: 3 },
  ]);
  await write(b, [{ endpoint: 'second-try', state: 'settled', attempt: 2 }]);
  const found: SweptPlace[] = [];
  const sizes: number[] = [];
  let page: SweepPage = { places: [], next: null };
  do {
    page = await findLeftOvers(database, { from: page.next });
    found.push(...page.places);
    sizes.push(page.places.length);
  } while (page.next !== null);
  expect(sizes).toEqual([200, 6]);
  const wanted = [...many.map((endpoint) => `${a.tenantId}/${endpoint}`), `${b.tenantId}/second-try`];
  expect(found.map(({ tenantId, endpoint }) => `${tenantId}/${endpoint}`).sort()).toEqual(wanted.sort());
});

test('what a run that goes on may take up again is kept, and what an ended one has left is not', async () => {
  const { a, b } = database.tenants;
  const token = (path: string) => ({ kind: 'temporary', path });
  const held = [
    { endpoint: 'x-1', state: 'held', attempt: 1, token: token('/in/held') },
    { endpoint: 'x-2', state: 'planned', attempt: 1, token: token('/in/paused') },
    { endpoint: 'x-3', state: 'failed', attempt: 1, token: token('/in/failed') },
    { endpoint: 'x-4', state: 'copying', attempt: 1 },
  ];
  await write(a, held, 'running');
  await write(a, [{ endpoint: 'x-1', state: 'planned', attempt: 1, token: token('/in/ended') }], 'cancelled');
  const kept = await database.store.sql(a.tenantId, (sql) => keptWrites(sql, a.tenantId));
  expect(kept.map(({ path }) => path).sort()).toEqual(['/in/held', '/in/paused']);
  expect(await database.store.sql(b.tenantId, (sql) => keptWrites(sql, b.tenantId))).toEqual([]);
});

test('what a step left that was killed while it wrote a small file is found and removed, and one that wrote its file is not looked for', async () => {
  const { store, applicationUrl, tenants } = database;
  const { tenantId } = tenants.b;
  const engine = openEngine(store);
  const world = await openWorld(store, tenants.b, engine);
  const sshd = await startSshd({ root: '/' });
  try {
    const { host, port, username, hostKeys, privateKey } = sshd;
    const config = { host, port, username, root: world.target, hostKeys };
    for (const name of ['killed', 'alive', 'refused'])
      await addEndpoint(store, tenantId, name, 'sftp', config, { privateKey });
    const runId = await world.newRun();
    const input = (endpoint: string, path = '/marks/today/READY') => ({
      tenantId,
      runId,
      stepKey: `steps[${endpoint}]`,
      endpoints: { to: endpoint },
      with: { to: { endpoint: 'to', path }, text: 'ready' },
    });
    const dependencies = {
      store,
      endpoints: engine.endpoints,
      buffers: createBuffers({ ceilingBytes: 1_000_000 }),
      log,
    };
    const write = (endpoint: string) => writeFile(dependencies, input(endpoint), attemptOf());
    await write('alive');
    await expect(write('refused')).rejects.toMatchObject({ kind: 'exists' });
    const words = JSON.stringify({
      applicationUrl,
      input: input('killed', '/marks/today/LATER'),
    } satisfies WriteOptions);
    const [, signal] = await once(spawn(process.execPath, [writeProcess, words], { stdio: 'inherit' }), 'close');
    expect(signal).toBe('SIGKILL');

    const folder = join(world.target, 'marks/today');
    const [left, ...others] = (await readdir(folder)).filter((name) => name !== 'READY');
    expect([left, others]).toEqual([expect.stringMatching(/^\.waybill-step-.*\.part$/), []]);
    const places = async () =>
      (await findLeftOvers(database, { from: { tenantId, endpoint: '' } })).places.filter(
        (place) => place.tenantId === tenantId && ['killed', 'alive', 'refused'].includes(place.endpoint),
      );
    expect(await places()).toEqual([{ tenantId, endpoint: 'killed' }]);
    const sweep = () =>
      sweepEndpoint(
        { store, endpoints: engine.endpoints, log },
        { tenantId, endpoint: 'killed' },
        AbortSignal.timeout(30_000),
      );
    expect(await sweep()).toEqual({ removed: 0, failed: false });
    const then = Date.now() / 1000 - 3 * 86_400;
    await utimes(join(folder, left!), then, then);
    expect(await sweep()).toEqual({ removed: 1, failed: false });
    expect(await readdir(folder)).toEqual(['READY']);
    expect(await places()).toHaveLength(1);
    await database.asOwner(`update step_write set created_at = now() - interval '3 days'`);
    await sweep();
    expect(await places()).toEqual([]);
  } finally {
    await engine.close();
    await sshd.stop();
    await world.remove();
  }
});
