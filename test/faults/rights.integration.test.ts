import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../servers/database.ts';
import { startVersitygw, type Versitygw } from '../servers/versitygw.ts';
import { type Engine, openEngine } from '../transfer/world.ts';
import { contents, type Ground, localGround, planPassage } from './passage.ts';

const bucket = 'orders';
let database: TestDatabase;
let engine: Engine;
let readOnly: Versitygw;
let writable: Versitygw;

beforeAll(async () => {
  [database, readOnly, writable] = await Promise.all([
    createTestDatabase(),
    startVersitygw(['--readonly']),
    startVersitygw(),
  ]);
  engine = openEngine(database.store);
});
afterAll(async () => {
  await engine?.close();
  await readOnly?.stop();
  await writable?.stop();
  await database?.drop();
});

/** A prefix of its own in the server's bucket. */
async function groundOf(server: Versitygw, prefix: string): Promise<Ground> {
  const { endpoint, region, accessKeyId, secretAccessKey } = server;
  const folder = path.join(server.folder, bucket, prefix);
  await mkdir(folder, { recursive: true });
  const config = { endpoint, region, accessKeyId, bucket, prefix };
  return { folder, connector: 's3', config, secrets: { secretAccessKey }, remove: async () => {} };
}

test('a target on an S3 server that lets nothing be written: forbidden for every file at once, and a later run delivers', async () => {
  const [from, to] = [await localGround(), await groundOf(readOnly, 'in')];
  const passage = await planPassage(database, engine, { from, to });
  expect(await passage.attempt()).toMatchObject({ files: 0, failed: passage.files.size });
  for (const row of await passage.deliveries())
    expect(row).toMatchObject({ state: 'failed', errorKind: 'forbidden', attempt: 1 });
  expect((await passage.finish()).firstFailure).toMatchObject({
    kind: 'forbidden',
    endpoint: passage.world.aliases.to,
    message: expect.stringContaining('denies access'),
  });
  expect(await contents(to.folder)).toEqual(new Map());

  const instead = await groundOf(writable, 'in');
  await passage.change('to', instead.config);
  const later = await passage.world.copy({ from: 'from:/*', to: 'to:/' });
  expect(later).toMatchObject({ files: passage.files.size, failed: 0 });
  expect((await contents(instead.folder)).size).toBe(passage.files.size);
  await passage.remove();
});

test('a source on an S3 server that lets nothing be deleted: the files arrive, stay there too, and the rows say why', async () => {
  const [from, to] = [await groundOf(readOnly, 'out'), await localGround()];
  const passage = await planPassage(database, engine, { from, to }, { then: { delete: true } });
  await passage.attempt();
  await passage.expectArrived();
  expect(await contents(from.folder)).toEqual(await contents(to.folder));
  for (const row of await passage.deliveries()) {
    expect(row).toMatchObject({ state: 'published', errorKind: 'forbidden', disposed: null });
    expect(row.errorMessage).toContain('denies access');
  }
  expect((await passage.finish()).firstFailure).toMatchObject({
    kind: 'forbidden',
    endpoint: passage.world.aliases.from,
  });
  expect(await passage.world.events('file.deleted')).toEqual([]);
  await passage.remove();
});
