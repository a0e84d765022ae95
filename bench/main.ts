/**
 * npm run bench -- [--only NAME] [--quick] [--json]
 *
 * Measures ours beside a peer on this machine, in the same minutes, and prints one line for each comparison. Each benchmark
 * has a process of its own, so that its memory is its own too.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Benchmark, Measurement } from './benchmark.ts';
import { foreachScale } from './foreach-scale.ts';
import { localCopy } from './local-copy.ts';
import { sftp } from './sftp.ts';
import { steps } from './steps.ts';
import { validate } from './validate.ts';

const benchmarks: readonly Benchmark[] = [localCopy, sftp, steps, foreachScale, validate];

type Line = Measurement & { ratio: number; rssMiB: number };

const { values: options } = parseArgs({
  options: {
    only: { type: 'string' },
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
const endSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const say = (message: string): void => void process.stderr.write(`${message}\n`);
// What was interrupted may still hold timers and sockets.
process.exit(await main());

async function main(): Promise<number> {
  if (options.help) {
    say('npm run bench -- [--only NAME] [--quick] [--json]');
    for (const { name, summary } of benchmarks) say(`  ${name.padEnd(14)} ${summary}`);
    return 0;
  }
  const chosen = benchmarks.filter(({ name }) => options.only === undefined || name === options.only);
  if (chosen.length === 0) {
    say(`there is no benchmark ${options.only}; there are ${benchmarks.map(({ name }) => name).join(', ')}`);
    return 2;
  }
  if (!options.json) print(['name', 'ours', 'peer', 'unit', 'ratio', 'rss MiB']);
  if (chosen.length === 1) return measure(chosen[0]!);
  for (const { name } of chosen) {
    const code = await measureApart(name);
    if (code !== 0) return code;
  }
  return 0;
}

async function measure({ name, measure: take }: Benchmark): Promise<number> {
  try {
    const terms = { quick: options.quick, say: (message: string) => say(`${name}: ${message}`) };
    const measurements = await take({ ...terms, interrupted: interruption() });
    for (const measurement of measurements) show(asLine(measurement));
    return 0;
  } catch (error) {
    say(`${name}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    return 1;
  }
}

/** Rejects at the first signal that tells us to end, and keeps it from ending us at once. */
function interruption(): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  // Told while the servers start, nobody listens yet.
  promise.catch(() => undefined);
  for (const signal of endSignals)
    process.on(signal, () => {
      // The work goes on while its servers go away; what it throws then must not keep them from being stopped.
      process.on('uncaughtException', () => undefined);
      reject(new Error(`interrupted by ${signal}`));
    });
  return promise;
}

/** The same in a process of its own, whose lines are shown as ours. */
async function measureApart(name: string): Promise<number> {
  const words = ['--only', name, '--json', ...(options.quick ? ['--quick'] : [])];
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), ...words], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for (const signal of endSignals) process.once(signal, () => child.kill(signal));
  const ended = new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? 1));
  });
  for await (const line of createInterface({ input: child.stdout })) show(JSON.parse(line) as Line);
  return ended;
}

function asLine({ name, ours, peer, unit }: Measurement): Line {
  const rounded = (value: number) => Number(value.toPrecision(4));
  const rssMiB = process.memoryUsage.rss() / 2 ** 20;
  return {
    name,
    ours: rounded(ours),
    peer: rounded(peer),
    unit,
    ratio: Number((ours / peer).toFixed(3)),
    rssMiB: Math.round(rssMiB),
  };
}

function show(line: Line): void {
  if (options.json) process.stdout.write(`${JSON.stringify(line)}\n`);
  else print([line.name, `${line.ours}`, `${line.peer}`, line.unit, line.ratio.toFixed(2), `${line.rssMiB}`]);
}

function print([name, ours, peer, unit, ratio, rss]: string[]): void {
  const numbers = [ours!.padStart(9), peer!.padStart(9), ` ${unit!.padEnd(26)}`, ratio!.padStart(6), rss!.padStart(9)];
  process.stdout.write(`${name!.padEnd(26)}${numbers.join('')}\n`);
}
