/**
 * The engine over local folders against `cp` + `sha256sum` (one large file) and against `cp -r` (small files).
 * `node bench/local-copy.ts [rounds]`. Rounds are interleaved; medians and their ratio are printed. Whole transfers are
 * timed: plan, copy with its ledger in a real PostgreSQL, and closing.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { removePostgres, startPostgres } from '../cli/embedded/postgres.ts';
import { ensureTenant } from '../identity/firstRun.ts';
import { migrate } from '../prisma/migrate.ts';
import { openStore } from '../prisma/store.ts';
import { openEngine, openWorld, type World } from '../test/transfer/world.ts';

const run = promisify(execFile);
const largeBytes = 1024 ** 3;
const smallFiles = 2_000;
const smallBytes = 10 * 1024;

const rounds = Number(process.argv[2] ?? 5);
const stateFolder = await mkdtemp(join(tmpdir(), 'waybill-bench-'));
await chmod(stateFolder, 0o755);
try {
  const postgres = await startPostgres({ stateFolder, port: 0, onProgress: () => undefined });
  await migrate(postgres);
  const store = openStore({ ...postgres, log: { warn: () => undefined } });
  const engine = openEngine(store);
  const world = await openWorld(store, await ensureTenant(store, 'bench'), engine);
  try {
    await makeFiles(world);
    report('1 GiB, one file', 'cp + sha256sum', largeBytes, await measure(world, 'large', largeByHand));
    report(
      `${smallFiles} files of 10 KiB`,
      'cp -r + sha256sum',
      smallFiles * smallBytes,
      await measure(world, 'small', smallByHand),
    );
    process.stdout.write(`resident ${(process.memoryUsage().rss / 2 ** 20).toFixed(0)} MiB\n`);
  } finally {
    await world.remove();
    await engine.close();
    await store.close();
  }
} finally {
  await removePostgres(stateFolder);
  await rm(stateFolder, { recursive: true, force: true });
}

async function makeFiles({ source }: World): Promise<void> {
  await mkdir(join(source, 'large'));
  await mkdir(join(source, 'small'));
  const file = await open(join(source, 'large/one.bin'), 'w');
  const block = randomBytes(8 * 1024 * 1024);
  for (let at = 0; at < largeBytes; at += block.length) await file.write(block, 0, block.length, at);
  await file.close();
  for (let index = 0; index < smallFiles; index++)
    await writeFile(join(source, `small/${index}.bin`), randomBytes(smallBytes));
}

async function measure(world: World, folder: string, byHand: (world: World) => Promise<void>) {
  const times = { engine: [] as number[], hand: [] as number[] };
  for (let round = 0; round < rounds; round++) {
    await rm(join(world.target, 'hand'), { recursive: true, force: true });
    times.hand.push(await timed(() => byHand(world)));
    await rm(join(world.target, 'engine'), { recursive: true, force: true });
    times.engine.push(
      await timed(async () => {
        const copied = await world.copy({ from: `partner:/${folder}/*`, to: 'landing:/engine/', once: 'off' });
        if (copied.failed > 0) throw new Error(copied.firstFailure?.message);
      }),
    );
  }
  return { engine: median(times.engine), hand: median(times.hand) };
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

async function timed(work: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1000;
}

function median(values: readonly number[]): number {
  return [...values].sort((one, other) => one - other)[Math.floor(values.length / 2)]!;
}

function report(what: string, peer: string, bytes: number, { engine, hand }: { engine: number; hand: number }): void {
  const rate = (seconds: number) => `${seconds.toFixed(2)} s, ${(bytes / seconds / 1e6).toFixed(0)} MB/s`;
  process.stdout.write(`${what}: engine ${rate(engine)}; ${peer} ${rate(hand)}; ratio ${(hand / engine).toFixed(2)}\n`);
}
