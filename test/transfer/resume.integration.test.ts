import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { limits } from '../../activities/transfer/context.ts';
import { eventually } from '../../connectors/conformance/steps.ts';
import { createTestDatabase, type TestDatabase } from '../servers/database.ts';
import { type Sshd, startSshd } from '../servers/sshd.ts';
import { startVersitygw, type Versitygw } from '../servers/versitygw.ts';
import type { CopyOptions } from './copyProcess.ts';
import { addEndpoint, attemptOf, type Engine, openEngine, openWorld, patient, type World } from './world.ts';

const copyProcess = fileURLToPath(new URL('./copyProcess.ts', import.meta.url));
const mebibyte = 1024 * 1024;
const sourceBytes = 100 * mebibyte + 12_345;
/** For what is killed once. */
const smallerBytes = 44 * mebibyte + 12_345;

let database: TestDatabase;
let engine: Engine;
let sshd: Sshd;
let gateway: Versitygw;
let folder: string;
let random: Buffer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'waybill-resume-'));
  [database, sshd, gateway] = await Promise.all([createTestDatabase(), startSshd({ root: '/' }), startVersitygw()]);
  await mkdir(join(gateway.folder, 'bucket'));
  engine = openEngine(database.store);
  random = randomBytes(sourceBytes);
});
afterAll(async () => {
  await engine?.close();
  await gateway?.stop();
  await sshd?.stop();
  await database?.drop();
  await rm(folder, { recursive: true, force: true });
});

type Kind = 'local' | 'sftp' | 's3';
interface Place {
  alias: string;
  /** Where its files are on this machine. */
  folder: string;
}

/** A folder of its own, reached as that kind of endpoint. */
async function openPlace(world: World, kind: Kind, role: 'source' | 'target'): Promise<Place> {
  const alias = `${role}-${kind}`;
  const name = `${alias}${world.aliases.partner!.slice('partner'.length)}`;
  world.aliases[alias] = name;
  const root = role === 'source' ? world.source : world.target;
  const { store } = database;
  if (kind === 'local') await addEndpoint(store, world.tenantId, name, 'local', { root });
  if (kind === 'sftp') {
    const { host, port, username, hostKeys, privateKey } = sshd;
    const config = { host, port, username, root, hostKeys, connections: 1 };
    await addEndpoint(store, world.tenantId, name, 'sftp', config, { privateKey });
  }
  if (kind !== 's3') return { alias, folder: root };
  const { endpoint, region, accessKeyId, secretAccessKey } = gateway;
  const config = { endpoint, region, accessKeyId, bucket: 'bucket', prefix: name };
  await addEndpoint(store, world.tenantId, name, 's3', config, { secretAccessKey });
  return { alias, folder: join(gateway.folder, 'bucket', name) };
}

/** A delivery of one large file that has been planned, and what came of it. */
async function openDelivery([from, to]: [Kind, Kind], size = smallerBytes) {
  const content = random.subarray(0, size);
  const world = await openWorld(database.store, database.tenants.a, engine);
  const source = await openPlace(world, from, 'source');
  const target = await openPlace(world, to, 'target');
  await mkdir(join(source.folder, 'out'), { recursive: true });
  await writeFile(join(source.folder, 'out/large.bin'), content);
  const given = { from: `${source.alias}:/out/large.bin`, to: `${target.alias}:/in/` };
  const runId = await world.newRun();
  const { transferId } = await world.plan(runId, given);
  const batch = { tenantId: world.tenantId, runId, transferId, batch: 0 };
  return {
    world,
    given,
    batch,
    content,
    contentHash: createHash('sha256').update(content).digest('hex'),
    source: join(source.folder, 'out/large.bin'),
    writeLog: join(folder, `${runId}.log`),
    finish: () => engine.work.finishTransfer({ tenantId: world.tenantId, runId, transferId, status: 'succeeded' }),
    arrived: () => hashOf(join(target.folder, 'in/large.bin')),
    async leftBehind(): Promise<unknown[]> {
      const parts = (await readdir(target.folder, { recursive: true })).filter((name) => name.endsWith('.part'));
      const uploads = await engine.endpoints.use(world.tenantId, world.aliases[target.alias]!, (connector) =>
        connector.sweep!('/in', -60_000, AbortSignal.timeout(30_000)),
      );
      const claims = await database.asOwner(
        `select 1 from delivery_claim c join delivery d on d.id = c.delivery_id
          where c.delivered_at is null and d.target_endpoint = '${world.aliases[target.alias]}'`,
      );
      return [...parts, ...Array.from({ length: uploads }, () => 'an upload'), ...claims];
    },
    async published(): Promise<number> {
      const names = Object.values(world.aliases);
      const events = await world.events('delivery.published');
      return events.filter(({ data }) => names.includes((data.target as { endpoint: string }).endpoint)).length;
    },
  };
}

type Delivery = Awaited<ReturnType<typeof openDelivery>>;

function startCopying({ batch, writeLog }: Delivery, attempt: number, more: Partial<CopyOptions> = {}) {
  const options: CopyOptions = { applicationUrl: database.applicationUrl, batch, attempt, writeLog, ...more };
  const child = spawn(process.execPath, [copyProcess, JSON.stringify(options)], { stdio: ['ignore', 'pipe', 'pipe'] });
  const said = { out: '', error: '' };
  child.stdout.on('data', (text) => {
    said.out += text;
  });
  child.stderr.on('data', (text) => {
    said.error += text;
  });
  const ended = once(child, 'close').then(([, signal]) => ({
    signal,
    error: said.error,
    result: () => JSON.parse(said.out.trim().split('\n').at(-1) || JSON.stringify(said.error)),
  }));
  return { child, ended };
}

interface Write {
  event: 'sent' | 'acknowledged';
  at: number;
  bytes: number;
}

async function readWrites(path: string): Promise<Write[]> {
  const text = await readFile(path, 'utf8').catch(() => '');
  const lines = text.split('\n').filter((line) => line !== '');
  return lines.map((line) => {
    const [event, at, bytes] = line.split(' ');
    return { event: event as Write['event'], at: Number(at), bytes: Number(bytes) };
  });
}

const sum = (writes: readonly Write[], event: Write['event']) =>
  writes.filter((write) => write.event === event).reduce((total, { bytes }) => total + bytes, 0);

const firstOf = (writes: readonly Write[]) => Math.min(...writes.map(({ at }) => at));

/** Up to where everything from `from` on is acknowledged. */
function certainUpTo(writes: readonly Write[], from: number): number {
  const acknowledged = writes.filter(({ event }) => event === 'acknowledged').sort((one, other) => one.at - other.at);
  return acknowledged.reduce((end, { at, bytes }) => (at === end ? at + bytes : end), from);
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path)) hash.update(piece);
  return hash.digest('hex');
}

/** A process that copies is killed when it has brought so much; gives where it began, and what its target certainly has. */
async function killInMidFile(delivery: Delivery, attempt: number, bytes: number) {
  const before = (await readWrites(delivery.writeLog)).length;
  const signalAfter = { bytes, signal: 'SIGKILL' as const };
  const { signal, error } = await startCopying(delivery, attempt, { leaseMs: 400, signalAfter }).ended;
  expect(signal, error).toBe('SIGKILL');
  const writes = (await readWrites(delivery.writeLog)).slice(before);
  const from = firstOf(writes);
  return { from, certain: certainUpTo(writes, from) };
}

/** Each of them once as source and once as target; and how much a process may bring before it is killed. */
const pairs: Array<[Kind, Kind, number]> = [
  ['local', 'sftp', 34 * mebibyte],
  ['s3', 'local', 34 * mebibyte],
  ['sftp', 's3', 7 * mebibyte],
];

/** What may be sent again at most after a process was killed: parts are there or not. */
const lossOf = (target: Kind) => (target === 's3' ? 0 : limits.windowBytes + mebibyte);
const windowOf = (target: Kind) => (target === 's3' ? limits.partWindowBytes : 2 * limits.windowBytes);

describe('a worker killed three times in the middle of a file', () => {
  test.each(pairs)('from %s to %s costs at most a window each time', async (from, to, bytes) => {
    const delivery = await openDelivery([from, to], sourceBytes);
    const kills = [];
    for (const attempt of [1, 2, 3]) kills.push(await killInMidFile(delivery, attempt, bytes));
    const before = (await readWrites(delivery.writeLog)).length;
    const { result } = await startCopying(delivery, 4).ended;
    expect(result()).toMatchObject({ answer: { files: 1, failed: 0 } });
    const writes = await readWrites(delivery.writeLog);
    const begins = [...kills.slice(1).map((kill) => kill.from), firstOf(writes.slice(before))];
    expect(kills[0]!.from).toBe(0);
    for (const [index, { certain }] of kills.entries())
      expect(begins[index]).toBeGreaterThanOrEqual(certain - lossOf(to));
    expect(sum(writes, 'sent')).toBeLessThanOrEqual(sourceBytes + 3 * windowOf(to));
    await delivery.finish();
    expect(await delivery.arrived()).toBe(delivery.contentHash);
    expect(await delivery.published()).toBe(1);
    expect(await delivery.leftBehind()).toEqual([]);
    await delivery.world.remove();
  });
});

test('a source that changed since the worker was killed is sent from its first byte, and the reason is told', async () => {
  const delivery = await openDelivery(['local', 'sftp']);
  await killInMidFile(delivery, 1, 24 * mebibyte);
  const changed = Buffer.from(delivery.content).fill(7, 0, mebibyte);
  await writeFile(delivery.source, changed);
  await utimes(delivery.source, new Date(), new Date(Date.now() - 60_000));
  const before = (await readWrites(delivery.writeLog)).length;
  const { result } = await startCopying(delivery, 2).ended;
  expect(result()).toMatchObject({ answer: { files: 1, failed: 0 } });
  await delivery.finish();
  const writes = (await readWrites(delivery.writeLog)).slice(before);
  expect(sum(writes, 'sent')).toBe(smallerBytes);
  expect(await delivery.arrived()).toBe(createHash('sha256').update(changed).digest('hex'));
  const [row] = await delivery.world.deliveries(delivery.batch.runId);
  expect(row).toMatchObject({ errorMessage: 'sent again from its first byte: the source has changed since' });
  const told = (await delivery.world.events('delivery.restarted')).filter(({ deliveryId }) => deliveryId === row!.id);
  expect(told.map(({ data }) => data.reason)).toEqual(['the source has changed since']);
  expect(await delivery.leftBehind()).toEqual([]);
  await delivery.world.remove();
});

test('what the target kept and then lost in a crash is found out, and the file is sent from its first byte', async () => {
  const delivery = await openDelivery(['sftp', 'local']);
  await killInMidFile(delivery, 1, 30 * mebibyte);
  const [part] = (await readdir(join(delivery.world.target, 'in'))).filter((name) => name.endsWith('.part'));
  const path = join(delivery.world.target, 'in', part!);
  await writeFile(path, Buffer.from(await readFile(path)).fill(0, 4 * mebibyte, 5 * mebibyte));
  const { result } = await startCopying(delivery, 2).ended;
  expect(result()).toMatchObject({ answer: { files: 1, failed: 0 } });
  await delivery.finish();
  expect(await delivery.arrived()).toBe(delivery.contentHash);
  const [row] = await delivery.world.deliveries(delivery.batch.runId);
  expect(row!.errorMessage).toMatch(/^sent again from its first byte: what the target kept differs from the source/);
  expect(await delivery.leftBehind()).toEqual([]);
  await delivery.world.remove();
});

test('another run goes on with the file of one whose worker died', async () => {
  const delivery = await openDelivery(['local', 'sftp']);
  const { certain } = await killInMidFile(delivery, 1, 30 * mebibyte);
  const { world, given, finish } = delivery;
  const runId = await world.newRun();
  const { transferId } = await world.plan(runId, given);
  const before = (await readWrites(delivery.writeLog)).length;
  const next = { ...delivery, batch: { ...delivery.batch, runId, transferId } };
  const { result } = await startCopying(next, 1).ended;
  expect(result()).toMatchObject({ answer: { files: 1, failed: 0 } });
  const writes = (await readWrites(delivery.writeLog)).slice(before);
  expect(firstOf(writes)).toBeGreaterThanOrEqual(certain - lossOf('sftp'));
  await engine.work.finishTransfer({ tenantId: world.tenantId, runId, transferId, status: 'succeeded' });
  await finish();
  expect(await delivery.arrived()).toBe(delivery.contentHash);
  expect(await delivery.published()).toBe(1);
  expect(await delivery.leftBehind()).toEqual([]);
  await world.remove();
});

test('a worker stopped for longer than its lease, finished by another and continued, writes and publishes nothing', async () => {
  const delivery = await openDelivery(['local', 'sftp']);
  const signalAfter = { bytes: 20 * mebibyte, signal: 'SIGSTOP' as const };
  const leaseMs = 2_000;
  const { child, ended } = startCopying(delivery, 1, { leaseMs, signalAfter });
  await once(child.stdout, 'data');
  const stoppedAtMs = performance.now();
  await expect(engine.work.copyBatch(delivery.batch, attemptOf({ attempt: 2, retry: patient }))).resolves.toMatchObject(
    { files: 1 },
  );
  expect(await delivery.published()).toBe(1);
  const before = (await readWrites(delivery.writeLog)).filter(({ event }) => event === 'sent').length;
  // The other attempt needs no second for its work, and a worker that was away for less than one cannot tell.
  await eventually(async () => expect(performance.now() - stoppedAtMs).toBeGreaterThan(leaseMs));
  child.kill('SIGCONT');
  const { result } = await ended;
  expect(result()).toMatchObject({ error: { kind: 'conflict', leaseLost: true } });
  expect((await readWrites(delivery.writeLog)).filter(({ event }) => event === 'sent')).toHaveLength(before);
  await delivery.finish();
  expect(await delivery.published()).toBe(1);
  expect(await delivery.arrived()).toBe(delivery.contentHash);
  expect(await delivery.leftBehind()).toEqual([]);
  await delivery.world.remove();
});

test('a worker that is asked to stop hands over what is acknowledged', async () => {
  const delivery = await openDelivery(['local', 's3']);
  const signalAfter = { bytes: 16 * mebibyte, signal: 'SIGTERM' as const };
  const { result } = await startCopying(delivery, 1, { signalAfter }).ended;
  expect(result()).toMatchObject({ error: { kind: 'cancelled' } });
  const certain = certainUpTo(await readWrites(delivery.writeLog), 0);
  const [handed] = await database.asOwner<{ state: string; bytes: string; token: unknown }>(
    `select state, bytes_done::text as bytes, sink_token as token from delivery where run_id = '${delivery.batch.runId}'`,
  );
  expect(handed).toMatchObject({ state: 'planned', token: { kind: 'multipart' } });
  expect(Number(handed!.bytes)).toBeGreaterThanOrEqual(certain);
  const before = (await readWrites(delivery.writeLog)).length;
  expect((await startCopying(delivery, 1).ended).result()).toMatchObject({ answer: { files: 1 } });
  const writes = (await readWrites(delivery.writeLog)).slice(before);
  expect(firstOf(writes)).toBeGreaterThanOrEqual(certain);
  await delivery.finish();
  expect(await delivery.arrived()).toBe(delivery.contentHash);
  expect(await delivery.leftBehind()).toEqual([]);
  await delivery.world.remove();
});
