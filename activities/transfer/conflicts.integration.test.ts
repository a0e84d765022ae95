import { mkdir, mkdtemp, readdir, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WaybillError } from '../../schema/errors.ts';
import type { TestDatabase } from '../../test/servers/database.ts';
import { type Sshd, startSshd } from '../../test/servers/sshd.ts';
import { addEndpoint, attemptOf, openEngine, patient, type World } from '../../test/transfer/world.ts';
import { worldOfEachTest } from '../../test/transfer/worldOfEachTest.ts';
import type { DurableStep } from './context.ts';
import type { BatchInput } from './copyBatch.ts';

let database: TestDatabase;
let world: World;
let sshd: Sshd;
let folder: string;

worldOfEachTest((opened) => {
  ({ database, world } = opened);
});
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'waybill-conflicts-'));
  sshd = await startSshd({ root: folder });
});
afterAll(async () => {
  await sshd?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** The world's folders, by themselves or through a real sshd. */
async function reach(by: string): Promise<{ from: string; to: string }> {
  if (by === 'local') return { from: 'partner', to: 'landing' };
  for (const [alias, root] of [
    ['remote', world.source],
    ['drop', world.target],
  ] as const) {
    const name = `${alias}-${world.aliases.partner}`;
    const config = { host: sshd.host, port: sshd.port, username: sshd.username, root, hostKeys: sshd.hostKeys };
    await addEndpoint(database.store, world.tenantId, name, 'sftp', config, { privateKey: sshd.privateKey });
    world.aliases[alias] = name;
  }
  return { from: 'remote', to: 'drop' };
}

async function putAtTarget(content: string): Promise<void> {
  await mkdir(join(world.target, 'in'), { recursive: true });
  await writeFile(join(world.target, 'in/a.csv'), content);
}

const rest = { failed: 0, skipped: 0, files: 0 };

describe.each(['local', 'sftp'])('%s: when the target has the name', (by) => {
  const copy = async (onConflict: string, more = {}) => {
    const { from, to } = await reach(by);
    return { from: `${from}:/*`, to: `${to}:/in/`, onConflict, ...more };
  };

  test.each([
    ['fail', 'old', { failed: 1 }, 'exists', { '/in/a.csv': 'old' }],
    ['fail', 'new', { failed: 1 }, 'exists', { '/in/a.csv': 'new' }],
    ['overwrite', 'old', { files: 1 }, null, { '/in/a.csv': 'new' }],
    ['skip-identical', 'new', { skipped: 1 }, null, { '/in/a.csv': 'new' }],
    ['skip-identical', 'old', { failed: 1 }, 'exists', { '/in/a.csv': 'old' }],
    ['skip-identical', 'longer', { failed: 1 }, 'exists', { '/in/a.csv': 'longer' }],
    ['version', 'old', { files: 1 }, null, { '/in/a.csv': 'old', '/in/a.v2.csv': 'new' }],
  ])('%s, and it is %j', async (onConflict, there, counts, kind, left) => {
    await world.put({ 'a.csv': 'new' });
    await putAtTarget(there);
    const copied = await world.copy(await copy(onConflict));
    expect(copied).toMatchObject({ ...rest, ...counts });
    expect(copied.firstFailure?.kind ?? null).toBe(kind);
    expect(await world.read(world.target)).toEqual(left);
  });

  /** Somebody puts another file there when the bytes have been sent and nothing is published yet. */
  test.each([
    ['fail', { failed: 1 }, 'exists', { '/in/a.csv': 'theirs' }],
    ['overwrite', { files: 1 }, null, { '/in/a.csv': 'new' }],
    ['skip-identical', { failed: 1 }, 'conflict', { '/in/a.csv': 'theirs' }],
    ['version', { files: 1 }, null, { '/in/a.csv': 'theirs', '/in/a.v2.csv': 'new' }],
  ])('%s, and it came while we sent', async (onConflict, counts, kind, left) => {
    await world.put({ 'a.csv': 'new' });
    const answer = await copyWith(await copy(onConflict), 'verified', () => putAtTarget('theirs'));
    expect(answer).toMatchObject({ ...rest, ...counts });
    expect(answer.firstFailure?.kind ?? null).toBe(kind);
    expect(await world.read(world.target)).toEqual(left);
  });

  test.each([
    ['the bytes', 'new', { files: 1 }, null],
    ['other bytes', 'old', { failed: 1 }, 'exists'],
  ])('fail, and an earlier attempt that was cut off has published %s meanwhile', async (_, late, counts, kind) => {
    await world.put({ 'a.csv': 'new' });
    let begun = 0;
    const twice = openEngine(database.store, async (step) => {
      if (step === 'claimed' && ++begun === 1) throw new WaybillError('unavailable', 'cut off');
      if (step === 'verified') await putAtTarget(late);
    });
    const runId = await world.newRun();
    const { transferId } = await world.plan(runId, await copy('fail'));
    const batch = { tenantId: world.tenantId, runId, transferId, batch: 0 };
    try {
      await expect(twice.work.copyBatch(batch, attemptOf({ attempt: 1 }))).rejects.toThrow('cut off');
      const answer = await twice.work.copyBatch(batch, attemptOf({ attempt: 2 }));
      expect(answer).toMatchObject({ ...rest, ...counts });
      expect(answer.firstFailure?.kind ?? null).toBe(kind);
    } finally {
      await twice.close();
    }
    expect(await world.read(world.target)).toEqual({ '/in/a.csv': late });
  });

  /** The first attempt is cut off when it is about to publish, and what it had asked for happens in the second one. */
  test.each([
    ['has published', 'new', '/in/a.csv', { '/in/a.csv': 'new' }],
    [
      'has not, but somebody else has put a file there',
      'old',
      '/in/a.v2.csv',
      { '/in/a.csv': 'old', '/in/a.v2.csv': 'new' },
    ],
  ])('version, and an earlier attempt that was cut off %s meanwhile', async (_, late, target, left) => {
    await world.put({ 'a.csv': 'new' });
    const given = await copy('version', { once: 'off' });
    for (const when of ['begun', 'verified'] as const) {
      await rm(join(world.target, 'in'), { recursive: true, force: true });
      const steps: string[] = [];
      const twice = openEngine(database.store, async (step) => {
        steps.push(step);
        const times = steps.filter((taken) => taken === when).length;
        if (step === 'verified' && !steps.includes('cut off')) {
          steps.push('cut off');
          throw new WaybillError('unavailable', 'cut off');
        }
        if (step === when && times === 2) await putAtTarget(late);
      });
      const runId = await world.newRun();
      const { transferId } = await world.plan(runId, given);
      const batch = { tenantId: world.tenantId, runId, transferId, batch: 0 };
      try {
        await expect(twice.work.copyBatch(batch, attemptOf({ attempt: 1, retry: patient }))).rejects.toThrow('cut off');
        expect(await twice.work.copyBatch(batch, attemptOf({ attempt: 2 }))).toMatchObject({ ...rest, files: 1 });
      } finally {
        await twice.close();
      }
      expect(await world.read(world.target), when).toEqual(left);
      expect((await world.deliveries(runId)).map((delivery) => delivery.target)).toEqual([target]);
    }
  });

  /** The claim goes to another run as soon as it is not renewed; what the first one had asked for happens then. */
  test.each(['fail', 'version'])('%s, and the run whose claim was taken over has published meanwhile', async (rule) => {
    await world.put({ 'a.csv': 'new' });
    const given = await copy(rule);
    const stopped = openEngine(
      database.store,
      (step) => {
        if (step === 'verified') throw new WaybillError('unavailable', 'cut off');
      },
      { leaseMs: 1 },
    );
    const next = openEngine(database.store, async (step) => {
      if (step === 'verified') await putAtTarget('new');
    });
    const [runs, batches] = [[await world.newRun(), await world.newRun()], [] as BatchInput[]];
    for (const runId of runs) {
      const { transferId } = await world.plan(runId, given);
      batches.push({ tenantId: world.tenantId, runId, transferId, batch: 0 });
    }
    try {
      await expect(stopped.work.copyBatch(batches[0]!, attemptOf({ retry: patient }))).rejects.toThrow('cut off');
      expect(await next.work.copyBatch(batches[1]!, attemptOf())).toMatchObject({ ...rest, files: 1 });
    } finally {
      await Promise.all([stopped.close(), next.close()]);
    }
    expect(await world.read(world.target)).toMatchObject({ '/in/a.csv': 'new' });
    expect((await world.deliveries(runs[1]!)).map((delivery) => delivery.target)).toEqual(['/in/a.csv']);
  });

  test('version, and another delivery brings the same bytes: a second attempt makes its own version', async () => {
    await world.put({ 'a.csv': 'new' });
    let begun = 0;
    const twice = openEngine(database.store, async (step) => {
      if (step === 'claimed' && ++begun === 1) throw new WaybillError('unavailable', 'cut off');
      if (step === 'verified') await putAtTarget('new');
    });
    const runId = await world.newRun();
    const { transferId } = await world.plan(runId, await copy('version'));
    const batch = { tenantId: world.tenantId, runId, transferId, batch: 0 };
    try {
      await expect(twice.work.copyBatch(batch, attemptOf({ attempt: 1, retry: patient }))).rejects.toThrow('cut off');
      await twice.work.copyBatch(batch, attemptOf({ attempt: 2 }));
    } finally {
      await twice.close();
    }
    expect(await world.read(world.target)).toEqual({ '/in/a.csv': 'new', '/in/a.v2.csv': 'new' });
  });

  test.each([
    ['fail', 1],
    ['version', 2],
  ])('%s, and two runs come at once: nothing is lost or mixed', async (onConflict, files) => {
    await world.put({ 'a.csv': 'new' });
    const given = await copy(onConflict, { once: 'off' });
    const runs = await Promise.all([world.copy(given), world.copy(given)]);
    expect(runs.map((run) => run.files).reduce((sum, count) => sum + count)).toBe(files);
    const left = await world.read(world.target);
    expect(Object.keys(left)).toEqual(['/in/a.csv', '/in/a.v2.csv'].slice(0, files));
    expect(new Set(Object.values(left))).toEqual(new Set(['new']));
  });
});

describe.each(['local', 'sftp'])('%s: what is proven and kept', (by) => {
  test('the evidence is what was asked for, and never more than was shown', async () => {
    await world.put({ 'a.csv': 'a' });
    const { from, to } = await reach(by);
    const found: unknown[] = [];
    for (const verify of ['hash', 'size', 'readback']) {
      const { runId } = await world.copy({ from: `${from}:/*`, to: `${to}:/${verify}/`, verify });
      found.push((await world.deliveries(runId))[0]!.evidence);
    }
    expect(found).toEqual(['acknowledged-size', 'size', 'readback']);
  });

  test('bytes that the disk changed before they were published are integrity, and are not published', async () => {
    await world.put({ 'a.csv': 'right' });
    const { from, to } = await reach(by);
    const given = { from: `${from}:/*`, to: `${to}:/in/`, verify: 'readback' };
    const answer = await copyWith(given, 'sealed', async () => {
      const [name] = await readdir(join(world.target, 'in'));
      await writeFile(join(world.target, 'in', name!), 'wrong');
    });
    expect(answer).toMatchObject({ files: 0, failed: 1, firstFailure: { kind: 'integrity' } });
    expect(await world.read(world.target)).toEqual({});
  });

  test('an empty file and the time of a file arrive, to the second at least', async () => {
    await world.put({ empty: '', 'a.csv': 'a' });
    const { from, to } = await reach(by);
    await utimes(join(world.source, 'empty'), 1_600_000_000, 1_600_000_000);
    await utimes(join(world.source, 'a.csv'), 1_700_000_000, 1_700_000_000);
    expect(await world.copy({ from: `${from}:/*`, to: `${to}:/` })).toMatchObject({ files: 2, failed: 0 });
    const times = await Promise.all(['empty', 'a.csv'].map(async (name) => stat(join(world.target, name))));
    expect(times.map(({ size, mtimeMs }) => [size, mtimeMs])).toEqual([
      [0, 1_600_000_000_000],
      [1, 1_700_000_000_000],
    ]);
  });

  test('links that lead nowhere, in a circle or to a folder do not hold up the others', async () => {
    await world.put({ 'real.csv': 'real', 'folder/a.csv': 'a' });
    const { from, to } = await reach(by);
    for (const [target, name] of [
      ['real.csv', 'link.csv'],
      ['gone.csv', 'dangling.csv'],
      ['loop-b.csv', 'loop-a.csv'],
      ['loop-a.csv', 'loop-b.csv'],
      ['folder', 'linked'],
    ] as const)
      await symlink(target, join(world.source, name));
    const given = { from: `${from}:/**`, to: `${to}:/` };
    await expect(world.copy({ ...given, links: 'refuse' })).rejects.toMatchObject({ kind: 'invalid' });
    expect(await world.copy({ ...given, links: 'skip', to: `${to}:/skip/` })).toMatchObject({ files: 2, failed: 0 });
    expect(await world.copy(given)).toMatchObject({ files: 3, failed: 0 });
  });
});

/** Copies with an engine of its own that is held for a deed after a step. */
async function copyWith(given: Parameters<World['copy']>[0], after: DurableStep, deed: () => Promise<void>) {
  const held = openEngine(database.store, async (step) => {
    if (step === after) await deed();
  });
  try {
    const runId = await world.newRun();
    const { transferId } = await world.plan(runId, given);
    return await held.work.copyBatch({ tenantId: world.tenantId, runId, transferId, batch: 0 }, attemptOf());
  } finally {
    await held.close();
  }
}
