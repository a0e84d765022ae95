import { symlink, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Json } from '../../schema/plan.ts';
import { attemptOf, type Engine, type World } from '../../test/transfer/world.ts';
import { worldOfEachTest } from '../../test/transfer/worldOfEachTest.ts';

let engine: Engine;
let world: World;
worldOfEachTest((opened) => {
  ({ engine, world } = opened);
});

const all = { from: 'partner:/**', to: 'landing:/in/' };

/** What a copy would take, and that a listing takes the same. */
async function selected(given: Record<string, Json>): Promise<string[]> {
  const runId = await world.newRun();
  await world.plan(runId, { ...all, ...given });
  const planned = (await world.deliveries(runId)).map(({ path }) => path);
  const input = { tenantId: world.tenantId, runId, stepKey: 'steps[1]', endpoints: world.aliases };
  const { files } = await engine.work.listFiles({ ...input, with: { from: all.from, ...given } }, attemptOf());
  const rows = await engine.work.fileSetPage({ tenantId: world.tenantId, ref: files.ref, after: 0, limit: 100 });
  expect(rows.map(({ path }) => path).sort()).toEqual(planned);
  return planned;
}

async function age(path: string, seconds: number): Promise<void> {
  const time = Date.now() / 1_000 - seconds;
  await utimes(join(world.source, path), time, time);
}

describe('a copy and a listing take the same files', () => {
  test('that match one of `include`, and none of `exclude`', async () => {
    await world.put({ 'a.csv': '', 'b.xml': '', 'c.txt': '', 'sub/d.csv': '', 'tmp/e.csv': '' });
    expect(await selected({ include: ['/**/*.csv', '*.xml'], exclude: ['/tmp/**'] })).toEqual([
      '/a.csv',
      '/b.xml',
      '/sub/d.csv',
    ]);
    expect(await selected({ include: [] })).toHaveLength(5);
  });

  test('of sizes from and to the bounds, bounds included', async () => {
    await world.put({ '0': '', '999': 'x'.repeat(999), '1000': 'x'.repeat(1_000), '1024': 'x'.repeat(1_024) });
    expect(await selected({ minSize: '1KB', maxSize: '1KiB' })).toEqual(['/1000', '/1024']);
    expect(await selected({ maxSize: '0B' })).toEqual(['/0']);
    expect(await selected({ minSize: '1TiB' })).toEqual([]);
  });

  test('of ages within the bounds; one from the future is younger than any', async () => {
    await world.put({ future: '', now: '', hour: '', week: '' });
    await age('future', -3_600);
    await age('hour', 3_600);
    await age('week', 7 * 86_400 + 60);
    expect(await selected({ minAge: '30m' })).toEqual(['/hour', '/week']);
    expect(await selected({ minAge: '30m', maxAge: '7d' })).toEqual(['/hour']);
    expect(await selected({ maxAge: '5m' })).toEqual(['/future', '/now']);
  });

  test('for which `where` is true, with the variables that a listing gives', async () => {
    await world.put({ 'ORD_1.csv': 'xx', 'ORD_2.csv': '', 'sub/ORD_3.csv': 'xx', 'other.csv': 'xx' });
    const where = `file.name.startsWith('ORD_') && file.size > 1 && file.path.folder() == '/' && file.modified != null && file.endpoint == '${world.aliases.partner}'`;
    expect(await selected({ where })).toEqual(['/ORD_1.csv']);
  });

  test('of a path that is named, too', async () => {
    await world.put({ 'a.csv': 'a' });
    const one = { from: 'partner:/a.csv', to: 'landing:/' };
    expect(await world.copy({ ...one, where: 'file.size > 1' })).toMatchObject({ files: 0, failed: 0 });
    await expect(world.copy({ ...one, minSize: '1KB', onEmpty: 'fail' })).rejects.toMatchObject({ kind: 'not-found' });
    expect(await world.copy({ ...one, maxSize: '1KB' })).toMatchObject({ files: 1 });
  });
});

describe('a selection that cannot be decided', () => {
  test('names the file and the expression, and plans nothing', async () => {
    await world.put({ 'a.csv': 'a' });
    const runId = await world.newRun();
    await expect(world.plan(runId, { ...all, where: 'file.size / 0 > 1' })).rejects.toMatchObject({
      kind: 'invalid',
      message: expect.stringMatching(/`where` for \/a\.csv: .*file\.size \/ 0 > 1/),
      context: { path: '/a.csv' },
    });
    expect(await world.deliveries(runId)).toEqual([]);
  });

  test('since the expression takes too many steps ends there', async () => {
    await world.put({ 'a.csv': 'a' });
    const list = `[${'1,'.repeat(99)}1]`;
    const where = `${list}.all(a, ${list}.all(b, ${list}.all(c, a + b + c > 0)))`;
    await expect(selected({ where })).rejects.toMatchObject({
      kind: 'invalid',
      message: expect.stringMatching(/`where` for \/a\.csv: .*steps/),
    });
  });

  test.each([
    [{ minSize: '2KB', maxSize: '1KB' }, /minSize is more than maxSize/],
    [{ minAge: '2h', maxAge: '90m' }, /minAge is more than maxAge/],
    [{ maxSize: 'large' }, /maxSize is "large".*10KB/],
    [{ minAge: 5 }, /minAge is 5/],
    [{ links: 'both' }, /links is "both".*follow, skip, refuse/],
    [{ recheck: 'yes' }, /recheck is "yes"/],
  ] as Array<[Record<string, Json>, RegExp]>)('%j is invalid', async (given, message) => {
    await expect(world.plan(await world.newRun(), { ...all, ...given })).rejects.toMatchObject({
      kind: 'invalid',
      message: expect.stringMatching(message),
    });
  });
});

describe('symbolic links', () => {
  const links = async () => {
    await world.put({ 'real.csv': 'real', 'folder/inside.csv': 'inside' });
    for (const [target, name] of [
      ['real.csv', 'link.csv'],
      ['gone.csv', 'dangling.csv'],
      ['loop-b.csv', 'loop-a.csv'],
      ['loop-a.csv', 'loop-b.csv'],
      ['/etc/hostname', 'outside.csv'],
      ['..', 'folder/up'],
      ['folder', 'linked-folder'],
    ] as const)
      await symlink(target, join(world.source, name));
  };
  const files = ['/folder/inside.csv', '/real.csv'];

  test('are files where they lead to one; those that lead nowhere, in a circle, out of the root or to a folder are left out', async () => {
    await links();
    expect(await selected({})).toEqual(['/folder/inside.csv', '/link.csv', '/real.csv']);
    expect(await world.copy(all)).toMatchObject({ files: 3, failed: 0 });
    expect((await world.read(world.target))['/in/link.csv']).toBe('real');
  });

  test('are left out with `skip`, also when one is named', async () => {
    await links();
    expect(await selected({ links: 'skip' })).toEqual(files);
    const named = { from: 'partner:/link.csv', to: 'landing:/', links: 'skip' };
    expect(await world.copy(named)).toMatchObject({ files: 0 });
    expect(await world.copy({ ...named, from: 'partner:/real.csv' })).toMatchObject({ files: 1 });
  });

  test('fail the step with `refuse` and are named, unless they are excluded', async () => {
    await links();
    const refused = { kind: 'invalid', context: { path: expect.stringMatching(/link|loop|dangling|outside|up/) } };
    await expect(selected({ links: 'refuse' })).rejects.toMatchObject(refused);
    const named = { from: 'partner:/link.csv', to: 'landing:/', links: 'refuse' };
    await expect(world.copy(named)).rejects.toMatchObject({ kind: 'invalid', context: { path: '/link.csv' } });
    const exclude = ['/*link*', '/loop*', '/dangling*', '/outside*', '/folder/up'];
    expect(await selected({ links: 'refuse', exclude })).toEqual(files);
  });
});
