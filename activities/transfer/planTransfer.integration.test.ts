import { mkdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { findSharedTarget, findTransfer, insertDeliveries } from '../../prisma/ledger.ts';
import type { Json } from '../../schema/plan.ts';
import type { TestDatabase } from '../../test/servers/database.ts';
import { attemptOf, type Engine, type World } from '../../test/transfer/world.ts';
import { worldOfEachTest } from '../../test/transfer/worldOfEachTest.ts';

let database: TestDatabase;
let engine: Engine;
let world: World;
worldOfEachTest((opened) => {
  ({ database, engine, world } = opened);
});

async function plan(given: Record<string, Json>) {
  return world.plan(await world.newRun(), given);
}

describe('planning', () => {
  test('writes one row for each file, and leaves no listing behind', async () => {
    await world.put({ 'out/a.csv': 'a', 'out/b.csv': 'bb', 'out/c.txt': 'c', 'out/.hidden.csv': 'h' });
    expect(await plan({ from: 'partner:/out/*.csv', to: 'landing:/in/' })).toMatchObject({
      files: 2,
      bytes: 3,
      batches: 1,
    });
    expect(await database.asOwner('select 1 from file_set_item')).toEqual([]);
  });

  test('is safe twice: a second call gives the same plan, also when the folder has changed', async () => {
    await world.put({ 'a.csv': 'a' });
    const runId = await world.newRun();
    const given = { from: 'partner:/*', to: 'landing:/' };
    const first = await world.plan(runId, given);
    await world.put({ 'b.csv': 'b' });
    expect(await world.plan(runId, given)).toEqual(first);
    expect(
      (await world.events('transfer.started')).filter(
        (event) =>
          event.data.step === 'copy' && event.data.files === 1 && event.data.sourceEndpoint === world.aliases.partner,
      ),
    ).toHaveLength(1);
  });

  test('two planners of one step at once make one plan', async () => {
    await world.put({ 'a.csv': 'a', 'b.csv': 'b' });
    const runId = await world.newRun();
    const given = { from: 'partner:/*', to: 'landing:/' };
    const [one, other] = await Promise.all([world.plan(runId, given), world.plan(runId, given)]);
    expect(one).toEqual(other);
    expect(await world.deliveries(runId)).toHaveLength(2);
  });

  test('deals many files out to batches of at most 500', async () => {
    await world.put(Object.fromEntries(Array.from({ length: 1_201 }, (_, index) => [`${index}`, ''])));
    expect(await plan({ from: 'partner:/*', to: 'landing:/' })).toMatchObject({ files: 1_201, batches: 3 });
  });

  test('leaves out what the pipeline excludes, and what earlier runs moved aside', async () => {
    await world.put({ 'out/a.csv': 'a', 'out/b.tmp': 'b', 'out/done/c.csv': 'c' });
    const given = { from: 'partner:/out/**', to: 'landing:/', exclude: ['/out/*.tmp'], then: { move: '/out/done/' } };
    expect(await plan(given)).toMatchObject({ files: 1 });
  });

  test('follows a link that stays inside, and leaves out one that leads out', async () => {
    await world.put({ 'real.csv': 'r' });
    const { symlink } = await import('node:fs/promises');
    await symlink('real.csv', join(world.source, 'inside.csv'));
    await symlink('/etc/hostname', join(world.source, 'outside.csv'));
    expect(await plan({ from: 'partner:/*.csv', to: 'landing:/' })).toMatchObject({ files: 2 });
  });

  test('an empty listing is no file, or a failure when the pipeline says so', async () => {
    await mkdir(join(world.source, 'out'));
    expect(await plan({ from: 'partner:/out/*', to: 'landing:/' })).toMatchObject({ files: 0, batches: 0 });
    await expect(plan({ from: 'partner:/out/*.csv', to: 'landing:/', onEmpty: 'fail' })).rejects.toMatchObject({
      kind: 'not-found',
      message: expect.stringContaining('/out/*.csv'),
    });
  });

  test('an absent file, an absent folder and a folder instead of a file are errors', async () => {
    await world.put({ 'out/a.csv': 'a' });
    await expect(plan({ from: 'partner:/gone.csv', to: 'landing:/' })).rejects.toMatchObject({
      kind: 'not-found',
      context: { path: '/gone.csv' },
    });
    await expect(plan({ from: 'partner:/gone/*', to: 'landing:/' })).rejects.toMatchObject({ kind: 'not-found' });
    await expect(plan({ from: 'partner:/out', to: 'landing:/' })).rejects.toMatchObject({ kind: 'invalid' });
  });

  test.each([
    ['a glob to a file', { from: 'partner:/*', to: 'landing:/a' }],
    ['a path that leaves the root', { from: 'partner:/../etc/passwd', to: 'landing:/' }],
    ['a rule that is none', { from: 'partner:/*', to: 'landing:/', onConflict: 'maybe' }],
    ['many files moved to one', { from: 'partner:/*', to: 'landing:/', then: { move: '/done' } }],
    ['a file onto itself', { from: 'partner:/a', to: 'partner:/a' }],
    ['an alias that is none', { from: 'elsewhere:/a', to: 'landing:/' }],
  ])('%s is invalid', async (_, given) => {
    await expect(plan(given)).rejects.toMatchObject({ kind: 'invalid' });
  });

  test('two source files with one target path are found before anything is copied', async () => {
    await world.put({ 'a.csv': 'a' });
    const runId = await world.newRun();
    const { transferId } = await world.plan(runId, { from: 'partner:/*', to: 'landing:/' });
    const shared = await database.store.sql(world.tenantId, async (sql) => {
      const [row] = await world.deliveries(runId);
      const transfer = await findTransfer(sql, world.tenantId, transferId);
      const other = {
        batch: 0,
        target: 0,
        targetEndpoint: transfer.targetEndpoint,
        deliveryKey: 'ff',
        sourcePath: '/b.csv',
        sourceSize: 1,
        sourceModified: null,
        sourceEtag: null,
        refusal: null,
      };
      await insertDeliveries(sql, world.tenantId, transfer, [{ ...other, targetPath: row!.target }]);
      return findSharedTarget(sql, world.tenantId, transferId, {
        endpoint: transfer.targetEndpoint,
        caseSensitive: true,
      });
    });
    expect(shared).toEqual({ targetPath: '/a.csv', one: '/a.csv', other: '/b.csv' });
  });

  test('a name that gets too long at the target fails alone', async () => {
    const deep = `${'d'.repeat(200)}/`.repeat(3);
    await world.put({ 'a.csv': 'a', [`${deep}b.csv`]: 'b' });
    const to = `landing:/${`${'t'.repeat(250)}/`.repeat(14)}`;
    const runId = await world.newRun();
    await world.plan(runId, { from: 'partner:/**', to });
    const states = (await world.deliveries(runId)).map((row) => [row.state, row.errorKind]);
    expect(states).toEqual([
      ['planned', null],
      ['failed', 'invalid'],
    ]);
    expect((await world.events('delivery.failed')).at(-1)?.data).toMatchObject({ kind: 'invalid', delivered: false });
  });

  test('a source that vanishes while a plan exists is no reason to plan again', async () => {
    await world.put({ 'a.csv': 'a' });
    const runId = await world.newRun();
    const first = await world.plan(runId, { from: 'partner:/a.csv', to: 'landing:/' });
    await unlink(join(world.source, 'a.csv'));
    expect(await world.plan(runId, { from: 'partner:/a.csv', to: 'landing:/' })).toEqual(first);
  });
});

describe('actions on files', () => {
  const input = async (given: Record<string, Json>) => ({
    tenantId: world.tenantId,
    runId: await world.newRun(),
    stepKey: 'steps[0]',
    endpoints: world.aliases,
    with: given,
  });

  test('files.list gives a reference whose rows are read page by page', async () => {
    await world.put(Object.fromEntries(Array.from({ length: 25 }, (_, index) => [`${index}.csv`, 'x'.repeat(index)])));
    const { files } = await engine.work.listFiles(
      await input({ from: 'partner:/*', where: 'file.size > 4' }),
      attemptOf(),
    );
    expect(files).toMatchObject({ count: 20, bytes: (5 + 24) * 10 });
    const page = (after: number) =>
      engine.work.fileSetPage({ tenantId: world.tenantId, ref: files.ref, after, limit: 8 });
    const pages = [await page(0), await page(8), await page(16), await page(24)];
    expect(pages.map((rows) => rows.length)).toEqual([8, 8, 4, 0]);
    expect(new Set(pages.flat().map((file) => file.path)).size).toBe(20);
    expect(pages[0]![0]).toMatchObject({ endpoint: world.aliases.partner, name: expect.stringMatching(/csv$/) });
    expect(
      await engine.work.fileSetPage({ tenantId: database.tenants.b.tenantId, ref: files.ref, after: 0, limit: 8 }),
    ).toEqual([]);
  });

  test('files.list says that nothing matched when the pipeline wants that', async () => {
    await expect(
      engine.work.listFiles(await input({ from: 'partner:/*', onEmpty: 'fail' }), attemptOf()),
    ).rejects.toMatchObject({ kind: 'not-found' });
    expect(await engine.work.listFiles(await input({ from: 'partner:/*' }), attemptOf())).toMatchObject({
      files: { count: 0 },
    });
  });

  test('files.move moves once, and a repeated attempt finds its own work', async () => {
    await world.put({ 'a.csv': 'a' });
    const move = await input({ from: 'partner:/a.csv', to: '/done/' });
    expect(await engine.work.moveFile(move, attemptOf())).toEqual({ path: '/done/a.csv' });
    expect(await engine.work.moveFile(move, attemptOf({ attempt: 2 }))).toEqual({ path: '/done/a.csv' });
    await expect(engine.work.moveFile(move, attemptOf())).rejects.toMatchObject({ kind: 'not-found' });
    expect(await world.read(world.source)).toEqual({ '/done/a.csv': 'a' });
    expect(
      (await world.events('file.moved')).filter((event) => event.data.endpoint === world.aliases.partner),
    ).toHaveLength(1);
  });

  test.each([
    ['fail', 'exists', { '/a.csv': 'same', '/done/a.csv': 'same' }],
    ['overwrite', '/done/a.csv', { '/done/a.csv': 'same' }],
    ['skip-identical', '/done/a.csv', { '/done/a.csv': 'same' }],
    ['version', '/done/a.v2.csv', { '/done/a.csv': 'same', '/done/a.v2.csv': 'same' }],
  ])('files.move onto an existing file with %s', async (onConflict, outcome, left) => {
    await world.put({ 'a.csv': 'same', 'done/a.csv': 'same' });
    const moved = engine.work.moveFile(await input({ from: 'partner:/a.csv', to: '/done/', onConflict }), attemptOf());
    if (outcome === 'exists') await expect(moved).rejects.toMatchObject({ kind: 'exists' });
    else expect(await moved).toEqual({ path: outcome });
    expect(await world.read(world.source)).toEqual(left);
  });

  test('files.delete deletes, and what is gone is no failure', async () => {
    await world.put({ 'a.csv': 'a' });
    const given = await input({ at: 'partner:/a.csv' });
    expect(await engine.work.deleteFile(given, attemptOf())).toEqual({ path: '/a.csv' });
    expect(await engine.work.deleteFile(given, attemptOf())).toEqual({ path: '/a.csv' });
    expect(await world.read(world.source)).toEqual({});
  });
});
