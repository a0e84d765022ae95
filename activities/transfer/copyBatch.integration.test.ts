import { createHash } from 'node:crypto';
import { mkdir, readdir, stat, unlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { TestDatabase } from '../../test/servers/database.ts';
import { attemptOf, type Engine, openEngine, openWorld, patient, type World } from '../../test/transfer/world.ts';
import { worldOfEachTest } from '../../test/transfer/worldOfEachTest.ts';

let database: TestDatabase;
let engine: Engine;
let world: World;
worldOfEachTest((opened) => {
  ({ database, engine, world } = opened);
});

const sha256 = (content: string | Buffer) => createHash('sha256').update(content).digest('hex');
const all = { from: 'partner:/**', to: 'landing:/in/' };

describe('what arrives', () => {
  test('every file of a glob arrives whole, below the fixed part of the glob, with its hash in the ledger', async () => {
    const large = Buffer.alloc(3 * 1024 * 1024 + 17, 'waybill ');
    await world.put({ 'out/a.csv': 'a', 'out/sub/b.csv': 'bb', 'out/c.txt': 'no', 'out/large.csv': large });
    const copied = await world.copy({ from: 'partner:/out/**/*.csv', to: 'landing:/acme/' });
    expect(copied).toMatchObject({ files: 3, bytes: 3 + large.length, skipped: 0, failed: 0, firstFailure: null });
    expect(Object.keys(await world.read(world.target))).toEqual(['/acme/a.csv', '/acme/large.csv', '/acme/sub/b.csv']);
    expect((await world.read(world.target))['/acme/large.csv']).toBe(large.toString());
    const rows = await world.deliveries(copied.runId);
    expect(rows.map((row) => [row.path, row.target, row.state, row.sha256])).toEqual([
      ['/out/a.csv', '/acme/a.csv', 'settled', sha256('a')],
      ['/out/large.csv', '/acme/large.csv', 'settled', sha256(large)],
      ['/out/sub/b.csv', '/acme/sub/b.csv', 'settled', sha256('bb')],
    ]);
    expect(rows.every((row) => row.evidence === 'acknowledged-size' && row.publishedAt !== null)).toBe(true);
    expect((await world.events('delivery.published')).map((event) => event.data.sha256)).toContain(sha256(large));
  });

  test('names of every kind, an empty file and a name of 255 bytes arrive under their names', async () => {
    const names = [
      ' leading',
      'trailing ',
      '\'quoted\' "twice"',
      '#%&?+@;=',
      '世界.csv',
      'é.txt',
      'e\u0301.txt',
      `${'x'.repeat(251)}.csv`,
      '$(reboot)',
      'a\\b',
      '🚚',
    ];
    await world.put(Object.fromEntries([...names.map((name) => [name, name] as const), ['empty', '']]));
    const copied = await world.copy({ from: 'partner:/*', to: 'landing:/' });
    expect(copied).toMatchObject({ files: names.length + 1, failed: 0 });
    expect(await world.read(world.target)).toEqual(await world.read(world.source));
  });

  test('the target has the modified time of the source', async () => {
    await world.put({ 'a.csv': 'a' });
    await utimes(join(world.source, 'a.csv'), 1_700_000_000, 1_700_000_000);
    await world.copy(all);
    expect((await stat(join(world.target, 'in/a.csv'))).mtimeMs).toBe(1_700_000_000_000);
  });

  test('readback reads the target again and says so', async () => {
    await world.put({ 'a.csv': 'a' });
    const { runId } = await world.copy({ ...all, verify: 'readback' });
    expect((await world.deliveries(runId))[0]).toMatchObject({ evidence: 'readback', state: 'settled' });
  });

  test('two thousand small files arrive in a few seconds and little memory', async () => {
    await world.put(
      Object.fromEntries(Array.from({ length: 2_000 }, (_, index) => [`many/${index}.txt`, `file ${index}`])),
    );
    const before = process.memoryUsage().rss;
    const started = Date.now();
    const copied = await world.copy({ from: 'partner:/many/*', to: 'landing:/' });
    expect(copied).toMatchObject({ files: 2_000, failed: 0 });
    expect(Date.now() - started).toBeLessThan(60_000);
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 1024 * 1024);
    const published = (await world.events('delivery.published')).filter(
      (event) => (event.data.source as { endpoint: string }).endpoint === world.aliases.partner,
    );
    expect(published).toHaveLength(2_000);
  }, 120_000);
});

describe('once', () => {
  test('a second run moves no byte and names the delivery that had delivered it', async () => {
    await world.put({ 'a.csv': 'a', 'b.csv': 'b' });
    const first = await world.copy(all);
    await unlink(join(world.target, 'in/a.csv'));
    const second = await world.copy(all);
    expect(second).toMatchObject({ files: 0, bytes: 0, skipped: 2, failed: 0 });
    expect(Object.keys(await world.read(world.target))).toEqual(['/in/b.csv']);
    const [original] = await world.deliveries(first.runId);
    expect((await world.deliveries(second.runId))[0]).toMatchObject({ state: 'skipped', duplicateOf: original!.id });
  });

  test('a new version of the file is another delivery', async () => {
    await world.put({ 'a.csv': 'a' });
    await world.copy(all);
    await world.put({ 'a.csv': 'new' });
    expect(await world.copy({ ...all, onConflict: 'overwrite' })).toMatchObject({ files: 1, skipped: 0 });
    expect(await world.read(world.target)).toEqual({ '/in/a.csv': 'new' });
  });

  test('once: version does not care about the target path, once: off always sends', async () => {
    await world.put({ 'a.csv': 'a' });
    await world.copy({ ...all, once: 'version' });
    expect(await world.copy({ from: 'partner:/a.csv', to: 'landing:/day2/', once: 'version' })).toMatchObject({
      skipped: 1,
    });
    expect(await world.copy({ from: 'partner:/a.csv', to: 'landing:/day3/', once: 'off' })).toMatchObject({ files: 1 });
    expect(await world.copy({ from: 'partner:/a.csv', to: 'landing:/day4/' })).toMatchObject({ files: 1 });
  });

  test('two runs over the same files at the same time deliver each file once', async () => {
    const files = Object.fromEntries(Array.from({ length: 120 }, (_, index) => [`${index}.csv`, `content ${index}`]));
    await world.put(files);
    const other = openEngine(database.store);
    const plans = await Promise.all(
      [engine, other].map(async (each) => {
        const runId = await world.newRun();
        const { transferId } = await world.plan(runId, all);
        return { each, runId, transferId };
      }),
    );
    const answers = await Promise.all(
      plans.map(({ each, runId, transferId }) =>
        each.work.copyBatch({ tenantId: world.tenantId, runId, transferId, batch: 0 }, attemptOf()),
      ),
    );
    await other.close();
    expect(answers[0]!.files + answers[1]!.files).toBe(120);
    expect(answers[0]!.skipped + answers[1]!.skipped).toBe(120);
    expect(answers.map((answer) => answer.failed)).toEqual([0, 0]);
    const paths = (await world.events('delivery.published')).map(
      (event) => event.data.source as { endpoint: string; path: string },
    );
    expect(paths.filter(({ endpoint }) => endpoint === world.aliases.partner)).toHaveLength(120);
    expect(Object.keys(await world.read(world.target))).toHaveLength(120);
  });

  test('two tenants with the same endpoint names and paths do not meet', async () => {
    const opened = await openWorld(database.store, database.tenants.b, engine);
    onTestFinished(opened.remove);
    await world.put({ 'a.csv': 'of a' });
    await opened.put({ 'a.csv': 'of b' });
    expect(await world.copy(all)).toMatchObject({ files: 1, skipped: 0 });
    expect(await opened.copy(all)).toMatchObject({ files: 1, skipped: 0 });
    expect(await opened.read(opened.target)).toEqual({ '/in/a.csv': 'of b' });
    expect(await world.read(world.target)).toEqual({ '/in/a.csv': 'of a' });
  });
});

describe('what goes wrong with one file', () => {
  test('a file deleted between plan and copy fails alone, as not-found', async () => {
    await world.put({ 'a.csv': 'a', 'b.csv': 'b', 'c.csv': 'c' });
    const runId = await world.newRun();
    const { transferId } = await world.plan(runId, all);
    await unlink(join(world.source, 'b.csv'));
    const answer = await engine.work.copyBatch({ tenantId: world.tenantId, runId, transferId, batch: 0 }, attemptOf());
    expect(answer).toMatchObject({
      files: 2,
      failed: 1,
      firstFailure: { kind: 'not-found', path: '/b.csv', step: 'copy' },
    });
    expect(answer.firstFailure?.message).toContain(world.aliases.partner);
    expect(await world.read(world.target)).toEqual({ '/in/a.csv': 'a', '/in/c.csv': 'c' });
    const end = await engine.work.finishTransfer({ tenantId: world.tenantId, runId, transferId, status: 'succeeded' });
    expect(end).toMatchObject({ files: 2, failed: 1 });
    expect((await world.events('transfer.failed')).at(-1)?.data).toMatchObject({ files: 2, failed: 1 });
  });

  test('a file that changes between plan and copy is a conflict, and the next attempt takes the new version', async () => {
    await world.put({ 'a.csv': 'a', 'b.csv': 'b' });
    const runId = await world.newRun();
    const { transferId } = await world.plan(runId, all);
    await writeFile(join(world.source, 'a.csv'), 'a, but longer');
    const batch = { tenantId: world.tenantId, runId, transferId, batch: 0 };
    await expect(engine.work.copyBatch(batch, attemptOf({ retry: patient }))).rejects.toMatchObject({
      kind: 'conflict',
    });
    expect(await world.read(world.target)).toEqual({ '/in/b.csv': 'b' });
    expect((await world.deliveries(runId))[0]).toMatchObject({ state: 'planned', errorKind: 'conflict' });
    const answer = await engine.work.copyBatch(batch, attemptOf({ retry: patient, attempt: 2 }));
    expect(answer).toMatchObject({ files: 2, bytes: 14, failed: 0 });
    expect(await world.read(world.target)).toEqual({ '/in/a.csv': 'a, but longer', '/in/b.csv': 'b' });
  });

  test('a failure without further attempts is written down, with an event', async () => {
    await world.put({ 'a.csv': 'a' });
    const runId = await world.newRun();
    const { transferId } = await world.plan(runId, all);
    await writeFile(join(world.source, 'a.csv'), 'changed');
    const batch = { tenantId: world.tenantId, runId, transferId, batch: 0 };
    const answer = await engine.work.copyBatch(batch, attemptOf({ retry: patient, attempt: 3 }));
    expect(answer).toMatchObject({ files: 0, failed: 1, firstFailure: { kind: 'conflict' } });
    const [row] = await world.deliveries(runId);
    expect((await world.events('delivery.failed')).filter((event) => event.deliveryId === row!.id)).toHaveLength(1);
    expect(await readdir(world.target)).toEqual(expect.not.arrayContaining([expect.stringContaining('.part')]));
  });

  test('an endpoint that does not exist fails the batch, and closing the transfer says so for each file', async () => {
    await world.put({ 'a.csv': 'a' });
    const runId = await world.newRun();
    const { transferId } = await world.plan(runId, all);
    await database.asOwner(`delete from connector_endpoint where name = '${world.aliases.landing}'`);
    const batch = { tenantId: world.tenantId, runId, transferId, batch: 0 };
    await expect(engine.work.copyBatch(batch, attemptOf())).rejects.toMatchObject({ kind: 'not-found' });
    const end = await engine.work.finishTransfer({ tenantId: world.tenantId, runId, transferId, status: 'failed' });
    expect(end).toMatchObject({ files: 0, failed: 1, firstFailure: { message: expect.stringContaining('not tried') } });
  });
});

describe('when the target exists', () => {
  const existing = async (content: string) => {
    await world.put({ 'a.csv': 'new' });
    await mkdir(join(world.target, 'in'));
    await writeFile(join(world.target, 'in/a.csv'), content);
  };

  test('fail leaves it as it is', async () => {
    await existing('old');
    expect(await world.copy(all)).toMatchObject({ files: 0, failed: 1, firstFailure: { kind: 'exists' } });
    expect(await world.read(world.target)).toEqual({ '/in/a.csv': 'old' });
    await unlink(join(world.target, 'in/a.csv'));
    expect(await world.copy(all)).toMatchObject({ files: 1, failed: 0 });
  });

  test('overwrite replaces it', async () => {
    await existing('old');
    expect(await world.copy({ ...all, onConflict: 'overwrite' })).toMatchObject({ files: 1 });
    expect(await world.read(world.target)).toEqual({ '/in/a.csv': 'new' });
  });

  test('version puts the file beside it, and the ledger says where', async () => {
    await existing('old');
    const { runId } = await world.copy({ ...all, onConflict: 'version' });
    await world.put({ 'a.csv': 'newer' });
    await world.copy({ ...all, onConflict: 'version' });
    expect(await world.read(world.target)).toEqual({
      '/in/a.csv': 'old',
      '/in/a.v2.csv': 'new',
      '/in/a.v3.csv': 'newer',
    });
    expect((await world.deliveries(runId))[0]).toMatchObject({ target: '/in/a.v2.csv', state: 'settled' });
  });

  test('skip-identical skips the same bytes and refuses others', async () => {
    await existing('new');
    expect(await world.copy({ ...all, onConflict: 'skip-identical' })).toMatchObject({
      files: 0,
      skipped: 1,
      failed: 0,
    });
    await world.put({ 'a.csv': 'NEW' });
    expect(await world.copy({ ...all, onConflict: 'skip-identical' })).toMatchObject({
      failed: 1,
      firstFailure: { kind: 'exists' },
    });
    expect(await world.read(world.target)).toEqual({ '/in/a.csv': 'new' });
  });

  test('a folder of that name is an error for every rule but version', async () => {
    await world.put({ 'a.csv': 'new' });
    await mkdir(join(world.target, 'in/a.csv'), { recursive: true });
    for (const onConflict of ['fail', 'overwrite', 'skip-identical'])
      expect(await world.copy({ ...all, onConflict })).toMatchObject({ failed: 1, firstFailure: { kind: 'exists' } });
    expect(await world.copy({ ...all, onConflict: 'version' })).toMatchObject({ files: 1 });
  });
});

describe('the source afterwards', () => {
  test('is moved, with its path below the glob, after the file has arrived', async () => {
    await world.put({ 'out/a.csv': 'a', 'out/sub/b.csv': 'b' });
    const { runId } = await world.copy({ from: 'partner:/out/**', to: 'landing:/', then: { move: '/out/done/' } });
    expect(await world.read(world.source)).toEqual({ '/out/done/a.csv': 'a', '/out/done/sub/b.csv': 'b' });
    expect((await world.deliveries(runId)).map((row) => [row.state, row.disposed])).toEqual([
      ['settled', '/out/done/a.csv'],
      ['settled', '/out/done/sub/b.csv'],
    ]);
    const again = await world.copy({ from: 'partner:/out/**', to: 'landing:/', then: { move: '/out/done/' } });
    expect(again).toMatchObject({ files: 0, skipped: 0, failed: 0 });
  });

  test('is deleted', async () => {
    await world.put({ 'a.csv': 'a' });
    await world.copy({ ...all, then: { delete: true } });
    expect(await world.read(world.source)).toEqual({});
    expect((await world.events('file.deleted')).at(-1)?.data).toMatchObject({ path: '/a.csv' });
  });

  test('gets another name when the folder has one already, if the pipeline says so', async () => {
    const then = { move: '/done/', onConflict: 'version' };
    await world.put({ 'a.csv': 'first', 'done/a.csv': 'old' });
    const { runId } = await world.copy({ from: 'partner:/a.csv', to: 'landing:/', then });
    expect(await world.read(world.source)).toEqual({ '/done/a.csv': 'old', '/done/a.v2.csv': 'first' });
    expect((await world.deliveries(runId))[0]).toMatchObject({ disposed: '/done/a.v2.csv' });
  });

  test('that cannot be moved leaves a delivered file that failed, and a later run moves it', async () => {
    await world.put({ 'a.csv': 'a', 'done/a.csv': 'old' });
    const given = { from: 'partner:/a.csv', to: 'landing:/', then: { move: '/done/' } };
    const copied = await world.copy(given);
    expect(copied).toMatchObject({ files: 1, failed: 1, firstFailure: { kind: 'exists' } });
    expect((await world.deliveries(copied.runId))[0]).toMatchObject({ state: 'published', errorKind: 'exists' });
    await unlink(join(world.source, 'done/a.csv'));
    expect(await world.copy(given)).toMatchObject({ files: 0, skipped: 1, failed: 0 });
    expect(await world.read(world.source)).toEqual({ '/done/a.csv': 'a' });
  });

  test('is left in place when it has changed since it was delivered', async () => {
    await world.put({ 'a.csv': 'a' });
    const changing = openEngine(database.store, async (step) => {
      if (step === 'published') await writeFile(join(world.source, 'a.csv'), 'newer');
    });
    const runId = await world.newRun();
    const { transferId } = await world.plan(runId, { ...all, then: { delete: true } });
    await changing.work.copyBatch({ tenantId: world.tenantId, runId, transferId, batch: 0 }, attemptOf());
    await changing.close();
    expect(await world.read(world.source)).toEqual({ '/a.csv': 'newer' });
    expect((await world.deliveries(runId))[0]).toMatchObject({
      state: 'settled',
      errorKind: null,
      errorMessage: expect.stringContaining('changed'),
    });
  });

  test('that vanished after the delivery is settled with a note', async () => {
    await world.put({ 'a.csv': 'a' });
    const taking = openEngine(database.store, async (step) => {
      if (step === 'published') await unlink(join(world.source, 'a.csv'));
    });
    const runId = await world.newRun();
    const { transferId } = await world.plan(runId, { ...all, then: { move: '/done/' } });
    const answer = await taking.work.copyBatch({ tenantId: world.tenantId, runId, transferId, batch: 0 }, attemptOf());
    await taking.close();
    expect(answer).toMatchObject({ files: 1, failed: 0 });
    expect((await world.deliveries(runId))[0]).toMatchObject({
      state: 'settled',
      errorMessage: expect.stringContaining('vanished'),
    });
  });
});
