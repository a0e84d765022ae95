import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Connection } from '@temporalio/client';
import { WaybillError } from '../../schema/errors.ts';
import { searchAttributes } from '../../schema/workflow.ts';
import { freePorts } from './ports.ts';
import { isRunning, processCommand } from './processes.ts';

const startTimeoutMs = 60_000;
const stopTimeoutMs = 15_000;
const pollMs = 50;
const logTailBytes = 2_000;
// A port found free can be taken by somebody else before the server binds it.
const freePortAttempts = 3;
/** Measured: with the default of 20 polls a second per shard every task is quantised to 50 ms. */
const dynamicConfiguration = [
  'history.transferProcessorMaxPollRPS=200',
  'history.timerProcessorMaxPollRPS=200',
  'history.visibilityProcessorMaxPollRPS=50',
  'matching.enableFairness=true',
];

export interface TemporalOptions {
  binary: string;
  /** Holds dev.db (the runs survive a restart), temporal.log and temporal.pid. */
  folder: string;
  host: string;
  /** 0 takes a free one. */
  port: number;
  /** Port of the UI; 0 takes a free one. */
  uiPort: number;
  /** Who decodes payloads for the UI: the API, and the file that holds its token. Null: the UI shows them encrypted. */
  codec: { apiUrl: string; tokenFile: string } | null;
}

export interface EmbeddedTemporal {
  /** host:port of gRPC */
  address: string;
  uiUrl: string;
  pid: number;
  /** Settles when the server has ended, whoever ended it. */
  ended: Promise<void>;
  stop(): Promise<void>;
}

/**
 * Starts Temporal's development server with its UI and waits until its gRPC answers. A server that a killed parent left on
 * the same folder is stopped first: two of them would corrupt the database. Throws unavailable with the end of its log.
 */
export async function startTemporal(options: TemporalOptions): Promise<EmbeddedTemporal> {
  await mkdir(options.folder, { recursive: true });
  // Temporal makes its files readable for everybody.
  await chmod(options.folder, 0o700);
  await stopLeftBehind(options.folder);
  for (let attempt = 1; ; attempt++) {
    try {
      return await launch(options);
    } catch (error) {
      if (attempt >= freePortAttempts || (options.port !== 0 && options.uiPort !== 0)) throw error;
    }
  }
}

async function launch(options: TemporalOptions): Promise<EmbeddedTemporal> {
  const { host, folder } = options;
  const [anyPort, anyUiPort, httpPort, metricsPort] = (await freePorts(host, 4)) as [number, number, number, number];
  const port = options.port || anyPort;
  const uiPort = options.uiPort || anyUiPort;
  await writeSettings(options);
  const logFile = join(folder, 'temporal.log');
  const log = openSync(logFile, 'a', 0o600);
  const child = spawn(options.binary, flagsFor(options, { port, uiPort, httpPort, metricsPort }), {
    cwd: folder,
    env: { HOME: folder, TZ: 'UTC' },
    detached: true,
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  if (child.pid !== undefined) await writeFile(pidFile(folder), String(child.pid), { mode: 0o600 });
  const address = `${host}:${port}`;
  await answers(child, ended, address, logFile);
  return {
    address,
    uiUrl: `http://${host}:${uiPort}`,
    pid: child.pid!,
    ended,
    async stop() {
      await stopProcess(child.pid!, ended);
      await rm(pidFile(folder), { force: true });
    },
  };
}

function flagsFor(
  { folder, host }: TemporalOptions,
  ports: { port: number; uiPort: number; httpPort: number; metricsPort: number },
): string[] {
  return [
    ...['server', 'start-dev', '--ip', host, '--port', String(ports.port), '--ui-port', String(ports.uiPort)],
    ...['--http-port', String(ports.httpPort), '--metrics-port', String(ports.metricsPort)],
    // Without these two, 50 concurrent runs end in time-outs.
    ...['--db-filename', join(folder, 'dev.db')],
    ...['--sqlite-pragma', 'journal_mode=wal', '--sqlite-pragma', 'synchronous=normal'],
    ...dynamicConfiguration.flatMap((setting) => ['--dynamic-config-value', setting]),
    ...Object.entries(searchAttributes).flatMap(([name, type]) => ['--search-attribute', `${name}=${type}`]),
    ...['--ui-disable-news-fetch', '--log-level', 'warn', '--log-format', 'json'],
  ];
}

/**
 * Every account of the machine can read the arguments of a process: the flag with the token in it comes from the file in
 * which Temporal's command line looks for flags. One that looks no more starts all the same, with a UI that shows ciphertext.
 */
async function writeSettings({ folder, codec }: TemporalOptions): Promise<void> {
  const flags: Record<string, string> = {};
  if (codec !== null) {
    const token = (await readFile(codec.tokenFile, 'utf8')).trim();
    flags['ui-codec-endpoint'] = `${codec.apiUrl}/codec/${token}`;
  }
  await mkdir(dirname(settingsFile(folder)), { recursive: true });
  await rm(settingsFile(folder), { force: true });
  // JSON is YAML.
  await writeFile(settingsFile(folder), `${JSON.stringify({ env: { default: flags } })}\n`, { mode: 0o600 });
}

/** The namespace answers last, so a workflow can be started when it does. */
async function answers(child: ChildProcess, ended: Promise<void>, address: string, logFile: string): Promise<void> {
  let gone = false;
  void ended.then(() => {
    gone = true;
  });
  const deadline = Date.now() + startTimeoutMs;
  while (!gone && Date.now() < deadline) {
    if (await isTemporalUp(address)) return;
    await delay(pollMs);
  }
  if (!gone) child.kill('SIGKILL');
  const tail = (await readFile(logFile, 'utf8').catch(() => '')).slice(-logTailBytes).trim();
  throw new WaybillError(
    'unavailable',
    `Temporal did not start${gone ? '' : ` in ${startTimeoutMs / 1000} s`}:\n${tail}`,
  );
}

/** Whether the default namespace can be described at that address within a second. */
export async function isTemporalUp(address: string, namespace = 'default'): Promise<boolean> {
  const connection = Connection.lazy({ address });
  try {
    await connection.withDeadline(Date.now() + 1000, () => connection.workflowService.describeNamespace({ namespace }));
    return true;
  } catch {
    return false;
  } finally {
    await connection.close();
  }
}

async function stopLeftBehind(folder: string): Promise<void> {
  const pid = Number(await readFile(pidFile(folder), 'utf8').catch(() => ''));
  // The number may have gone to another process since; only one that serves this very database is ours.
  if (pid > 0 && (await processCommand(pid)).includes(join(folder, 'dev.db'))) {
    const deadline = Date.now() + stopTimeoutMs;
    process.kill(pid, 'SIGTERM');
    while (isRunning(pid) && Date.now() < deadline) await delay(pollMs);
    if (isRunning(pid)) process.kill(pid, 'SIGKILL');
    while (isRunning(pid)) await delay(pollMs);
  }
  await rm(pidFile(folder), { force: true });
}

async function stopProcess(pid: number, ended: Promise<void>): Promise<void> {
  if (isRunning(pid)) process.kill(pid, 'SIGTERM');
  const timer = setTimeout(() => isRunning(pid) && process.kill(pid, 'SIGKILL'), stopTimeoutMs);
  await ended;
  clearTimeout(timer);
}

/** Below `HOME`, which is that folder. */
function settingsFile(folder: string): string {
  return join(folder, '.config/temporalio/temporal.yaml');
}

function pidFile(folder: string): string {
  return join(folder, 'temporal.pid');
}
