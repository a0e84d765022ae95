import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const build = fileURLToPath(new URL('../tools/build.ts', import.meta.url));
const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
/** What docs/performance.md says to a worker that is to take little memory and only moves bytes. */
export const littleMemory = { MALLOC_ARENA_MAX: '2', NODE_OPTIONS: '--max-semi-space-size=2 --max-old-space-size=256' };
const kibibytesOfMebibyte = 1024;
/** Linux counts the time of threads in hundredths of a second. */
const ticksOfSecond = 100;

/** Makes the npm package, whose worker is measured: the clone's own has the compiler of TypeScript in its memory. */
export async function buildPackage(): Promise<void> {
  await run(process.execPath, [build]);
}

/** `waybill worker` of the npm package, as in production. */
export interface WorkerProcess {
  readonly pid: number;
  /** The most memory that it ever had resident. */
  peakMiB(): Promise<number>;
  /** Seconds of CPU so far: of JavaScript's own thread, and of all others together. null where the system does not say. */
  cpuSeconds(): Promise<{ main: number; others: number } | null>;
  /** Rejects when it ends before it is told to. */
  readonly lost: Promise<never>;
  stop(): Promise<void>;
}

/** Settles when it polls. Throws with what it said when it does not come up. */
export async function startWorkerProcess(
  environment: Record<string, string>,
  profileFolder: string | null,
  options: readonly string[] = [],
): Promise<WorkerProcess> {
  const profiling = profileFolder === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`];
  const child = spawn(process.execPath, [...profiling, main, 'worker', ...options], {
    env: { ...process.env, ...environment },
    // The channel ends it with this process, however that ends.
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  let said = '';
  child.stderr!.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-20_000);
  });
  const ended = once(child, 'close');
  await ready(child, ended, () => said);
  const lost = Promise.withResolvers<never>();
  lost.promise.catch(() => undefined);
  void ended.then(() => lost.reject(new Error(`the worker has ended: ${said}`)));
  return {
    pid: child.pid!,
    peakMiB: () => peakMiB(child.pid!),
    cpuSeconds: () => cpuSeconds(child.pid!),
    lost: lost.promise,
    async stop() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
      await ended;
    },
  };
}

/** It tells whoever started it that it is ready, as it tells `waybill dev`. */
async function ready(child: ChildProcess, ended: Promise<unknown>, said: () => string): Promise<void> {
  const told = new Promise<void>((resolve, reject) => {
    child.on('message', (message: { ready?: unknown; failed?: { message: string } }) => {
      if (message.ready !== undefined) resolve();
      else if (message.failed !== undefined) reject(new Error(message.failed.message));
    });
  });
  await Promise.race([
    told,
    ended.then(() => {
      throw new Error(`the worker did not start: ${said()}`);
    }),
  ]);
}

async function peakMiB(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  const peak = /^VmHWM:\s+(\d+) kB/m.exec(status)?.[1];
  // Without /proc the memory of this moment has to do.
  const kibibytes = peak ?? (await run('ps', ['-o', 'rss=', '-p', `${pid}`])).stdout.trim();
  return Number(kibibytes) / kibibytesOfMebibyte;
}

async function cpuSeconds(pid: number): Promise<{ main: number; others: number } | null> {
  const threads = await readdir(`/proc/${pid}/task`).catch(() => []);
  if (threads.length === 0) return null;
  const seconds = { main: 0, others: 0 };
  for (const thread of threads) {
    const text = await readFile(`/proc/${pid}/task/${thread}/stat`, 'utf8').catch(() => '');
    // The name, in parentheses, may hold spaces.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    if (text !== '')
      seconds[Number(thread) === pid ? 'main' : 'others'] += (Number(fields[11]) + Number(fields[12])) / ticksOfSecond;
  }
  return seconds;
}
