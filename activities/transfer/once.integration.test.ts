import { createHash } from 'node:crypto';
import { readFile, stat, unlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { TestDatabase } from '../../test/servers/database.ts';
import { attemptOf, type Engine, openEngine, patient, type World } from '../../test/transfer/world.ts';
import { worldOfEachTest } from '../../test/transfer/worldOfEachTest.ts';

let database: TestDatabase;
let engine: Engine;
let world: World;
worldOfEachTest((opened) => {
  ({ database, engine, world } = opened);
});

const all = { from: 'partner:/**', to: 'landing:/in/' };
const sha256 = (content: string) => createHash('sha256').update(content).digest('hex');

describe('once: content', () => {
  const byContent = { ...all, once: 'content' };
  const touch = (path: string, seconds: number) => utimes(join(world.source, path), seconds, seconds);

  test('a file with the same bytes is delivered already, whatever its time: no byte is sent', async () => {
    await world.put({ 'a.csv': 'same', 'b.csv': 'same' });
    const first = await world.copy(byContent);
    expect(first).toMatchObject({ files: 2, skipped: 0 });
    await touch('a.csv', 1_700_000_000);
    await unlink(join(world.target, 'in/a.csv'));
    const second = await world.copy(byContent);
    expect(second).toMatchObject({ files: 0, bytes: 0, skipped: 2 });
    const [original] = await world.deliveries(first.runId);
    expect((await world.deliveries(second.runId))[0]).toMatchObject({
      state: 'skipped',
      duplicateOf: original!.id,
      sha256: sha256('same'),
    });
    expect(Object.keys(await world.read(world.target))).toEqual(['/in/b.csv']);
  });

  test('other bytes of the same size and time are another delivery', async () => {
    await world.put({ 'a.csv': 'one' });
    await touch('a.csv', 1_700_000_000);
    await world.copy(byContent);
    await world.put({ 'a.csv': 'two' });
    await touch('a.csv', 1_700_000_000);
    expect(await world.copy({ ...byContent, onConflict: 'overwrite' })).toMatchObject({ files: 1, skipped: 0 });
    expect(await world.read(world.target)).toEqual({ '/in/a.csv': 'two' });
  });

  test('bytes that are others than a moment before, under the same size and time, are a conflict, and the next attempt takes them', async () => {
    await world.put({ 'a.csv': 'one' });
    await touch('a.csv', 1_700_000_000);
    let changed = false;
    const meddling = openEngine(database.store, async (step) => {
      if (step !== 'claimed' || changed) return;
      changed = true;
      await writeFile(join(world.source, 'a.csv'), 'two');
      await touch('a.csv', 1_700_000_000);
    });
    const runId = await world.newRun();
    const { transferId } = await world.plan(runId, byContent);
    const batch = { tenantId: world.tenantId, runId, transferId, batch: 0 };
    await expect(meddling.work.copyBatch(batch, attemptOf({ retry: patient }))).rejects.toMatchObject({
      kind: 'conflict',
    });
    expect(await world.read(world.target)).toEqual({});
    const again = await engine.work.copyBatch(batch, attemptOf({ retry: patient, attempt: 2 }));
    await meddling.close();
    expect(again).toMatchObject({ files: 1, failed: 0 });
    expect((await world.deliveries(runId))[0]).toMatchObject({ state: 'settled', sha256: sha256('two') });
  });

  test('two runs at the same time send the content once', async () => {
    await world.put(Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`${index}.csv`, `content ${index}`])));
    const other = openEngine(database.store);
    const batches = await Promise.all(
      [engine, other].map(async (each) => {
        const runId = await world.newRun();
        const { transferId } = await world.plan(runId, byContent);
        return { each, batch: { tenantId: world.tenantId, runId, transferId, batch: 0 } };
      }),
    );
    const answers = await Promise.all(batches.map(({ each, batch }) => each.work.copyBatch(batch, attemptOf())));
    await other.close();
    expect([answers[0]!.files + answers[1]!.files, answers[0]!.skipped + answers[1]!.skipped]).toEqual([40, 40]);
  });
});

describe('recheck', () => {
  const rechecked = { ...all, recheck: true, onConflict: 'overwrite' };
  const atTarget = (path: string) => join(world.target, 'in', path);
  const reasons = async (runId: string) => {
    const ids = new Set((await world.deliveries(runId)).map(({ id }) => id));
    const events = await world.events('delivery.rechecked');
    return events.filter(({ deliveryId }) => ids.has(deliveryId ?? '')).map(({ data }) => data.reason);
  };

  test('without it the target is not looked at', async () => {
    await world.put({ 'a.csv': 'a' });
    await world.copy(all);
    await unlink(atTarget('a.csv'));
    const { runId, ...counts } = await world.copy(all);
    expect(counts).toMatchObject({ files: 0, skipped: 1 });
    expect(await reasons(runId)).toEqual([]);
  });

  test('what is still there is skipped, also when only its time has changed', async () => {
    await world.put({ 'a.csv': 'a', 'b.csv': 'b' });
    await world.copy(rechecked);
    await utimes(atTarget('b.csv'), 1, 1);
    const second = await world.copy(rechecked);
    expect(second).toMatchObject({ files: 0, bytes: 0, skipped: 2 });
    expect(await reasons(second.runId)).toEqual([]);
  });

  test('what is gone, shorter or has other bytes is delivered again, with an event that says why, and remembered anew', async () => {
    await world.put({ 'gone.csv': 'a', 'other.csv': 'bb', 'short.csv': 'cc' });
    const first = await world.copy(rechecked);
    await unlink(atTarget('gone.csv'));
    await writeFile(atTarget('other.csv'), 'XX');
    await utimes(atTarget('other.csv'), 1, 1);
    await writeFile(atTarget('short.csv'), 'c');
    const second = await world.copy(rechecked);
    expect(second).toMatchObject({ files: 3, skipped: 0, failed: 0 });
    expect((await reasons(second.runId)).sort()).toEqual([
      'the target has 1 bytes instead of 2',
      'the target has other bytes',
      'the target has the file no more',
    ]);
    expect(await world.read(world.target)).toEqual({
      '/in/gone.csv': 'a',
      '/in/other.csv': 'bb',
      '/in/short.csv': 'cc',
    });
    const third = await world.copy(all);
    expect(third).toMatchObject({ files: 0, skipped: 3 });
    const [before, after] = [await world.deliveries(second.runId), await world.deliveries(third.runId)];
    expect(after.map(({ duplicateOf }) => duplicateOf)).toEqual(before.map(({ id }) => id));
    expect(before[0]!.errorMessage).toBe('delivered again: the target has the file no more');
    expect(await world.deliveries(first.runId)).toHaveLength(3);
  });

  test('a file that went to another name is looked for under that', async () => {
    await world.put({ 'a.csv': 'a' });
    const versioned = { ...all, recheck: true, onConflict: 'version' };
    await writeFile(join(world.target, 'a.csv'), 'of somebody else');
    const to = { ...versioned, to: 'landing:/' };
    expect(await world.copy(to)).toMatchObject({ files: 1 });
    await unlink(join(world.target, 'a.csv'));
    expect(await world.copy(to)).toMatchObject({ files: 0, skipped: 1 });
    await unlink(join(world.target, 'a.v2.csv'));
    expect(await world.copy(to)).toMatchObject({ files: 1 });
    expect(await world.read(world.target)).toEqual({ '/a.csv': 'a' });
  });

  test('with the conflict rule `fail`, other bytes at the target are left as they are', async () => {
    await world.put({ 'a.csv': 'a' });
    await world.copy({ ...all, recheck: true });
    await writeFile(atTarget('a.csv'), 'other');
    expect(await world.copy({ ...all, recheck: true })).toMatchObject({ failed: 1, firstFailure: { kind: 'exists' } });
    expect(await readFile(atTarget('a.csv'), 'utf8')).toBe('other');
  });
});

describe('names that the target takes for one', () => {
  const fold = () =>
    database.asOwner(
      `update connector_endpoint set config = config || '{"caseSensitive":false}', version = version + 1 where name = '${world.aliases.landing}'`,
    );

  test.each([
    ['in case alone', 'out/A.csv', 'out/a.CSV'],
    ['in the case of their folders', 'Out/a.csv', 'out/a.csv'],
    ['in the form of their Unicode', 'é.csv', 'e\u0301.csv'],
    ['in both', 'É.csv', 'e\u0301.CSV'],
    ['in letters whose capital is the same', 'σ.csv', 'ς.csv'],
  ])('differ %s: both are named, and nothing is sent', async (_, one, other) => {
    await world.put({ [one]: '1', [other]: '2', 'third.csv': '3' });
    await fold();
    const runId = await world.newRun();
    const clash = { kind: 'invalid', message: expect.stringContaining('would both become') };
    await expect(world.plan(runId, all)).rejects.toMatchObject(clash);
    const error = (await world.plan(runId, all).catch((thrown: Error) => thrown)) as Error;
    expect(error.message).toContain(`/${one}`);
    expect(error.message).toContain(`/${other}`);
    expect(await world.deliveries(runId)).toEqual([]);
    expect(await world.read(world.target)).toEqual({});
  });

  test('are taken as two where the target tells them apart, and names that only look alike are two everywhere', async () => {
    await world.put({ 'A.csv': '1', 'a.csv': '2', 'é.csv': '3', 'e\u0301.csv': '4' });
    expect(await world.copy(all)).toMatchObject({ files: 4, failed: 0 });
    await fold();
    await Promise.all(['A.csv', 'é.csv'].map((name) => unlink(join(world.source, name))));
    await world.put({ 'straße.csv': '5', 'strasse.csv': '6' });
    expect(await world.copy({ ...all, to: 'landing:/folded/' })).toMatchObject({ files: 4, failed: 0 });
  });
});

describe('an empty file and the time of a file', () => {
  test('arrive as they are', async () => {
    await world.put({ empty: '', 'a.csv': 'a' });
    await utimes(join(world.source, 'empty'), 1_600_000_000.25, 1_600_000_000.25);
    expect(await world.copy(all)).toMatchObject({ files: 2, bytes: 1, failed: 0 });
    const facts = await stat(join(world.target, 'in/empty'));
    expect([facts.size, facts.mtimeMs]).toEqual([0, 1_600_000_000_250]);
    expect(await world.copy({ ...all, recheck: true })).toMatchObject({ skipped: 2 });
  });
});
