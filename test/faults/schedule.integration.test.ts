import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { chooseSeed, Random } from '../random.ts';
import { createTestDatabase, type TestDatabase } from '../servers/database.ts';
import type { TcpProxy } from '../servers/proxy.ts';
import { type Engine, openEngine } from '../transfer/world.ts';
import { acknowledgedBytes, expectNoWorkLost, readJournal } from './journal.ts';
import { localGround, type Partner, type Passage, planPassage } from './passage.ts';
import { startSftpPartner } from './sftpPartner.ts';

const attemptProcess = fileURLToPath(new URL('attemptProcess.ts', import.meta.url));
const seed = chooseSeed();
/** Each way; WAYBILL_FAULT_SECONDS makes it longer. */
const troubleMs = 1000 * (Number(process.env.WAYBILL_FAULT_SECONDS) || 10);
const testTimeoutMs = 20 * troubleMs + 120_000;
/** Slow enough that there is something to disturb. */
const bytesPerSecond = 3 * 1024 * 1024;
/** Fast enough that the large file gets far between two faults. */
const lastBytesPerSecond = 16 * 1024 * 1024;
/** It is taken up where it was left when more of it than its window has arrived. */
const large = { name: 'large.bin', bytes: 48 * 1024 * 1024 };
const farBytes = 24 * 1024 * 1024;
const stallMs = 1_500;
/** A worker that was away for a quarter of it asks whether its work is still its own. */
const leaseMs = 4_000;

let database: TestDatabase;
let engine: Engine;
let partner: Partner;
beforeAll(async () => {
  [database, partner] = await Promise.all([createTestDatabase(), startSftpPartner()]);
  engine = openEngine(database.store);
});
afterAll(async () => {
  await engine?.close();
  await partner?.stop();
  await database?.drop();
});

test(
  `files outlive a random schedule of faults, there and back (WAYBILL_SEED=${seed})`,
  async () => {
    const random = new Random(seed);
    const remote = await partner.ground();
    const files = someFiles(random);
    const there = await planPassage(database, engine, { from: await localGround(), to: remote }, {}, files);
    await disturb(there, random);
    const back = await planPassage(database, engine, { from: remote, to: await localGround() }, {}, files);
    await disturb(back, random);
    await Promise.all([there.remove(), back.remove()]);
  },
  testTimeoutMs,
);

/** Copies while things go wrong; then everything has arrived, once, and nothing is left over. */
async function disturb(passage: Passage, random: Random): Promise<void> {
  const { proxy } = partner;
  const journal = path.join(tmpdir(), `waybill-journal-${randomUUID()}`);
  const workers = startWorkers(passage, journal);
  const faults: string[] = [];
  try {
    proxy.shape({ bytesPerSecond });
    const untilMs = performance.now() + troubleMs;
    while (performance.now() < untilMs && !workers.isDone()) {
      await pause(random.between(50, 700));
      faults.push(await random.pick(troubles)(proxy, workers, random));
      proxy.shape({ bytesPerSecond });
    }
    proxy.shape({ bytesPerSecond: lastBytesPerSecond });
    const isFar = () => acknowledgedBytes(readJournal(journal), `/${large.name}`) > farBytes;
    await expect.poll(() => workers.isDone() || isFar(), { timeout: 60_000, interval: 100 }).toBe(true);
    faults.push(`kill with ${acknowledgedBytes(readJournal(journal), `/${large.name}`)} bytes there`);
    workers.kill();
    proxy.heal();
    await workers.done();
    await passage.finish();
    await passage.expectNothingPartial();
    // A process that is stopped in mid-request and killed soon after it goes on may leave a file that nobody could foresee.
    await passage.sweep();
    await passage.expectDelivered();
    expect(faults.length).toBeGreaterThan(2);
    const rows = await passage.deliveries();
    const files = rows.map(
      ({ id, path: name }) => [name, { id, size: passage.files.get(name.slice(1))!.length }] as const,
    );
    const stops = faults.filter((fault) => fault.startsWith('stop')).length;
    expect(expectNoWorkLost(readJournal(journal), new Map(files), stops)).toBeGreaterThan(0);
    const restarted = (await passage.world.events('delivery.restarted')).map(({ deliveryId }) => deliveryId);
    expect(rows.filter(({ id }) => restarted.includes(id))).toEqual([]);
  } catch (error) {
    if (error instanceof Error) error.message += `\nseed ${seed}, after: ${faults.join(', ')}\n${workers.said()}`;
    throw error;
  } finally {
    proxy.heal();
    workers.kill();
    await rm(journal, { force: true });
  }
}

type Trouble = (proxy: TcpProxy, workers: Workers, random: Random) => Promise<string>;

const troubles: Trouble[] = [
  async (proxy) => {
    proxy.reset();
    return 'reset';
  },
  async (proxy, _, random) => {
    const ms = random.between(100, 2_500);
    proxy.stall();
    await pause(ms);
    proxy.resume();
    return `stall for ${ms} ms`;
  },
  async (proxy, _, random) => {
    const bytes = random.between(0, 2_000_000);
    const towards = random.pick(['server', 'client'] as const);
    proxy.cutAfter(bytes, towards);
    await pause(random.between(100, 800));
    proxy.heal();
    return `cut after ${bytes} bytes towards the ${towards}`;
  },
  async (proxy, _, random) => {
    const towards = random.pick(['server', 'client'] as const);
    proxy.halfClose(towards);
    return `half close towards the ${towards}`;
  },
  async (proxy, _, random) => {
    proxy.shape({ bytesPerSecond, sliceBytes: random.between(100, 2_000), latencyMs: random.between(0, 30) });
    await pause(random.between(100, 800));
    return 'slices and latency';
  },
  async (_, workers) => {
    workers.kill();
    return 'kill';
  },
  async (_, workers, random) => {
    const ms = random.between(0, 1_500);
    await workers.stopFor(ms);
    return `stop for ${ms} ms, and another worker meanwhile`;
  },
];

interface Workers {
  isDone(): boolean;
  /** Settles when an attempt has answered and every process has ended. */
  done(): Promise<void>;
  kill(): void;
  /** Stops the newest process for so long; its work is taken over at once. */
  stopFor(ms: number): Promise<void>;
  said(): string;
}

/** What Temporal does, in small: an attempt that ends without an answer is followed by another. */
function startWorkers({ batch }: Passage, journal: string): Workers {
  const alive = new Set<ChildProcess>();
  const failures: string[] = [];
  let attempt = 0;
  let isDone = false;
  let newest: ChildProcess;

  function start(): void {
    const given = { applicationUrl: database.applicationUrl, batch, attempt: ++attempt, stallMs, leaseMs, journal };
    const child = spawn(process.execPath, [attemptProcess, JSON.stringify(given)], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    newest = child;
    alive.add(child);
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (text) => {
        said += text;
      });
    child.on('close', (code) => {
      alive.delete(child);
      if (code === 0) isDone = true;
      else failures.push(`attempt ${given.attempt}: ${said || 'killed'}`);
      if (!isDone && newest === child) start();
    });
  }
  start();
  return {
    isDone: () => isDone,
    async done() {
      while (alive.size > 0) await Promise.all([...alive].map((child) => once(child, 'close')));
      expect(isDone).toBe(true);
    },
    kill: () => {
      for (const child of alive) child.kill('SIGKILL');
    },
    async stopFor(ms) {
      const stopped = newest;
      stopped.kill('SIGSTOP');
      // Temporal takes a worker for dead when it has not heard of it for longer.
      await pause(leaseMs / 4);
      start();
      await pause(ms);
      stopped.kill('SIGCONT');
    },
    said: () => failures.join('\n'),
  };
}

/** Small ones, some of a few MiB, and one that is resumed rather than sent again. */
function someFiles(random: Random): Map<string, Buffer> {
  const sizes = [
    ...Array.from({ length: 20 }, () => random.between(0, 50_000)),
    ...Array.from({ length: 6 }, () => random.between(500_000, 3_000_000)),
  ];
  const files = sizes.map((size, index) => [`${index}.bin`, randomBytes(size)] as const);
  return new Map([...files, [large.name, randomBytes(large.bytes)]]);
}
