import { open, readdir, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { WaybillError } from '../../schema/errors.ts';
import type { TestDatabase } from '../../test/servers/database.ts';
import { attemptOf, openEngine, patient, type World } from '../../test/transfer/world.ts';
import { worldOfEachTest } from '../../test/transfer/worldOfEachTest.ts';

let database: TestDatabase;
let world: World;
worldOfEachTest((opened) => {
  ({ database, world } = opened);
});

const size = 2 ** 32 + 1;

/**
 * A file with holes takes no room. The first attempt dies early, and what the second one finds at the target is made to be
 * nearly all of it: so the numbers beyond 2^32 are met without writing four gibibytes.
 */
test('a file of more than 2^32 bytes arrives, is taken up beyond its middle, and is counted', {
  timeout: 120_000,
}, async () => {
  const source = join(world.source, 'large.bin');
  await writeAt(source, [0, 2 ** 31, 2 ** 32 - 3, 2 ** 32]);
  const given = {
    from: 'partner:/*',
    to: 'landing:/',
    verify: 'size',
    minSize: '4GiB',
    where: 'file.size > 4294967296',
  };
  const runId = await world.newRun();
  const { transferId, bytes } = await world.plan(runId, given);
  expect(bytes).toBe(size);
  const batch = { tenantId: world.tenantId, runId, transferId, batch: 0 };
  const dying = openEngine(database.store, async (step) => {
    if (step !== 'token') return;
    const [name] = await readdir(world.target);
    await writeAt(join(world.target, name!), [0, 2 ** 31]);
    await truncate(join(world.target, name!), 2 ** 32 - 5);
    throw new WaybillError('unavailable', 'the worker lost its network');
  });
  await expect(dying.work.copyBatch(batch, attemptOf({ retry: patient }))).rejects.toMatchObject({
    kind: 'unavailable',
  });
  await dying.close();

  const beats: Array<{ bytes: number }> = [];
  const second = openEngine(database.store);
  const attempt = attemptOf({ retry: patient, attempt: 2, heartbeat: (details) => beats.push(details as never) });
  expect(await second.work.copyBatch(batch, attempt)).toMatchObject({ files: 1, bytes: size, failed: 0 });
  await second.close();
  const [row] = await world.deliveries(runId);
  expect(row).toMatchObject({ state: 'settled', evidence: 'size' });
  expect((await stat(join(world.target, 'large.bin'))).size).toBe(size);
  expect(await readAt(join(world.target, 'large.bin'), [2 ** 31, 2 ** 32 - 3, 2 ** 32])).toBe('xxx');
  expect(await readdir(world.target)).toEqual(['large.bin']);
  // Only what the target lacked was sent: one window of 32 MiB at most, and the end.
  expect(beats.at(-1)!.bytes).toBeLessThanOrEqual(34 * 2 ** 20);
});

async function writeAt(path: string, places: readonly number[]): Promise<void> {
  const handle = await open(path, 'a+').then(async (made) => {
    await made.close();
    return open(path, 'r+');
  });
  for (const place of places) await handle.write(Buffer.from('x'), 0, 1, place);
  await handle.close();
}

async function readAt(path: string, places: readonly number[]): Promise<string> {
  const handle = await open(path);
  const byte = Buffer.alloc(1);
  let text = '';
  for (const place of places) {
    await handle.read(byte, 0, 1, place);
    text += byte.toString();
  }
  await handle.close();
  return text;
}
