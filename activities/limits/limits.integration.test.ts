import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Partner } from '../../cli/demo/partner.ts';
import { startSsh2Server } from '../../cli/demo/ssh2Server.ts';
import type { EndpointLimits } from '../../schema/configuration.ts';
import type { Json } from '../../schema/plan.ts';
import { createTestDatabase, type TestDatabase } from '../../test/servers/database.ts';
import { startProxy } from '../../test/servers/proxy.ts';
import { addEndpoint, attemptOf, type Engine, openEngine, openWorld, type World } from '../../test/transfer/world.ts';
import { readFile } from '../actions/readFile.ts';
import { writeFile } from '../actions/writeFile.ts';
import { createBuffers } from '../transfer/buffers.ts';
import type { LeaseTimes } from './allowance.ts';

const copyProcess = fileURLToPath(new URL('../../test/transfer/copyProcess.ts', import.meta.url));
const workers = 3;
const quick: LeaseTimes = { leaseMs: 4_000, renewEveryMs: 1_000, shortEveryMs: 300, gatherMs: 100 };
let database: TestDatabase;
let engine: Engine;
let folder: string;
let partner: Partner;
/** Files that clients have open at the partner, now and at most. */
const open = { now: 0, most: 0 };

beforeAll(async () => {
  database = await createTestDatabase();
  engine = openEngine(database.store, undefined, { limitTimes: quick });
  folder = await realpath(await mkdtemp(path.join(tmpdir(), 'waybill-limits-')));
  partner = await startSsh2Server(folder, (change) => {
    open.now += change;
    open.most = Math.max(open.most, open.now);
  });
});
afterAll(async () => {
  await engine?.close();
  await partner?.stop();
  await database?.drop();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

/** A world whose `landing` is the partner, over that address, and so many planned transfers of the files. */
async function planned(
  name: string,
  limits: EndpointLimits,
  files: Record<string, Buffer>,
  transfers: number,
  port = partner.port,
): Promise<{ world: World & { remove(): Promise<void> }; batches: Batch[] }> {
  const world = await openWorld(database.store, database.tenants.a, engine);
  const { host, username, root, hostKeyFingerprint, privateKey } = partner;
  const config = { host, port, username, root, hostKeys: [hostKeyFingerprint] };
  await addEndpoint(database.store, world.tenantId, name, 'sftp', config, { privateKey }, limits);
  world.aliases.landing = name;
  await world.put(files);
  const batches: Batch[] = [];
  for (let nth = 0; nth < transfers; nth++) {
    const runId = await world.newRun();
    const { transferId } = await world.plan(runId, { from: 'partner:/*', to: `landing:/${name}-${nth}/`, once: 'off' });
    batches.push({ tenantId: world.tenantId, runId, transferId, batch: 0 });
  }
  return { world, batches };
}

interface Batch {
  tenantId: string;
  runId: string;
  transferId: string;
  batch: number;
}

/** A worker of its own process; what it says at its end, and the signal that ended it. */
async function copyInProcess(batch: Batch, options: Record<string, unknown> = {}) {
  const given = { applicationUrl: database.applicationUrl, batch, attempt: 1, limitTimes: quick, ...options };
  const child = spawn(process.execPath, [copyProcess, JSON.stringify(given)], { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.on('data', (text) => {
    said += text;
  });
  const [, signal] = await once(child, 'close');
  return { said: said === '' ? null : JSON.parse(said), signal };
}

const leases = (world: World) =>
  database.store.sql(world.tenantId, (sql) =>
    sql.query<{ slots: number }>(
      'select slots from endpoint_lease l join connector_endpoint e on e.id = l.endpoint_id where e.name = $1::text',
      [world.aliases.landing],
    ),
  );

const filesOf = (count: number, bytes: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, nth) => [`${nth}.bin`, Buffer.alloc(bytes, nth)]));

describe('limits.concurrency', () => {
  test('of 2 is never exceeded by three workers, which all come to their end', async () => {
    const { world, batches } = await planned('two-at-a-time', { concurrency: 2 }, filesOf(12, 1_000_000), workers);
    open.most = 0;
    const ended = await Promise.all(batches.map((batch) => copyInProcess(batch)));
    expect(ended.map(({ said }) => said)).toMatchObject(batches.map(() => ({ answer: { files: 12, failed: 0 } })));
    expect(open.most).toBe(2);
    expect(await leases(world)).toEqual([]);
    await world.remove();
  }, 60_000);

  test('of 2 holds for steps that read and write small files too', async () => {
    const { world } = await planned('small-steps', { concurrency: 2 }, {}, 0);
    const runId = await world.newRun();
    const buffers = createBuffers({ ceilingBytes: 1_000_000 });
    const log = { debug() {}, info() {}, warn() {}, error() {} };
    const dependencies = { store: database.store, endpoints: engine.endpoints, buffers, log };
    const step = (nth: number, given: Record<string, Json>) => {
      const { tenantId, aliases: endpoints } = world;
      return { tenantId, runId, stepKey: `steps[${nth}]`, endpoints, with: given };
    };
    const place = (nth: number) => ({ endpoint: 'landing', path: `/small-steps/${nth}.txt` });
    const all = Array.from({ length: 12 }, (_, nth) => nth);
    // So short that two need not meet; without a limit all twelve do.
    const expectWithinTwo = () => expect([1, 2]).toContain(open.most);
    const text = 'x'.repeat(60_000);
    open.most = 0;
    await Promise.all(all.map((nth) => writeFile(dependencies, step(nth, { to: place(nth), text }), attemptOf())));
    expectWithinTwo();
    open.most = 0;
    await Promise.all(all.map((nth) => readFile(dependencies, step(nth, { at: place(nth) }), attemptOf())));
    expectWithinTwo();
    await world.remove();
  }, 30_000);

  test('comes back from a worker that was killed, when its lease has run out', async () => {
    const { world, batches } = await planned('one-at-a-time', { concurrency: 1 }, filesOf(2, 100_000), 2);
    const { signal } = await copyInProcess(batches[0]!, { killAfter: 'written' });
    expect(signal).toBe('SIGKILL');
    expect(await leases(world)).toEqual([{ slots: 1 }]);
    const answer = await engine.work.copyBatch(batches[1]!, attemptOf());
    expect(answer).toMatchObject({ files: 2, failed: 0 });
    await world.remove();
  }, 30_000);

  test('that is lowered while files are copied holds from the next files on, and breaks none off', async () => {
    const proxy = await startProxy(partner);
    proxy.shape({ bytesPerSecond: 4_000_000 });
    const files = filesOf(24, 400_000);
    const { world, batches } = await planned('lowered', { concurrency: 6 }, files, 1, proxy.port);
    open.most = 0;
    const copied = engine.work.copyBatch(batches[0]!, attemptOf());
    await expect.poll(() => open.most, { interval: 10, timeout: 10_000 }).toBe(6);
    await database.store.sql(world.tenantId, (sql) =>
      sql.query(`update connector_endpoint set limits = '{"concurrency":1}' where name = 'lowered'`),
    );
    await expect.poll(() => leases(world), { interval: 50, timeout: 10_000 }).toEqual([{ slots: 1 }]);
    open.most = open.now;
    expect(await copied).toMatchObject({ files: 24, failed: 0 });
    expect(open.most).toBe(1);
    await proxy.stop();
    await world.remove();
  }, 60_000);
});

test('limits.bandwidth is kept to by three workers together, both directions counted', async () => {
  const proxy = await startProxy(partner);
  const bytesPerSecond = 3_000_000;
  const files = filesOf(4, 1_500_000);
  const { world, batches } = await planned('narrow', { bandwidth: '3MB' }, files, workers, proxy.port);
  const startedAtMs = performance.now();
  const ended = await Promise.all(batches.map((batch) => copyInProcess(batch)));
  const seconds = (performance.now() - startedAtMs) / 1_000;
  expect(ended.map(({ said }) => said)).toMatchObject(batches.map(() => ({ answer: { files: 4, failed: 0 } })));
  const { server, client } = proxy.carried();
  // Sign-in and the answers of the protocol are not counted as bytes of files.
  expect((server + client) / seconds).toBeLessThan(bytesPerSecond * 1.1);
  await proxy.stop();
  await world.remove();
}, 60_000);

test('an endpoint without limits is leased by nobody', async () => {
  const { world, batches } = await planned('unlimited', {}, filesOf(3, 1_000), 1);
  await engine.work.copyBatch(batches[0]!, attemptOf());
  expect(await leases(world)).toEqual([]);
  expect(await readdir(path.join(folder, 'unlimited-0'))).toHaveLength(3);
  await world.remove();
});
