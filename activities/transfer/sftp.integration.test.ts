import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/servers/database.ts';
import { type Sshd, startSshd } from '../../test/servers/sshd.ts';
import { addEndpoint, attemptOf, type Engine, openEngine, openWorld, type World } from '../../test/transfer/world.ts';

let database: TestDatabase;
let engine: Engine;
let world: World & { remove(): Promise<void> };
let sshd: Sshd;
let folder: string;

/** The world's `partner`, reached through a real sshd; its files are in the same folder. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'waybill-sftp-'));
  await mkdir(join(folder, 'root'));
  [database, sshd] = await Promise.all([createTestDatabase(), startSshd({ root: join(folder, 'root') })]);
  engine = openEngine(database.store);
  world = await openWorld(database.store, database.tenants.a, engine);
  for (const [alias, root] of [
    ['remote', world.source],
    ['drop', world.target],
  ] as const) {
    const config = { host: sshd.host, port: sshd.port, username: sshd.username, root, hostKeys: sshd.hostKeys };
    await addEndpoint(database.store, world.tenantId, `sftp-${alias}`, 'sftp', config, { privateKey: sshd.privateKey });
    world.aliases[alias] = `sftp-${alias}`;
  }
});
afterAll(async () => {
  await engine?.close();
  await sshd?.stop();
  await world?.remove();
  await database?.drop();
  await rm(folder, { recursive: true, force: true });
});

test('files travel from an SFTP server and to one, names of every kind and sizes around a block', async () => {
  const block = 256 * 1024;
  const files = Object.fromEntries([
    ...['世界 " \' @.csv', '#%20+?&.csv', ' leading', '.v2.csv', `${'ö'.repeat(120)}.csv`].map((name) => [
      `in/${name}`,
      name,
    ]),
    ...[0, 1, block - 1, block, block + 1, 5 * block + 7].map((size) => [
      `in/${size}.bin`,
      randomBytes(size).toString('latin1').slice(0, size),
    ]),
  ]) as Record<string, string>;
  await world.put(files);
  const expected = Object.fromEntries(
    Object.entries(await world.read(world.source)).filter(([path]) => !path.includes('/.')),
  );
  const copied = await world.copy({
    from: 'remote:/in/*',
    to: 'drop:/there/',
    verify: 'readback',
    then: { move: '/done/' },
  });
  expect(copied).toMatchObject({ files: Object.keys(expected).length, failed: 0, firstFailure: null });
  const arrived = Object.entries(await world.read(world.target)).map(([path, content]) => [
    path.replace('/there/', '/in/'),
    content,
  ]);
  expect(Object.fromEntries(arrived)).toEqual(expected);
  const left = Object.keys(await world.read(world.source)).filter((path) => path.startsWith('/in/'));
  expect(left).toEqual(['/in/.v2.csv']);
});

test('five hundred small files travel over pooled connections', async () => {
  await world.put(Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`many/${index}.txt`, `${index}`])));
  expect(await world.copy({ from: 'remote:/many/*', to: 'landing:/many/' })).toMatchObject({ files: 500, failed: 0 });
});

test('a server that is gone stops the batch as unavailable, and nothing is lost', async () => {
  await world.put({ 'late/a.csv': 'a' });
  const other = await startSshd({ root: folder });
  const config = {
    host: other.host,
    port: other.port,
    username: other.username,
    root: world.source,
    hostKeys: other.hostKeys,
  };
  await addEndpoint(database.store, world.tenantId, 'sftp-late', 'sftp', config, { privateKey: other.privateKey });
  world.aliases.late = 'sftp-late';
  const runId = await world.newRun();
  const { transferId } = await world.plan(runId, { from: 'late:/late/*', to: 'landing:/late/' });
  await other.stop();
  const batch = { tenantId: world.tenantId, runId, transferId, batch: 0 };
  await expect(engine.work.copyBatch(batch, attemptOf())).rejects.toMatchObject({
    kind: 'unavailable',
    context: { endpoint: 'sftp-late' },
  });
  expect((await world.deliveries(runId))[0]).toMatchObject({ state: 'planned', errorKind: 'unavailable' });
  // The endpoint is changed to another server: the pool must not keep the old connection.
  await addEndpoint(database.store, world.tenantId, 'sftp-late', 'sftp', {
    ...config,
    port: sshd.port,
    hostKeys: sshd.hostKeys,
  });
  await database.asOwner(
    `update connector_endpoint set secret_refs = (select secret_refs from connector_endpoint where name = 'sftp-remote') where name = 'sftp-late'`,
  );
  expect(await engine.work.copyBatch(batch, attemptOf({ attempt: 2 }))).toMatchObject({ files: 1, failed: 0 });
});
