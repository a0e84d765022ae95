import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, open, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { openEngine, openWorld, type World } from '../test/transfer/world.ts';
import { type Benchmark, type Measurement, median, type Terms, timed } from './benchmark.ts';
import { withDatabase } from './database.ts';

const run = promisify(execFile);
const smallBytes = 10 * 1024;
const blockBytes = 8 * 1024 * 1024;

interface Sizes {
  largeBytes: number;
  smallFiles: number;
  rounds: number;
}

/** Whole transfers are timed: plan, copy with its ledger in a real PostgreSQL, and closing. Rounds are interleaved; medians are told. */
export const localCopy: Benchmark = {
  name: 'local-copy',
  summary: 'a transfer between local folders beside cp and sha256sum: one large file, and many small ones',
  measure: (terms) =>
    withDatabase(async ({ store, tenant }) => {
      const engine = openEngine(store);
      const world = await openWorld(store, tenant, engine);
      try {
        return await Promise.race([measureBoth(world, terms), terms.interrupted]);
      } finally {
        await world.remove();
        await engine.close();
      }
    }),
};

async function measureBoth(world: World, { quick, say }: Terms): Promise<Measurement[]> {
  const sizes: Sizes = quick
    ? { largeBytes: 128 * 1024 ** 2, smallFiles: 500, rounds: 3 }
    : { largeBytes: 1024 ** 3, smallFiles: 2_000, rounds: 5 };
  await makeFiles(world, sizes);
  say(`one file of ${sizes.largeBytes / 2 ** 20} MiB`);
  const large = await measure(world, 'large', sizes.rounds, largeByHand);
  say(`${sizes.smallFiles} files of 10 KiB`);
  const small = await measure(world, 'small', sizes.rounds, smallByHand);
  const perSecond = (amount: number, { ours, peer }: { ours: number; peer: number }) => ({
    ours: (amount / ours) * 1000,
    peer: (amount / peer) * 1000,
  });
  return [
    { name: 'local-copy.large', ...perSecond(sizes.largeBytes / 1e6, large), unit: 'MB/s' },
    { name: 'local-copy.small', ...perSecond(sizes.smallFiles, small), unit: 'files/s' },
  ];
}

async function makeFiles({ source }: World, { largeBytes, smallFiles }: Sizes): Promise<void> {
  await mkdir(join(source, 'large'));
  await mkdir(join(source, 'small'));
  const file = await open(join(source, 'large/one.bin'), 'w');
  const block = randomBytes(blockBytes);
  for (let at = 0; at < largeBytes; at += block.length) await file.write(block, 0, block.length, at);
  await file.close();
  for (let index = 0; index < smallFiles; index++)
    await writeFile(join(source, `small/${index}.bin`), randomBytes(smallBytes));
}

/** Milliseconds of both, medians. */
async function measure(world: World, folder: string, rounds: number, byHand: (world: World) => Promise<void>) {
  const times = { ours: [] as number[], peer: [] as number[] };
  for (let round = 0; round < rounds; round++) {
    await rm(join(world.target, 'hand'), { recursive: true, force: true });
    times.peer.push(await timed(() => byHand(world)));
    await rm(join(world.target, 'engine'), { recursive: true, force: true });
    times.ours.push(
      await timed(async () => {
        const copied = await world.copy({ from: `partner:/${folder}/*`, to: 'landing:/engine/', once: 'off' });
        if (copied.failed > 0) throw new Error(copied.firstFailure?.message);
      }),
    );
  }
  return { ours: median(times.ours), peer: median(times.peer) };
}

async function largeByHand({ source, target }: World): Promise<void> {
  await mkdir(join(target, 'hand'));
  await run('cp', [join(source, 'large/one.bin'), join(target, 'hand/one.bin')]);
  await run('sha256sum', [join(target, 'hand/one.bin')]);
}

async function smallByHand({ source, target }: World): Promise<void> {
  await run('cp', ['-r', join(source, 'small'), join(target, 'hand')]);
  await run('sh', ['-c', 'sha256sum -- *', '.'], { cwd: join(target, 'hand'), maxBuffer: 2 ** 24 });
}
