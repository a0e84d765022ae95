import { once } from 'node:events';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { planRetry } from '../../prisma/runs.ts';
import type { Json } from '../../schema/plan.ts';
import type { TestDatabase } from '../../test/servers/database.ts';
import { type Sshd, startSshd } from '../../test/servers/sshd.ts';
import { addEndpoint, attemptOf, type Engine, impatient, patient, type World } from '../../test/transfer/world.ts';
import { worldOfEachTest } from '../../test/transfer/worldOfEachTest.ts';

let database: TestDatabase;
let engine: Engine;
let world: World;
let sshd: Sshd;
beforeAll(async () => {
  sshd = await startSshd({ root: '/' });
});
afterAll(() => sshd?.stop());
worldOfEachTest((opened) => {
  ({ database, engine, world } = opened);
});

/** More targets beside `landing`, each with a folder of its own below the world's. */
async function addTargets(...aliases: string[]): Promise<Record<string, string>> {
  const folders: Record<string, string> = { landing: world.target };
  for (const alias of aliases) {
    const folder = join(world.target, '..', alias);
    await mkdir(folder, { recursive: true });
    const name = `${alias}${world.aliases.partner!.slice('partner'.length)}`;
    await addEndpoint(database.store, world.tenantId, name, 'local', { root: folder });
    world.aliases[alias] = name;
    folders[alias] = folder;
  }
  return folders;
}

/** A target whose server does not answer, until it is repaired. */
async function addTargetThatIsDown(alias: string): Promise<{ folder: string; repair(): Promise<void> }> {
  const folder = join(world.target, '..', alias);
  await mkdir(folder);
  const { host, port, username, hostKeys, privateKey } = sshd;
  const name = `${alias}${world.aliases.partner!.slice('partner'.length)}`;
  const closed = createServer().listen(0, '127.0.0.1');
  await once(closed, 'listening');
  const config = { host, port: (closed.address() as AddressInfo).port, username, root: folder, hostKeys };
  closed.close();
  await addEndpoint(database.store, world.tenantId, name, 'sftp', config, { privateKey });
  world.aliases[alias] = name;
  const repair = () =>
    database.store.sql(world.tenantId, async (sql) => {
      await sql.query(
        `update connector_endpoint set config = $1::jsonb, version = version + 1 where tenant_id = $2::uuid and name = $3::text`,
        [JSON.stringify({ ...config, port }), world.tenantId, name],
      );
    });
  return { folder, repair };
}

const to = ['landing:/in/', 'archive:/in/', { endpoint: 'lab', path: '/x/' }] as Json;
const statesOf = async (runId: string) =>
  Object.fromEntries(
    (await world.deliveries(runId)).map((row) => [`${row.endpoint.split('-')[0]}${row.target}`, row.state]),
  );

describe('a file to several targets', () => {
  test('arrives at each, counts once for each, and its source is disposed of once', async () => {
    const folders = await addTargets('archive', 'lab');
    await world.put({ 'out/a.csv': 'a', 'out/sub/b.csv': 'bb', 'out/empty': '' });
    const copied = await world.copy({ from: 'partner:/out/**', to, then: { move: '/done/' } });
    expect(copied).toMatchObject({ files: 9, bytes: 9, skipped: 0, failed: 0 });
    const arrived = (folder: string) => ({
      [`${folder}/a.csv`]: 'a',
      [`${folder}/empty`]: '',
      [`${folder}/sub/b.csv`]: 'bb',
    });
    expect(await world.read(folders.landing!)).toEqual(arrived('/in'));
    expect(await world.read(folders.archive!)).toEqual(arrived('/in'));
    expect(await world.read(folders.lab!)).toEqual(arrived('/x'));
    expect(await world.read(world.source)).toEqual(arrived('/done'));
    const rows = await world.deliveries(copied.runId);
    expect(rows.every(({ state, disposed }) => state === 'settled' && disposed?.startsWith('/done/'))).toBe(true);
    const moved = (await world.events('file.moved')).filter(({ data }) => data.endpoint === world.aliases.partner);
    expect(moved.map(({ data }) => data.from).sort()).toEqual(['/out/a.csv', '/out/empty', '/out/sub/b.csv']);
  });

  test('is delivered to each of them once', async () => {
    await addTargets('archive', 'lab');
    await world.put({ 'a.csv': 'a' });
    await world.copy({ from: 'partner:/a.csv', to: 'archive:/in/' });
    expect(await world.copy({ from: 'partner:/a.csv', to, then: { delete: true } })).toMatchObject({
      files: 2,
      skipped: 1,
    });
    expect(await world.read(world.source)).toEqual({});
  });

  test('that all of them have already is disposed of all the same', async () => {
    await addTargets('archive', 'lab');
    await world.put({ 'a.csv': 'a' });
    await world.copy({ from: 'partner:/a.csv', to });
    const again = await world.copy({ from: 'partner:/a.csv', to, then: { move: '/done/' } });
    expect(again).toMatchObject({ files: 0, skipped: 3 });
    expect(await world.read(world.source)).toEqual({ '/done/a.csv': 'a' });
    expect((await world.deliveries(again.runId)).map(({ disposed }) => disposed)).toEqual(Array(3).fill('/done/a.csv'));
  });

  test('goes to two folders of one endpoint', async () => {
    await world.put({ 'a.csv': 'a' });
    const copied = await world.copy({
      from: 'partner:/*',
      to: ['landing:/in/', 'landing:/copy/'],
      then: { delete: true },
    });
    expect(copied).toMatchObject({ files: 2 });
    expect(await world.read(world.target)).toEqual({ '/copy/a.csv': 'a', '/in/a.csv': 'a' });
  });
});

describe('while one of the targets fails', () => {
  test('the others get every file, the source stays, and a retry of what failed disposes of it', async () => {
    const folders = await addTargets('archive', 'lab');
    await world.put({ 'out/a.csv': 'a', 'out/b.csv': 'b' });
    await mkdir(join(folders.archive!, 'in/a.csv'), { recursive: true });
    const copied = await world.copy({ from: 'partner:/out/*', to, then: { move: '/done/' } });
    expect(copied).toMatchObject({ files: 5, failed: 1 });
    expect(await world.read(world.source)).toEqual({ '/out/a.csv': 'a', '/done/b.csv': 'b' });
    const rows = (await world.deliveries(copied.runId)).filter(({ path }) => path === '/out/a.csv');
    expect(rows.filter(({ state }) => state === 'published')).toHaveLength(2);
    for (const row of rows.filter(({ state }) => state === 'published'))
      expect(row).toMatchObject({
        errorKind: null,
        errorMessage: `the source stays: ${world.aliases.archive} has not got the file`,
      });

    await rm(join(folders.archive!, 'in/a.csv'), { recursive: true });
    const retry = await world.newRun();
    const failed = rows.filter(({ state }) => state === 'failed').map(({ id }) => id);
    const [planned] = await database.store.sql(world.tenantId, (sql) => planRetry(sql, world.tenantId, retry, failed));
    const batch = { tenantId: world.tenantId, runId: retry, transferId: planned!.transferId, batch: 0 };
    expect(await engine.work.copyBatch(batch, attemptOf())).toMatchObject({ files: 1, skipped: 2, failed: 0 });
    expect(await world.read(world.source)).toEqual({ '/done/a.csv': 'a', '/done/b.csv': 'b' });
  });

  test('whose endpoint is down, the others get every file, and the next attempt brings the rest', async () => {
    const folders = await addTargets('lab');
    const { repair } = await addTargetThatIsDown('archive');
    await world.put(Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`out/${index}.csv`, `${index}`])));
    const runId = await world.newRun();
    const { transferId, batches } = await world.plan(runId, { from: 'partner:/out/*', to, then: { delete: true } });
    expect(batches).toBe(1);
    const batch = { tenantId: world.tenantId, runId, transferId, batch: 0 };
    await expect(engine.work.copyBatch(batch, attemptOf({ retry: patient }))).rejects.toMatchObject({
      context: { endpoint: world.aliases.archive },
    });
    expect((await readdir(join(folders.landing!, 'in'))).length).toBe(20);
    expect((await readdir(join(folders.lab!, 'x'))).length).toBe(20);
    expect((await readdir(join(world.source, 'out'))).length).toBe(20);
    await repair();
    expect(await engine.work.copyBatch(batch, attemptOf({ attempt: 2, retry: patient }))).toMatchObject({ files: 60 });
    expect(await readdir(join(world.source, 'out'))).toEqual([]);
    expect((await world.deliveries(runId)).every(({ state }) => state === 'settled')).toBe(true);
  });

  const optional = ['landing:/in/', { endpoint: 'lab', path: '/x/', required: false }] as Json;

  test('that is optional, the source is disposed of all the same, and the row says who has not got it', async () => {
    await addTargetThatIsDown('lab');
    await world.put({ 'out/a.csv': 'a' });
    const copied = await world.copy(
      { from: 'partner:/out/*', to: optional, then: { move: '/done/' } },
      { retry: impatient },
    );
    // Told, and no reason for the step to fail.
    expect(copied).toMatchObject({ files: 1, failed: 1, optionalFailed: 1, firstFailure: null });
    expect((await world.events('transfer.completed')).at(-1)).toMatchObject({ data: { files: 1, failed: 1 } });
    expect(await world.read(world.source)).toEqual({ '/done/a.csv': 'a' });
    expect(await statesOf(copied.runId)).toEqual({ 'landing/in/a.csv': 'settled', 'lab/x/a.csv': 'failed' });
    const [row] = (await world.deliveries(copied.runId)).filter(({ state }) => state === 'settled');
    expect(row!.errorMessage).toBe(`${world.aliases.lab}, which is optional, has not got it`);
  });

  test('that is optional and gets another attempt, the source waits for it', async () => {
    const { folder, repair } = await addTargetThatIsDown('lab');
    await world.put({ 'out/a.csv': 'a' });
    const runId = await world.newRun();
    const { transferId } = await world.plan(runId, { from: 'partner:/out/*', to: optional, then: { delete: true } });
    const batch = { tenantId: world.tenantId, runId, transferId, batch: 0 };
    await expect(engine.work.copyBatch(batch, attemptOf({ retry: patient }))).rejects.toThrow();
    expect(await world.read(world.source)).toEqual({ '/out/a.csv': 'a' });
    await repair();
    await engine.work.copyBatch(batch, attemptOf({ attempt: 2, retry: patient }));
    expect(await world.read(world.source)).toEqual({});
    expect(await world.read(folder)).toEqual({ '/x/a.csv': 'a' });
  });

  test('since it is held, the others get every file, and only its own rows are held', async () => {
    await addTargets('archive', 'lab');
    await world.put({ 'out/a.csv': 'a' });
    await pause(world.aliases.archive!, true);
    const runId = await world.newRun();
    const { transferId } = await world.plan(runId, { from: 'partner:/out/*', to, then: { delete: true } });
    const batch = { tenantId: world.tenantId, runId, transferId, batch: 0 };
    await expect(engine.work.copyBatch(batch, attemptOf())).rejects.toMatchObject({
      context: { held: { endpoint: world.aliases.archive } },
    });
    expect(await statesOf(runId)).toEqual({
      'landing/in/a.csv': 'published',
      'archive/in/a.csv': 'held',
      'lab/x/a.csv': 'published',
    });
    await pause(world.aliases.archive!, false);
    expect(await engine.work.copyBatch(batch, attemptOf())).toMatchObject({ files: 3, failed: 0 });
    expect(await world.read(world.source)).toEqual({});
  });

  test('since it is held and optional, nothing waits for it', async () => {
    await addTargets('lab');
    await world.put({ 'out/a.csv': 'a' });
    await pause(world.aliases.lab!, true);
    const copied = await world.copy(
      { from: 'partner:/out/*', to: optional, then: { delete: true } },
      { retry: patient },
    );
    expect(copied).toMatchObject({ files: 1, failed: 1 });
    expect(await world.read(world.source)).toEqual({});
    const failed = (await world.deliveries(copied.runId)).find(({ state }) => state === 'failed');
    expect(failed!.errorMessage).toContain('paused');
  });

  async function pause(endpoint: string, paused: boolean): Promise<void> {
    await database.store.sql(world.tenantId, (sql) =>
      sql.query(
        `update connector_endpoint set paused_at = case when $2::bool then now() end where tenant_id = $3::uuid and name = $1::text`,
        [endpoint, paused, world.tenantId],
      ),
    );
  }
});

describe('targets that cannot be', () => {
  test.each([
    ['none', [], '1 to 16'],
    ['too many', Array.from({ length: 17 }, (_, index) => `landing:/${index}/`), '1 to 16'],
    ['one place twice', ['landing:/in/', { endpoint: 'landing', path: '/in/' }], 'twice'],
    ['a glob', ['landing:/in/', 'landing:/x/*'], 'not a glob'],
    ['a file for a glob', ['landing:/in/', 'landing:/x'], 'must be a folder'],
    ['a word for required', [{ endpoint: 'landing', path: '/in/', required: 'no' }], 'true or false'],
  ])('%s is invalid', async (_, targets, words) => {
    await expect(world.plan(await world.newRun(), { from: 'partner:/*', to: targets as Json })).rejects.toThrow(words);
  });

  test('one endpoint twice with once: version, since it remembers no paths', async () => {
    const given = { from: 'partner:/*', to: ['landing:/in/', 'landing:/x/'], once: 'version' };
    await expect(world.plan(await world.newRun(), given)).rejects.toThrow('each endpoint gets a file once');
  });

  test('two that give one file the same name', async () => {
    await world.put({ 'out/in/a.csv': 'a', 'out/a.csv': 'b' });
    const given = { from: 'partner:/out/**', to: ['landing:/', 'landing:/in/'] };
    await expect(world.plan(await world.newRun(), given)).rejects.toThrow('would both become /in/a.csv');
  });
});

test('a transfer that was planned before there were several targets goes on', async () => {
  await world.put({ 'a.csv': 'a' });
  const runId = await world.newRun();
  const { transferId } = await world.plan(runId, { from: 'partner:/*', to: 'landing:/in/' });
  await database.store.sql(world.tenantId, (sql) =>
    sql.query(
      `update transfer set options = (options - 'targets') || '{"to":"/in/"}' where tenant_id = $1::uuid and id = $2::uuid`,
      [world.tenantId, transferId],
    ),
  );
  await engine.work.copyBatch({ tenantId: world.tenantId, runId, transferId, batch: 0 }, attemptOf());
  expect(await world.read(world.target)).toEqual({ '/in/a.csv': 'a' });
});
