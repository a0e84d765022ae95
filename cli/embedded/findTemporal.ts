import { execFile, spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access, mkdir, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { WaybillError } from '../../schema/errors.ts';
import { scriptPath } from '../scriptPath.ts';
import type { CommandEnvironment } from '../settings.ts';
import { packageRoot } from '../version.ts';

/** The Temporal command line (development server and UI) that tools/temporal pins. */
export const temporalVersion = '1.8.2';
const versionTimeoutMs = 20_000;
const downloadTimeoutMs = 180_000;
const buildTimeoutMs = 30 * 60_000;
const progressEveryMs = 15_000;
const maxReasonCharacters = 160;

export interface FoundTemporal {
  binary: string;
  /** Where it was found, for people: `PATH`, `cache`, `built with Go` ... */
  origin: string;
}

type Environment = Pick<CommandEnvironment, 'temporalBinary' | 'searchPath' | 'cacheFolder'>;

/**
 * The Temporal binary: WAYBILL_TEMPORAL_BINARY, PATH, the cache, the SDK's own download, a build with Go, in this order.
 * Says each miss in one line through `onProgress`. Throws unavailable, with what to install, when all miss, and invalid
 * when WAYBILL_TEMPORAL_BINARY is not a Temporal. The signal ends a download or a build; then it throws cancelled.
 */
export async function findTemporal(
  environment: Environment,
  onProgress: (message: string) => void,
  signal?: AbortSignal,
): Promise<FoundTemporal> {
  const installed = await findInstalledTemporal(environment, onProgress);
  if (installed) return installed;
  const cached = cachedTemporal(environment);
  await mkdir(dirname(cached), { recursive: true });
  for (const way of [downloadWithSdk, buildWithGo]) {
    const miss = await way(cached, environment, onProgress, signal);
    if (signal?.aborted) throw new WaybillError('cancelled', 'stopped while getting Temporal');
    if (miss === null) return { binary: cached, origin: way === buildWithGo ? 'built with Go' : "the SDK's download" };
    onProgress(`Temporal: ${miss}`);
  }
  throw new WaybillError(
    'unavailable',
    `no Temporal: install its command line (https://docs.temporal.io/cli) on PATH, or Go 1.26 or later to build it, or name a binary by WAYBILL_TEMPORAL_BINARY, or a cluster by TEMPORAL_ADDRESS`,
  );
}

/** The same without getting anything: for `waybill doctor`. */
export async function findInstalledTemporal(
  environment: Environment,
  onProgress: (message: string) => void,
): Promise<FoundTemporal | undefined> {
  if (environment.temporalBinary !== null) {
    if (await works(environment.temporalBinary)) {
      return { binary: environment.temporalBinary, origin: 'WAYBILL_TEMPORAL_BINARY' };
    }
    throw new WaybillError('invalid', `WAYBILL_TEMPORAL_BINARY is not a Temporal: ${environment.temporalBinary}`);
  }
  const onPath = await findOnPath('temporal', environment.searchPath);
  if (onPath !== undefined && (await works(onPath))) return { binary: onPath, origin: 'PATH' };
  onProgress(`Temporal: ${onPath === undefined ? 'not on PATH' : `${onPath} does not start`}`);
  const cached = cachedTemporal(environment);
  if (await works(cached)) return { binary: cached, origin: 'cache' };
  onProgress(`Temporal: not in the cache (${cached})`);
  return undefined;
}

export function cachedTemporal(environment: Environment): string {
  return join(environment.cacheFolder ?? join(homedir(), '.cache', 'waybill'), `temporal-${temporalVersion}`);
}

async function works(binary: string): Promise<boolean> {
  try {
    await access(binary, constants.X_OK);
    const { stdout } = await promisify(execFile)(binary, ['--version'], { timeout: versionTimeoutMs });
    return stdout.startsWith('temporal version');
  } catch {
    return false;
  }
}

async function findOnPath(name: string, searchPath: string): Promise<string | undefined> {
  for (const folder of searchPath.split(delimiter).filter((part) => part !== '')) {
    const candidate = join(folder, name);
    const found = await access(candidate, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return candidate;
  }
  return undefined;
}

type Way = (
  cached: string,
  environment: Environment,
  onProgress: (message: string) => void,
  signal: AbortSignal | undefined,
) => Promise<string | null>;

// The native client's download has no time limit of its own, so it runs in a process that can be ended.
const downloadWithSdk: Way = async (cached, _environment, onProgress, signal) => {
  onProgress(`Temporal: asking the SDK to download ${temporalVersion}`);
  const folder = `${cached}.download.${process.pid}`;
  await mkdir(folder, { recursive: true });
  try {
    const script = [scriptPath('embedded/downloadTemporal'), folder, temporalVersion];
    const { stdout } = await promisify(execFile)(process.execPath, script, { timeout: downloadTimeoutMs, signal });
    await rename(stdout.trim(), cached);
    return (await works(cached)) ? null : 'what the SDK downloaded does not start';
  } catch (error) {
    const { stderr, killed } = error as { stderr?: string; killed?: boolean };
    const reason = killed ? `no answer in ${downloadTimeoutMs / 1000} s` : lastLine(stderr ?? String(error));
    return `the SDK's download failed: ${reason}`;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};

const buildWithGo: Way = async (cached, environment, onProgress, signal) => {
  const go = (await findOnPath('go', environment.searchPath)) ?? (await findOnPath('go', '/usr/local/go/bin'));
  if (go === undefined) return 'cannot be built: no Go on PATH';
  const module = join(packageRoot(), 'tools', 'temporal');
  const draft = `${cached}.build.${process.pid}`;
  const startedAt = Date.now();
  const elapsed = (): string => `${Math.round((Date.now() - startedAt) / 1000)} s`;
  onProgress(`Temporal: building ${temporalVersion} with Go; this takes minutes and happens once`);
  const ticker = setInterval(() => onProgress(`Temporal: building, ${elapsed()} so far`), progressEveryMs);
  try {
    const failure = await run(
      go,
      ['build', '-trimpath', '-ldflags', '-s -w', '-o', draft, 'github.com/temporalio/cli/cmd/temporal'],
      module,
      signal,
    );
    if (failure !== null) return `the Go build failed after ${elapsed()}: ${failure}`;
    // A rename, so that a build that was ended in the middle is never taken for a binary.
    await rename(draft, cached);
    onProgress(`Temporal: built in ${elapsed()}, kept in ${cached}`);
    return null;
  } finally {
    clearInterval(ticker);
    await rm(draft, { force: true });
  }
};

function run(
  command: string,
  commandArguments: string[],
  folder: string,
  signal: AbortSignal | undefined,
): Promise<string | null> {
  return new Promise((resolve) => {
    const child = spawn(command, commandArguments, {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'pipe'],
      timeout: buildTimeoutMs,
      ...(signal && { signal }),
    });
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => {
      stderr = (stderr + chunk.toString()).slice(-10_000);
    });
    child.on('error', (error) => resolve(error.message));
    child.on('close', (code, signal) =>
      resolve(code === 0 ? null : `${signal ?? `exit code ${code}`}: ${lastLine(stderr)}`),
    );
  });
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1)?.trim().slice(0, maxReasonCharacters) ?? '';
}
