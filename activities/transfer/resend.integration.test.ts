import { unlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { planResend } from '../../prisma/resend.ts';
import type { Json } from '../../schema/plan.ts';
import type { TestDatabase } from '../../test/servers/database.ts';
import { attemptOf, type Engine, openEngine, patient, type World } from '../../test/transfer/world.ts';
import { worldOfEachTest } from '../../test/transfer/worldOfEachTest.ts';

let database: TestDatabase;
let engine: Engine;
let world: World;
worldOfEachTest((opened) => {
  ({ database, engine, world } = opened);
});

const all = { from: 'partner:/out/**', to: 'landing:/in/' };

/** Delivers, and gives a run that is planned to send the first file once more. */
async function resendFirst(given: Record<string, Json> = all) {
  const first = await world.copy(given);
  const [delivered] = await world.deliveries(first.runId);
  const runId = await world.newRun();
  const planned = await database.store.sql(world.tenantId, (sql) =>
    planResend(sql, world.tenantId, runId, [delivered!.id]),
  );
  const again = await database.store.sql(world.tenantId, (sql) =>
    planResend(sql, world.tenantId, runId, [delivered!.id]),
  );
  expect(again).toEqual(planned);
  const batch = { tenantId: world.tenantId, runId, transferId: planned[0]!.transferId, batch: 0 };
  const send = (by = engine) => by.work.copyBatch(batch, attemptOf({ retry: patient }));
  return { delivered: delivered!, runId, send };
}

test('one file is sent once more, alone, although it was delivered; later runs still see it as delivered', async () => {
  await world.put({ 'out/sub/a.csv': 'a', 'out/sub/b.csv': 'b' });
  const { delivered, runId, send } = await resendFirst();
  await Promise.all(['a.csv', 'b.csv'].map((name) => unlink(join(world.target, 'in/sub', name))));
  expect(await send()).toMatchObject({ files: 1, bytes: 1, skipped: 0, failed: 0 });
  expect(await world.read(world.target)).toEqual({ '/in/sub/a.csv': 'a' });
  expect(await world.deliveries(runId)).toMatchObject([
    { state: 'settled', path: '/out/sub/a.csv', target: '/in/sub/a.csv', sha256: delivered.sha256 },
  ]);
  const later = await world.copy({ ...all, recheck: false });
  expect(later).toMatchObject({ files: 0, skipped: 2 });
  expect((await world.deliveries(later.runId))[0]).toMatchObject({ duplicateOf: delivered.id });
});

test('a file that was moved aside is sent from there, and stays there', async () => {
  await world.put({ 'out/sub/a.csv': 'a' });
  const { runId, send } = await resendFirst({ ...all, then: { move: '/done/' } });
  await unlink(join(world.target, 'in/sub/a.csv'));
  expect(await send()).toMatchObject({ files: 1, failed: 0 });
  expect(await world.read(world.target)).toEqual({ '/in/sub/a.csv': 'a' });
  expect(await world.read(world.source)).toEqual({ '/done/sub/a.csv': 'a' });
  expect((await world.deliveries(runId))[0]).toMatchObject({ state: 'settled', path: '/done/sub/a.csv' });
});

test('what only was touched is the same version, and a retried failure is taken up', async () => {
  await world.put({ 'out/a.csv': 'a' });
  const { send } = await resendFirst();
  await utimes(join(world.source, 'out/a.csv'), 1, 1);
  expect(await send()).toMatchObject({ files: 0, failed: 1, firstFailure: { kind: 'exists' } });
  await unlink(join(world.target, 'in/a.csv'));
  const other = await resendFirst({ ...all, once: 'off', to: 'landing:/other/' });
  await unlink(join(world.target, 'other/a.csv'));
  await utimes(join(world.source, 'out/a.csv'), 2, 2);
  expect(await other.send()).toMatchObject({ files: 1, failed: 0 });
});

test('a source that is gone, or has other bytes, is said so at once, and nothing is sent', async () => {
  await world.put({ 'out/a.csv': 'one' });
  const gone = await resendFirst();
  const changed = await resendFirst({ ...all, once: 'off', onConflict: 'overwrite' });
  await unlink(join(world.target, 'in/a.csv'));
  await writeFile(join(world.source, 'out/a.csv'), 'two');
  const steps: string[] = [];
  const watched = openEngine(database.store, (step) => void steps.push(step));
  expect(await changed.send(watched)).toMatchObject({
    files: 0,
    failed: 1,
    firstFailure: { kind: 'not-found', message: expect.stringContaining('other bytes than those that were delivered') },
  });
  await watched.close();
  expect(steps).not.toContain('begun');
  await unlink(join(world.source, 'out/a.csv'));
  expect(await gone.send()).toMatchObject({
    files: 0,
    failed: 1,
    firstFailure: { kind: 'not-found', path: '/out/a.csv', message: expect.stringContaining('the source is gone') },
  });
  expect(await world.read(world.target)).toEqual({});
});

test('bytes that change under the same size and time while they are sent are never published', async () => {
  await world.put({ 'out/a.csv': 'one' });
  await utimes(join(world.source, 'out/a.csv'), 5, 5);
  const { send } = await resendFirst();
  await unlink(join(world.target, 'in/a.csv'));
  const meddling = openEngine(database.store, async (step) => {
    if (step !== 'claimed') return;
    await writeFile(join(world.source, 'out/a.csv'), 'two');
    await utimes(join(world.source, 'out/a.csv'), 5, 5);
  });
  const answer = await send(meddling);
  await meddling.close();
  expect(answer).toMatchObject({ files: 0, failed: 1, firstFailure: { kind: 'not-found' } });
  expect(await world.read(world.target)).toEqual({});
});

test('the conflict rule of the pipeline decides about what is at the target', async () => {
  await world.put({ 'out/a.csv': 'a' });
  const version = await resendFirst({ ...all, onConflict: 'version' });
  expect(await version.send()).toMatchObject({ files: 1 });
  expect(Object.keys(await world.read(world.target))).toEqual(['/in/a.csv', '/in/a.v2.csv']);
  const identical = await resendFirst({ ...all, once: 'off', onConflict: 'skip-identical' });
  expect(await identical.send()).toMatchObject({ files: 0, skipped: 1 });
});
