import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PutObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { EndpointLimits } from '../../schema/configuration.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { TestDatabase } from '../../test/servers/database.ts';
import { type S3Bucket, startS3Bucket } from '../../test/servers/s3.ts';
import { addEndpoint, attemptOf, openEngine, patient, type World } from '../../test/transfer/world.ts';
import { worldOfEachTest } from '../../test/transfer/worldOfEachTest.ts';

let database: TestDatabase;
let world: World;
let bucket: S3Bucket;
worldOfEachTest((opened) => {
  ({ database, world } = opened);
});
beforeAll(async () => {
  bucket = await startS3Bucket();
}, 120_000);
afterAll(() => bucket?.stop());

/** A folder of its own in the bucket for each test, as alias `bucket`. */
async function reach(): Promise<string> {
  const name = `s3-${world.aliases.partner}`;
  const { endpoint, region, accessKeyId, secretAccessKey } = bucket;
  const config = { endpoint, region, bucket: bucket.bucket, prefix: name, accessKeyId };
  await addEndpoint(database.store, world.tenantId, name, 's3', config, { secretAccessKey });
  world.aliases.bucket = name;
  return name;
}

const put = (prefix: string, key: string, content: string) =>
  bucket.client.send(new PutObjectCommand({ Bucket: bucket.bucket, Key: `${prefix}/${key}`, Body: content }));

test('what cannot be read before it is published is read back then, and the evidence says so', async () => {
  await reach();
  await world.put({ 'a.csv': 'a', empty: '' });
  const { runId, ...counts } = await world.copy({ from: 'partner:/*', to: 'bucket:/in/', verify: 'readback' });
  expect(counts).toMatchObject({ files: 2, failed: 0 });
  expect((await world.deliveries(runId)).map(({ evidence }) => evidence)).toEqual(['readback', 'readback']);
});

test('what is others bytes by then is removed again, as integrity', async () => {
  const prefix = await reach();
  await world.put({ 'a.csv': 'right' });
  const meddling = openEngine(database.store, async (step) => {
    if (step === 'committed') await put(prefix, 'in/a.csv', 'wrong');
  });
  const runId = await world.newRun();
  const { transferId } = await world.plan(runId, { from: 'partner:/*', to: 'bucket:/in/', verify: 'readback' });
  const batch = { tenantId: world.tenantId, runId, transferId, batch: 0 };
  const answer = await meddling.work.copyBatch(batch, attemptOf());
  await meddling.close();
  expect(answer).toMatchObject({ files: 0, failed: 1, firstFailure: { kind: 'integrity' } });
  expect(await world.copy({ from: 'bucket:/**', to: 'landing:/' })).toMatchObject({ files: 0, failed: 0 });
});

test.each([
  ['published', 'new', { 'a.csv': 'new' }, 2],
  ['not published, but somebody else has', 'old', { 'a.csv': 'old', 'a.v2.csv': 'new' }, 3],
])(
  'version: an attempt that was cut off has %s meanwhile, and there is one version',
  async (_, late, left, attempts) => {
    const prefix = await reach();
    await world.put({ 'a.csv': 'new' });
    let verified = 0;
    const engine = openEngine(database.store, async (step) => {
      if (step !== 'verified') return;
      if (++verified === 1) throw new WaybillError('unavailable', 'cut off');
      if (verified === 2) await put(prefix, 'in/a.csv', late);
    });
    const runId = await world.newRun();
    const { transferId } = await world.plan(runId, { from: 'partner:/*', to: 'bucket:/in/', onConflict: 'version' });
    const batch = { tenantId: world.tenantId, runId, transferId, batch: 0 };
    const terms = { retry: { ...patient, attempts: 5 } };
    try {
      for (let attempt = 1; attempt < attempts; attempt++)
        await expect(engine.work.copyBatch(batch, attemptOf({ ...terms, attempt }))).rejects.toThrow();
      expect(await engine.work.copyBatch(batch, attemptOf({ ...terms, attempt: attempts }))).toMatchObject({
        files: 1,
      });
    } finally {
      await engine.close();
    }
    await world.copy({ from: 'bucket:/in/*', to: 'landing:/' });
    const found = Object.fromEntries(Object.entries(left).map(([name, content]) => [`/${name}`, content]));
    expect(await world.read(world.target)).toEqual(found);
  },
);

test('a source in a bucket is moved aside within it, under another name when that is taken', async () => {
  const prefix = await reach();
  for (const [key, content] of Object.entries({ 'out/a.csv': 'a', 'out/b.csv': 'b', 'done/b.csv': 'of before' }))
    await put(prefix, key, content);
  const then = { move: '/done/', onConflict: 'version' };
  const { runId, ...counts } = await world.copy({ from: 'bucket:/out/*', to: 'landing:/in/', then });
  expect(counts).toMatchObject({ files: 2, failed: 0 });
  expect((await world.deliveries(runId)).map(({ state, disposed }) => [state, disposed])).toEqual([
    ['settled', '/done/a.csv'],
    ['settled', '/done/b.v2.csv'],
  ]);
  await world.copy({ from: 'bucket:/**', to: 'landing:/all/' });
  const all = { '/all/done/a.csv': 'a', '/all/done/b.csv': 'of before', '/all/done/b.v2.csv': 'b' };
  expect(await world.read(world.target)).toEqual({ ...all, '/in/a.csv': 'a', '/in/b.csv': 'b' });
});

test('the etag of a source is kept with its delivery, and tells versions of one size apart', async () => {
  const prefix = await reach();
  await put(prefix, 'a.csv', 'one');
  const given = { from: 'bucket:/*', to: 'landing:/', onConflict: 'overwrite' };
  const first = await world.copy(given);
  expect(first).toMatchObject({ files: 1, failed: 0 });
  const [row] = await database.asOwner<{ source_etag: string }>(
    `select source_etag from delivery where run_id = $1::uuid`,
    [first.runId],
  );
  expect(row!.source_etag).toMatch(/^\S+$/);
  expect(await world.copy(given)).toMatchObject({ files: 0, skipped: 1 });
  await put(prefix, 'a.csv', 'two');
  expect(await world.copy(given)).toMatchObject({ files: 1, skipped: 0 });
  expect(await world.read(world.target)).toEqual({ '/a.csv': 'two' });
});

test('a source that changes between plan and copy is a conflict, though its size is the same', async () => {
  const prefix = await reach();
  await put(prefix, 'a.csv', 'one');
  const runId = await world.newRun();
  const { transferId } = await world.plan(runId, { from: 'bucket:/*', to: 'landing:/' });
  await put(prefix, 'a.csv', 'two');
  const engine = openEngine(database.store);
  const batch = { tenantId: world.tenantId, runId, transferId, batch: 0 };
  expect(await engine.work.copyBatch(batch, attemptOf())).toMatchObject({ firstFailure: { kind: 'conflict' } });
  await engine.close();
  expect(await world.read(world.target)).toEqual({});
});

test('with recheck, what was taken from the bucket is delivered again', async () => {
  await reach();
  await world.put({ 'a.csv': 'a' });
  const given = { from: 'partner:/*', to: 'bucket:/in/', recheck: true };
  await world.copy(given);
  expect(await world.copy(given)).toMatchObject({ files: 0, skipped: 1 });
  expect(await world.copy({ from: 'bucket:/in/*', to: 'landing:/', then: { delete: true } })).toMatchObject({
    files: 1,
  });
  expect(await world.copy(given)).toMatchObject({ files: 1, skipped: 0 });
});

/** Answers no PUT before so many are there, and gives more of them time to come; gives how many there were at once at most. */
async function reachHesitant(together: number, limits: EndpointLimits): Promise<() => number> {
  const waiting: ServerResponse[] = [];
  let most = 0;
  const answerAll = () => {
    for (const each of waiting.splice(0)) each.writeHead(200, { etag: '"e"' }).end();
  };
  const server = createServer((request, response) => {
    request.resume().on('end', () => {
      most = Math.max(most, waiting.push(response));
      if (waiting.length === together) setTimeout(answerAll, 100);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => new Promise<void>((resolve) => server.close(() => resolve()).closeAllConnections()));
  const { port } = server.address() as AddressInfo;
  const name = `hesitant-${world.aliases.partner}`;
  const config = {
    endpoint: `http://127.0.0.1:${port}`,
    region: 'us-east-1',
    bucket: 'hesitant',
    accessKeyId: 'nobody',
  };
  await addEndpoint(database.store, world.tenantId, name, 's3', config, { secretAccessKey: 'nothing' }, limits);
  world.aliases.hesitant = name;
  return () => most;
}

test('a source that gives one file at a time does not keep the target from taking several', async () => {
  const most = await reachHesitant(4, {});
  await addEndpoint(
    database.store,
    world.tenantId,
    `slow-${world.tenantId}`,
    'local',
    { root: world.source },
    {},
    {
      concurrency: 1,
    },
  );
  world.aliases.slow = `slow-${world.tenantId}`;
  await world.put({ 'a.csv': 'a', 'b.csv': 'b', 'c.csv': 'c', 'd.csv': 'd' });
  const given = { from: 'slow:/*', to: 'hesitant:/', onConflict: 'overwrite' };
  expect(await world.copy(given)).toMatchObject({ files: 4, failed: 0 });
  expect(most()).toBe(4);
});

test('a target that takes two files at a time is not asked for a third', async () => {
  const most = await reachHesitant(2, { concurrency: 2 });
  await world.put({ 'a.csv': 'a', 'b.csv': 'b', 'c.csv': 'c', 'd.csv': 'd' });
  const given = { from: 'partner:/*', to: 'hesitant:/', onConflict: 'overwrite' };
  expect(await world.copy(given)).toMatchObject({ files: 4, failed: 0 });
  expect(most()).toBe(2);
});
