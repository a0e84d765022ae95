/**
 * npm run bench -- [--only NAME,...] [--quick] [--json] [--profile FOLDER]
 *
 * Measures ours beside a peer on this machine, in the same minutes, and prints one line for each comparison. Each group of
 * benchmarks has a process of its own, so that its memory is its own too.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { alone, type Group, type Measurement } from './benchmark.ts';
import { foreachScale } from './foreach-scale.ts';
import { paddingOracle } from './paddingOracle.ts';
import { sftp } from './sftp.ts';
import { signIn } from './signIn.ts';
import { steps } from './steps.ts';
import { transfers } from './transfers/group.ts';
import { validate } from './validate.ts';

const groups: readonly Group[] = [
  transfers,
  alone(sftp),
  alone(steps),
  alone(foreachScale),
  alone(validate),
  alone(paddingOracle),
  signIn,
];

type Line = Required<Measurement> & { ratio: number };

const { values: options } = parseArgs({
  options: {
    only: { type: 'string' },
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    profile: { type: 'string' },
    help: { type: 'boolean', default: false },
    /** Said by this program to itself: measures one group, and tells its lines to the process that started it. */
    apart: { type: 'boolean', default: false },
  },
});
const interruptedCode = 130;
const endSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const say = (message: string): void => void process.stderr.write(`${message}\n`);
let told: Promise<unknown> = Promise.resolve();
const code = await main();
await told;
// What was interrupted may still hold timers and sockets.
process.exit(code);

async function main(): Promise<number> {
  const all = groups.flatMap(({ benchmarks }) => benchmarks);
  if (options.help) {
    say('npm run bench -- [--only NAME,...] [--quick] [--json] [--profile FOLDER]');
    for (const { name, summary } of all) say(`  ${name.padEnd(16)} ${summary}`);
    return 0;
  }
  const names = all.map(({ name }) => name);
  const wanted = options.only?.split(',') ?? names;
  const unknown = wanted.find((name) => !names.includes(name));
  if (unknown !== undefined) {
    say(`there is no benchmark ${unknown}; there are ${names.join(', ')}`);
    return 2;
  }
  const chosen = groups
    .map((group) => ({
      group,
      names: group.benchmarks.map(({ name }) => name).filter((name) => wanted.includes(name)),
    }))
    .filter((choice) => choice.names.length > 0);
  if (!options.json && !options.apart) print(['name', 'ours', 'peer', 'unit', 'ratio', 'rss MiB']);
  if (options.apart) return measure(chosen[0]!.group, chosen[0]!.names);
  let worst = 0;
  for (const choice of chosen) {
    const code = await measureApart(choice.names);
    if (code === interruptedCode) return code;
    worst = Math.max(worst, code);
  }
  return worst;
}

async function measure(group: Group, names: readonly string[]): Promise<number> {
  const label = group.benchmarks.length === 1 ? names[0] : 'bench';
  const interrupted = interruption();
  try {
    await group.measure(new Set(names), {
      quick: options.quick,
      profileFolder: options.profile ?? null,
      say: (message) => say(`${label}: ${message}`),
      report: (measurement) => show(asLine(measurement)),
      interrupted: interrupted.promise,
    });
    return 0;
  } catch (error) {
    say(`${label}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    return interrupted.happened() ? interruptedCode : 1;
  }
}

/** Rejects at the first signal that tells us to end, and keeps it from ending us at once. */
function interruption(): { promise: Promise<never>; happened(): boolean } {
  const { promise, reject } = Promise.withResolvers<never>();
  let signalled = false;
  // Told while the servers start, nobody listens yet.
  promise.catch(() => undefined);
  const interrupt = (by: string) => {
    signalled = true;
    // The work goes on while its servers go away; what it throws then must not keep them from being stopped.
    process.on('uncaughtException', () => undefined);
    reject(new Error(`interrupted by ${by}`));
  };
  for (const signal of endSignals) process.on(signal, interrupt);
  if (options.apart) process.on('disconnect', () => interrupt('the end of the one who asked'));
  return { promise, happened: () => signalled };
}

/** The same in a process of its own, whose lines are shown as ours: what libraries say on its standard output is no line. */
async function measureApart(names: readonly string[]): Promise<number> {
  const words = ['--only', names.join(','), '--apart'];
  if (options.quick) words.push('--quick');
  if (options.profile !== undefined) words.push('--profile', options.profile);
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), ...words], {
    stdio: ['ignore', process.stderr, 'inherit', 'ipc'],
  });
  child.on('message', (line: Line) => show(line));
  for (const signal of endSignals) process.once(signal, () => child.kill(signal));
  return new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? 1));
  });
}

function asLine({ name, ours, peer, unit, rssMiB = process.memoryUsage.rss() / 2 ** 20 }: Measurement): Line {
  const rounded = (value: number) => Number(value.toPrecision(4));
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
  if (options.apart) told = Promise.all([told, new Promise((resolve) => process.send!(line, resolve))]);
  else if (options.json) process.stdout.write(`${JSON.stringify(line)}\n`);
  else print([line.name, `${line.ours}`, `${line.peer}`, line.unit, line.ratio.toFixed(2), `${line.rssMiB}`]);
}

function print([name, ours, peer, unit, ratio, rss]: string[]): void {
  const numbers = [ours!.padStart(9), peer!.padStart(9), ` ${unit!.padEnd(26)}`, ratio!.padStart(6), rss!.padStart(9)];
  process.stdout.write(`${name!.padEnd(26)}${numbers.join('')}\n`);
}
