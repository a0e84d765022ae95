import { PutObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TestDatabase } from '../../test/servers/database.ts';
import { type S3Bucket, startS3Bucket } from '../../test/servers/s3.ts';
import { addEndpoint, attemptOf, openEngine, type World } from '../../test/transfer/world.ts';
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
