import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { GetObjectCommand, ListMultipartUploadsCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TestDatabase } from '../../test/servers/database.ts';
import { type S3Bucket, startS3Bucket } from '../../test/servers/s3.ts';
import { type Sshd, startSshd } from '../../test/servers/sshd.ts';
import type { CopyOptions } from '../../test/transfer/copyProcess.ts';
import { addEndpoint, attemptOf, type Engine, openEngine, patient, type World } from '../../test/transfer/world.ts';
import { worldOfEachTest } from '../../test/transfer/worldOfEachTest.ts';
import { durableSteps } from './context.ts';

const copyProcess = fileURLToPath(new URL('../../test/transfer/copyProcess.ts', import.meta.url));
const mebibyte = 1024 * 1024;
let database: TestDatabase;
let engine: Engine;
let world: World;
worldOfEachTest((opened) => {
  ({ database, engine, world } = opened);
});

async function addTarget(alias: string): Promise<string> {
  const folder = join(world.target, '..', alias);
  await mkdir(folder);
  const name = `${alias}${world.aliases.partner!.slice('partner'.length)}`;
  await addEndpoint(database.store, world.tenantId, name, 'local', { root: folder });
  world.aliases[alias] = name;
  return folder;
}

/** Copies in a process of its own that is to die by SIGKILL; gives what it said before. */
async function copyAndDie(options: Omit<CopyOptions, 'applicationUrl' | 'leaseMs'>): Promise<string> {
  const words = JSON.stringify({ applicationUrl: database.applicationUrl, leaseMs: 300, ...options });
  const child = spawn(process.execPath, [copyProcess, words], { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  let error = '';
  child.stdout.on('data', (text) => {
    said += text;
  });
  child.stderr.on('data', (text) => {
    error += text;
  });
  const [, signal] = await once(child, 'close');
  expect(signal, error).toBe('SIGKILL');
  return said;
}

async function filesOf(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length))
    .sort();
}

/** What each of the two targets has below /in/, by name. */
type ReadTargets = () => Promise<Array<Record<string, string>>>;
const ownSteps = durableSteps.filter((step) => step !== 'token' && step !== 'disposed' && step !== 'settled');
// The step number at which the delivery to each of the two targets stands still; 0: it goes on.
const standsOfOne: ReadonlyArray<readonly [number, number]> = ownSteps.flatMap((_, index) => [
  [index + 1, 0] as const,
  [0, index + 1] as const,
]);
// What is done for both is done in the name of the first.
const standsAtTheEnd: ReadonlyArray<readonly [number, number]> = [
  [ownSteps.length + 1, 0],
  [ownSteps.length + 2, 0],
  [0, ownSteps.length + 1],
];

/** Each pair is a file whose deliveries stand still there when the process is killed; a second attempt has to bring them all to their end. */
async function crashAt(
  stands: ReadonlyArray<readonly [number, number]>,
  to: string[],
  readTargets: ReadTargets,
): Promise<void> {
  const names = [...stands.map((_, index) => `${100 + index}.bin`), '999.bin'];
  await world.put(Object.fromEntries(names.map((name) => [`out/${name}`, `content of ${name}`])));
  const runId = await world.newRun();
  const { transferId, batches } = await world.plan(runId, { from: 'partner:/out/*', to, then: { move: '/done/' } });
  expect(batches).toBe(1);
  const rows = await world.deliveries(runId);
  const steps = Object.fromEntries(
    stands.flatMap((pair, index) =>
      pair.flatMap((count, target) => (count === 0 ? [] : [[rows[2 * index + target]!.id, count] as const])),
    ),
  );
  const batch = { tenantId: world.tenantId, runId, transferId, batch: 0 };
  const said = await copyAndDie({ batch, attempt: 1, standAfter: { steps, last: 'settled' } });
  const stood = new Set(Object.values((JSON.parse(said) as { stands: Record<string, string> }).stands));
  expect([...stood].sort()).toEqual(durableSteps.filter((step) => step !== 'token').toSorted());

  const answer = await engine.work.copyBatch(batch, attemptOf({ attempt: 2, retry: patient }));
  expect(answer).toMatchObject({ files: 2 * names.length, failed: 0 });
  const wanted = Object.fromEntries(names.map((name) => [name, `content of ${name}`]));
  expect(await readTargets()).toEqual([wanted, wanted]);
  expect(await filesOf(world.source)).toEqual(names.map((name) => `/done/${name}`));
  const published = (await world.events('delivery.published')).map(
    ({ data }) => data.source as { endpoint: string; path: string },
  );
  const ours = published.filter(({ endpoint }) => endpoint === world.aliases.partner).map(({ path }) => path);
  expect(ours.sort()).toEqual(names.flatMap((name) => [`/out/${name}`, `/out/${name}`]));
  const moved = (await world.events('file.moved')).filter(({ data }) => data.endpoint === world.aliases.partner);
  expect(moved.map(({ data }) => data.from).sort()).toEqual(names.map((name) => `/out/${name}`));
  expect((await world.deliveries(runId)).every(({ state, disposed }) => state === 'settled' && disposed !== null)).toBe(
    true,
  );
}

async function contentsOf(folder: string): Promise<Record<string, string>> {
  const names = await filesOf(folder);
  const contents = names.map(async (name) => [name.slice('/in/'.length), await readFile(folder + name, 'utf8')]);
  return Object.fromEntries(await Promise.all(contents));
}

test('killed after the n-th durable step of either target or of both, for every n, all files arrive at both, once', async () => {
  const archive = await addTarget('archive');
  const standsOfBoth = ownSteps.slice(5).map((_, index) => [index + 6, index + 6] as const);
  const stands = [...standsOfOne, ...standsOfBoth, ...standsAtTheEnd];
  await crashAt(stands, ['landing:/in/', 'archive:/in/'], () =>
    Promise.all([world.target, archive].map((folder) => contentsOf(folder))),
  );
});

describe('with a target by SFTP and one in a bucket', () => {
  let sshd: Sshd;
  let bucket: S3Bucket;
  let area: string;
  beforeAll(async () => {
    area = await mkdtemp(join(tmpdir(), 'waybill-fan-out-'));
    [sshd, bucket] = await Promise.all([startSshd({ root: area }), startS3Bucket()]);
  }, 120_000);
  afterAll(async () => {
    await Promise.all([sshd?.stop(), bucket?.stop()]);
    await rm(area, { recursive: true, force: true });
  });

  async function addRemoteTargets(): Promise<void> {
    const ending = world.aliases.partner!.slice('partner'.length);
    const { host, port, username, hostKeys, privateKey } = sshd;
    const sftp = { host, port, username, root: world.target, hostKeys };
    await addEndpoint(database.store, world.tenantId, `drop${ending}`, 'sftp', sftp, { privateKey });
    const { endpoint, region, accessKeyId, secretAccessKey } = bucket;
    const s3 = { endpoint, region, bucket: bucket.bucket, accessKeyId };
    await addEndpoint(database.store, world.tenantId, `bucket${ending}`, 's3', s3, { secretAccessKey });
    Object.assign(world.aliases, { drop: `drop${ending}`, bucket: `bucket${ending}` });
  }

  async function contentsOfBucket(): Promise<Record<string, string>> {
    const where = { Bucket: bucket.bucket };
    const { Contents = [] } = await bucket.client.send(new ListObjectsV2Command(where));
    const contents = Contents.map(async ({ Key }) => {
      const { Body } = await bucket.client.send(new GetObjectCommand({ ...where, Key }));
      return [Key!.slice('in/'.length), await Body!.transformToString()];
    });
    return Object.fromEntries(await Promise.all(contents));
  }

  test('killed after the n-th durable step of either, for every n, all files arrive at both, once', async () => {
    await addRemoteTargets();
    await crashAt([...standsOfOne, ...standsAtTheEnd], ['drop:/in/', 'bucket:/in/'], () =>
      Promise.all([contentsOf(world.target), contentsOfBucket()]),
    );
    const { Uploads = [] } = await bucket.client.send(new ListMultipartUploadsCommand({ Bucket: bucket.bucket }));
    expect(Uploads).toEqual([]);
  });
});

test('killed in the middle of a large file, each target goes on from what it has', async () => {
  const archive = await addTarget('archive');
  const content = randomBytes(48 * mebibyte + 5);
  await world.put({ 'out/large.bin': content });
  const runId = await world.newRun();
  const given = { from: 'partner:/out/*', to: ['landing:/in/', 'archive:/in/'], then: { delete: true } };
  const { transferId } = await world.plan(runId, given);
  const batch = { tenantId: world.tenantId, runId, transferId, batch: 0 };
  await copyAndDie({ batch, attempt: 1, signalAfter: { bytes: 72 * mebibyte, signal: 'SIGKILL' } });
  let sentBytes = 0;
  let readBytes = 0;
  const next = openEngine(database.store, undefined, {
    onWrite: (event, _, bytes) => {
      if (event === 'sent') sentBytes += bytes;
    },
    onRead: (bytes) => {
      readBytes += bytes;
    },
  });
  try {
    await next.work.copyBatch(batch, attemptOf({ attempt: 2, retry: patient }));
  } finally {
    await next.close();
  }
  expect(sentBytes).toBeLessThan(2 * content.length - 24 * mebibyte);
  // Both read what they have already, for its hash.
  expect(readBytes).toBeLessThan(content.length * 1.7);
  for (const folder of [world.target, archive]) {
    expect(await filesOf(folder)).toEqual(['/in/large.bin']);
    expect((await readFile(join(folder, 'in/large.bin'))).equals(content)).toBe(true);
  }
  expect(await filesOf(world.source)).toEqual([]);
  const deliveries = await world.deliveries(runId);
  expect(deliveries.map(({ state, attempt }) => [state, attempt])).toEqual([
    ['settled', 2],
    ['settled', 2],
  ]);
});

test('three targets of the same speed cause the source to be read once', async () => {
  await addTarget('archive');
  await addTarget('lab');
  const content = randomBytes(48 * mebibyte);
  await world.put({ 'large.bin': content, 'small.txt': 'small' });
  let readBytes = 0;
  const counting = openEngine(database.store, undefined, {
    memoryBytes: 256 * mebibyte,
    onRead: (bytes) => {
      readBytes += bytes;
    },
  });
  try {
    const runId = await world.newRun();
    const { transferId } = await world.plan(runId, {
      from: 'partner:/*',
      to: ['landing:/in/', 'archive:/in/', 'lab:/in/'],
    });
    await counting.work.copyBatch({ tenantId: world.tenantId, runId, transferId, batch: 0 }, attemptOf());
    expect((await world.deliveries(runId)).map(({ state }) => state)).toEqual(Array(6).fill('settled'));
  } finally {
    await counting.close();
  }
  expect(readBytes).toBeLessThanOrEqual(content.length * 1.1);
});
