import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Json } from '../../schema/plan.ts';
import { createTestDatabase, type TestDatabase } from '../../test/servers/database.ts';
import { type Sshd, startSshd } from '../../test/servers/sshd.ts';
import { startVersitygw, type Versitygw } from '../../test/servers/versitygw.ts';
import type { CopyOptions } from '../../test/transfer/copyProcess.ts';
import {
  addEndpoint,
  attemptOf,
  type Engine,
  openEngine,
  openWorld,
  patient,
  type World,
} from '../../test/transfer/world.ts';
import { type DurableStep, durableSteps, limits } from './context.ts';

const copyProcess = fileURLToPath(new URL('../../test/transfer/copyProcess.ts', import.meta.url));
/** A file that is taken up in its middle has one step more: its token. */
const largeFile = randomBytes(limits.resumableBytes + 1024 * 1024 + 7);
const smallFile = Buffer.from('the only one');
/** Of the processes that are killed: what comes after them need not wait for long. */
const leaseMs = 300;
let database: TestDatabase;
let engine: Engine;
let sshd: Sshd;
let gateway: Versitygw;

beforeAll(async () => {
  [database, sshd, gateway] = await Promise.all([createTestDatabase(), startSshd({ root: '/' }), startVersitygw()]);
  await mkdir(join(gateway.folder, 'drop'));
  engine = openEngine(database.store);
});
afterAll(async () => {
  await engine?.close();
  await gateway?.stop();
  await sshd?.stop();
  await database?.drop();
});

type TestWorld = World & { remove(): Promise<void> };

/** The folders of a world, also reached as `remote` and `drop` by SFTP; and a bucket. */
async function openPlaces(): Promise<TestWorld> {
  const world = await openWorld(database.store, database.tenants.a, engine);
  const names = { remote: world.source, drop: world.target };
  for (const [alias, root] of Object.entries(names)) {
    const name = `${alias}${world.aliases.partner!.slice('partner'.length)}`;
    const { host, port, username, hostKeys, privateKey } = sshd;
    const config = { host, port, username, root, hostKeys };
    await addEndpoint(database.store, world.tenantId, name, 'sftp', config, { privateKey });
    world.aliases[alias] = name;
  }
  const bucket = `bucket${world.aliases.partner!.slice('partner'.length)}`;
  const { endpoint, region, accessKeyId, secretAccessKey } = gateway;
  const config = { endpoint, region, accessKeyId, bucket: 'drop', prefix: bucket };
  await addEndpoint(database.store, world.tenantId, bucket, 's3', config, { secretAccessKey });
  world.aliases.bucket = bucket;
  return world;
}

/** Copies in a process of its own that is to die by SIGKILL; gives what it said before. */
async function copyAndDie(options: Omit<CopyOptions, 'applicationUrl' | 'leaseMs'>): Promise<string> {
  const words = JSON.stringify({ applicationUrl: database.applicationUrl, leaseMs, ...options } satisfies CopyOptions);
  const child = spawn(process.execPath, [copyProcess, words], { stdio: ['ignore', 'pipe', 'pipe'] });
  const said = { out: '', error: '' };
  child.stdout.on('data', (text) => {
    said.out += text;
  });
  child.stderr.on('data', (text) => {
    said.error += text;
  });
  const [, signal] = await once(child, 'close');
  expect(signal, said.error).toBe('SIGKILL');
  return said.out;
}

interface Scenario {
  words: string;
  given: { from: string; to: string; then?: Json };
  content: Buffer;
  /** Who comes after the process that was killed. */
  next: 'attempt' | 'run';
}

const scenarios: Scenario[] = [
  {
    words: 'an upload to SFTP that moves its sources, tried again',
    given: { from: 'partner:/out/*', to: 'drop:/in/', then: { move: '/done/' } },
    content: largeFile,
    next: 'attempt',
  },
  {
    words: 'a download from SFTP, taken over by another run',
    given: { from: 'remote:/out/*', to: 'landing:/in/' },
    content: largeFile,
    next: 'run',
  },
  {
    words: 'an upload to S3, taken over by another run',
    given: { from: 'partner:/out/*', to: 'bucket:/in/' },
    content: largeFile,
    next: 'run',
  },
  {
    words: 'a copy of small files that moves its sources, tried again',
    given: { from: 'partner:/out/*', to: 'landing:/in/', then: { move: '/done/' } },
    content: smallFile,
    next: 'attempt',
  },
  {
    words: 'a copy of small files that moves its sources, taken over by another run',
    given: { from: 'remote:/out/*', to: 'drop:/in/', then: { move: '/done/' } },
    content: smallFile,
    next: 'run',
  },
];

describe('killed after the n-th durable step of a delivery, for every n,', () => {
  test.each(scenarios)('$words: all end whole and once, with nothing left behind', async (scenario) => {
    const world = await openPlaces();
    try {
      await killAndRepeat(world, scenario);
    } finally {
      await world.remove();
    }
  });
});

/** One process does it for every n: it copies a file for each, and dies when each of them stands at its own step. */
async function killAndRepeat(world: TestWorld, { given, content, next }: Scenario) {
  const isMoved = given.then !== undefined;
  const expected = durableSteps.filter(
    (step) => (content === largeFile || step !== 'token') && (isMoved || !['disposed', 'settled'].includes(step)),
  );
  const names = [...expected, 'none'].map((step, index) => `${10 + index}-${step}.bin`);
  await world.put(Object.fromEntries(names.map((name) => [`out/${name}`, content])));
  const runId = await world.newRun();
  const { transferId, batches } = await world.plan(runId, given);
  expect(batches).toBe(1);
  const batch = { tenantId: world.tenantId, runId, transferId, batch: 0 };
  const rows = await world.deliveries(runId);
  const steps = Object.fromEntries(rows.slice(0, -1).map(({ id }, index) => [id, index + 1]));
  const said = await copyAndDie({ batch, attempt: 1, standAfter: { steps, last: expected.at(-1)! } });
  const { stands } = JSON.parse(said) as { stands: Record<string, string> };
  expect(rows.slice(0, -1).map(({ id }) => stands[id])).toEqual(expected);

  const target = given.to.slice(0, given.to.indexOf(':'));
  const there = await Promise.all(names.map((name) => readTarget(world, target, name)));
  expect(there.every((found) => found === null || found.equals(content))).toBe(true);
  expect(there.map((found) => found !== null)).toEqual(names.map((_, index) => index >= expected.indexOf('committed')));

  if (next === 'run') await world.copy(given);
  else await engine.work.copyBatch(batch, attemptOf({ attempt: 2, retry: patient }));
  await engine.work.finishTransfer({ tenantId: world.tenantId, runId, transferId, status: 'failed' });
  for (const name of names) expect((await readTarget(world, target, name))?.equals(content), name).toBe(true);
  const left = [world.source, world.target].map((folder) => readdir(folder, { recursive: true, withFileTypes: true }));
  const files = (await Promise.all(left)).flat().filter((entry) => entry.isFile());
  const folder = isMoved ? 'done' : 'out';
  const sources = names.map((name) => join(world.source, folder, name));
  const targets = target === 'bucket' ? [] : names.map((name) => join(world.target, 'in', name));
  expect(files.map((entry) => join(entry.parentPath, entry.name)).sort()).toEqual([...sources, ...targets].sort());
  await expectOnce(world, names);
  expect(await sweepTarget(world, target)).toBe(0);
}

async function readTarget(world: World, target: string, name: string): Promise<Buffer | null> {
  const folder = target === 'bucket' ? join(gateway.folder, 'drop', world.aliases.bucket!) : world.target;
  return readFile(join(folder, 'in', name)).catch(() => null);
}

async function sweepTarget(world: World, target: string): Promise<number> {
  const signal = AbortSignal.timeout(30_000);
  return engine.endpoints.use(world.tenantId, world.aliases[target]!, (connector) =>
    connector.sweep!('/in', -60_000, signal),
  );
}

async function expectOnce(world: World, names: readonly string[]): Promise<void> {
  const aliases = Object.values(world.aliases);
  const published = (await world.events('delivery.published'))
    .map(({ data }) => data.source as { endpoint: string; path: string })
    .filter(({ endpoint }) => aliases.includes(endpoint));
  expect(published.map(({ path }) => path).sort()).toEqual(names.map((name) => `/out/${name}`));
  expect(
    await database.asOwner(
      `select d.source_path from delivery_claim c join delivery d on d.id = c.delivery_id
        where c.delivered_at is null and d.source_endpoint in (${aliases.map((alias) => `'${alias}'`).join(', ')})`,
    ),
  ).toEqual([]);
}

/** Kills a process that copies a small file, after that step, with SIGKILL; then copies again in this one. */
async function killAfterStep(
  given: Record<string, Json>,
  steps: readonly DurableStep[],
  prepare?: (target: string) => Promise<void>,
) {
  const world = await openWorld(database.store, database.tenants.a, engine);
  try {
    await world.put({ 'a.csv': 'the only one' });
    await prepare?.(world.target);
    const runId = await world.newRun();
    const { transferId } = await world.plan(runId, given);
    const batch = { tenantId: world.tenantId, runId, transferId, batch: 0 };
    let attempt = 1;
    for (const step of steps) await copyAndDie({ batch, killAfter: step, attempt: attempt++ });
    const sent: string[] = [];
    const last = openEngine(database.store, (step) => void sent.push(step));
    await last.work.copyBatch(batch, attemptOf({ attempt, retry: patient }));
    await last.close();
    await engine.work.finishTransfer({ tenantId: world.tenantId, runId, transferId, status: 'succeeded' });
    const [row] = await world.deliveries(runId);
    const published = (await world.events('delivery.published')).filter((event) => event.deliveryId === row!.id);
    return {
      row: row!,
      published,
      sent,
      source: await world.read(world.source),
      target: await world.read(world.target),
    };
  } finally {
    await world.remove();
  }
}

test('a worker killed again and again, each time further on, still delivers once', async () => {
  const given = { from: 'partner:/a.csv', to: 'landing:/in/', then: { delete: true } };
  const steps: DurableStep[] = ['claimed', 'written', 'committed'];
  const { row, published, source, target } = await killAfterStep(given, steps);
  expect(row).toMatchObject({ state: 'settled' });
  expect(published).toHaveLength(1);
  expect(target).toEqual({ '/in/a.csv': 'the only one' });
  expect(source).toEqual({});
});

test.each(['overwrite', 'version'])(
  'with onConflict %s a file that was renamed before the crash is not sent again',
  async (onConflict) => {
    const given = { from: 'partner:/a.csv', to: 'landing:/in/', onConflict };
    const { row, published, sent, target } = await killAfterStep(given, ['committed'], async (folder) => {
      await mkdir(join(folder, 'in'));
      await writeFile(join(folder, 'in/a.csv'), 'an older one');
    });
    expect(sent).not.toContain('written');
    expect(published).toHaveLength(1);
    expect(row.target).toBe(onConflict === 'version' ? '/in/a.v2.csv' : '/in/a.csv');
    expect(target).toEqual(
      onConflict === 'version'
        ? { '/in/a.csv': 'an older one', '/in/a.v2.csv': 'the only one' }
        : { '/in/a.csv': 'the only one' },
    );
  },
);
