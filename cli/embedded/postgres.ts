import { execFile, spawn } from 'node:child_process';
import { chmodSync, chownSync, closeSync, openSync } from 'node:fs';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { WaybillError } from '../../schema/errors.ts';
import { assertPortFree, freePorts } from './ports.ts';
import { type PostgresHome, preparePostgresHome, readPostgresHome } from './postgresHome.ts';
import { type Postmaster, readPostmaster, removeReusedPid } from './postmaster.ts';

const host = '127.0.0.1';
const databaseName = 'waybill';
const roleNames = { owner: 'waybill_owner', application: 'waybill_app', system: 'waybill_system' } as const;
const startTimeoutMs = 60_000;
const fastStopTimeoutMs = 30_000;
const immediateStopTimeoutMs = 10_000;
const pollMs = 20;
const logTailBytes = 2_000;
/** A free port can be taken by somebody else between our look and PostgreSQL's bind. */
const freePortAttempts = 5;

/** What differs from PostgreSQL's own defaults: loopback only, no socket file, room for an API and workers on one machine. */
const settings: Record<string, string> = {
  listen_addresses: host,
  unix_socket_directories: '',
  max_connections: '200',
  fsync: 'on',
  jit: 'off',
  max_wal_size: '1GB',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_min_messages: 'warning',
};

export interface PostgresOptions {
  /** The installation's state; PostgreSQL's part of it is remembered in `postgres.json`, readable by the owner only. */
  stateFolder: string;
  /** 0 takes a free one. */
  port: number;
  onProgress: (message: string) => void;
}

interface DatabaseRole {
  name: string;
  password: string;
}

export interface EmbeddedPostgres {
  port: number;
  ownerUrl: string;
  applicationUrl: string;
  systemUrl: string;
  /** The roles of the two URLs: `prisma/migrate.ts` creates them. */
  applicationRole: DatabaseRole;
  systemRole: DatabaseRole;
  pid: number;
  /** Ends it and waits until it is gone. Safe twice. Throws timeout when it does not go. */
  stop(): Promise<void>;
}

/**
 * Starts the PostgreSQL of this state, or takes over the one that a killed parent left behind. It runs detached, so that
 * it outlives a parent that dies and can be stopped in our own order.
 *
 * Throws conflict when the port is taken, unsupported when this platform has no binaries, unavailable when PostgreSQL
 * does not come up (with the end of its log), not-found when the remembered data folder has disappeared.
 */
export async function startPostgres(options: PostgresOptions): Promise<EmbeddedPostgres> {
  const home = await preparePostgresHome(options.stateFolder, options.onProgress);
  await initialise(home, options.onProgress);
  const running = await takeOver(home, options);
  if (running) return describe(home, running);
  options.onProgress('starting PostgreSQL');
  return describe(home, await launch(home, options.port));
}

/** Stops the PostgreSQL of this state when one runs, and removes its data wherever it was put. For throw-away states. */
export async function removePostgres(stateFolder: string): Promise<void> {
  const home = await readPostgresHome(stateFolder);
  if (!home) return;
  const running = await readPostmaster(home.dataFolder);
  if (running) await stop(home, running);
  await rm(home.folder, { recursive: true, force: true });
  await rm(home.stateFile, { force: true });
}

/** A cluster appears under its final name only when it is complete: an interrupted start leaves nothing half-made. */
async function initialise(home: PostgresHome, onProgress: (message: string) => void): Promise<void> {
  if (home.initialised) return;
  onProgress('creating the PostgreSQL database');
  const draft = `${home.dataFolder}.new`;
  const passwordFile = path.join(home.folder, 'owner-password');
  await rm(draft, { recursive: true, force: true });
  await writeFile(passwordFile, home.passwords.owner, { mode: 0o600 });
  if (home.account) chownSync(passwordFile, home.account.uid, home.account.gid);
  try {
    await runBinary(home, 'initdb', [
      ...['-D', draft, '-U', roleNames.owner, `--pwfile=${passwordFile}`],
      ...['-A', 'scram-sha-256', '--locale=C', '-E', 'UTF8', '--no-instructions'],
    ]);
    await runBinary(home, 'postgres', ['--single', '-D', draft, 'postgres'], `create database ${databaseName}\n`);
  } finally {
    await rm(passwordFile, { force: true });
  }
  await rename(draft, home.dataFolder);
  await home.rememberInitialised();
}

/** The PostgreSQL that a killed parent left on our data: used when it answers on the wanted port, else stopped. */
async function takeOver(home: PostgresHome, options: PostgresOptions): Promise<Postmaster | undefined> {
  const running = await readPostmaster(home.dataFolder);
  if (!running) return undefined;
  if (running.ready && (options.port === 0 || options.port === running.port)) {
    options.onProgress(`PostgreSQL is already running (pid ${running.pid})`);
    return running;
  }
  options.onProgress(`stopping the PostgreSQL that an earlier start left behind (pid ${running.pid})`);
  await stop(home, running);
  return undefined;
}

async function launch(home: PostgresHome, port: number): Promise<Postmaster> {
  await removeReusedPid(home.dataFolder);
  for (let attempt = 1; ; attempt += 1) {
    const chosen = port === 0 ? (await freePorts(host, 1))[0]! : port;
    if (!(await isFree(chosen))) {
      throw new WaybillError('conflict', `port ${chosen} on ${host}, wanted for PostgreSQL, is taken`, {
        port: chosen,
      });
    }
    try {
      return await spawnServer(home, chosen);
    } catch (error) {
      if (port !== 0 || attempt >= freePortAttempts || (await isFree(chosen))) throw error;
    }
  }
}

async function spawnServer(home: PostgresHome, port: number): Promise<Postmaster> {
  const logFile = path.join(home.folder, 'postgres.log');
  const log = openSync(logFile, 'a', 0o600);
  chmodSync(logFile, 0o600);
  const flags = Object.entries({ ...settings, port: String(port) }).flatMap(([name, value]) => [
    '-c',
    `${name}=${value}`,
  ]);
  const child = spawn(path.join(home.binaries, 'bin', 'postgres'), ['-D', home.dataFolder, ...flags], {
    ...home.account,
    cwd: home.folder,
    env: environmentOf(home),
    detached: true,
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  let exit: string | undefined;
  child.once('error', (error) => {
    exit = error.message;
  });
  child.once('exit', (code, signal) => {
    exit ??= `ended with ${signal ?? `code ${code}`}`;
  });
  child.unref();
  const deadline = Date.now() + startTimeoutMs;
  while (exit === undefined && Date.now() < deadline) {
    const running = await readPostmaster(home.dataFolder);
    if (running?.ready && running.pid === child.pid) return running;
    await delay(pollMs);
  }
  if (exit === undefined) child.kill('SIGQUIT');
  throw new WaybillError(
    'unavailable',
    `PostgreSQL did not start: ${exit ?? 'no answer in time'}\n${await tailOf(logFile)}`,
    {
      logFile,
    },
  );
}

/** The URL of the system role at the database of this state, whose application role has the given one. Null when it has no database. */
export async function readSystemUrl(stateFolder: string, applicationUrl: string): Promise<string | null> {
  const home = await readPostgresHome(stateFolder);
  if (home === undefined) return null;
  const url = new URL(applicationUrl);
  [url.username, url.password] = [roleNames.system, home.passwords.system];
  return url.href;
}

function describe(home: PostgresHome, running: Postmaster): EmbeddedPostgres {
  const url = (role: keyof typeof roleNames): string =>
    `postgresql://${roleNames[role]}:${home.passwords[role]}@${host}:${running.port}/${databaseName}`;
  return {
    port: running.port,
    pid: running.pid,
    ownerUrl: url('owner'),
    applicationUrl: url('application'),
    systemUrl: url('system'),
    applicationRole: { name: roleNames.application, password: home.passwords.application },
    systemRole: { name: roleNames.system, password: home.passwords.system },
    stop: () => stop(home, running),
  };
}

/** SIGINT is PostgreSQL's fast shutdown; SIGQUIT, the immediate one, is safe too: the next start replays the log. */
async function stop(home: PostgresHome, running: Postmaster): Promise<void> {
  const steps = [
    { signal: 'SIGINT', timeoutMs: fastStopTimeoutMs },
    { signal: 'SIGQUIT', timeoutMs: immediateStopTimeoutMs },
  ] as const;
  for (const { signal, timeoutMs } of steps) {
    if (!(await isSame(home, running))) return;
    process.kill(running.pid, signal);
    const deadline = Date.now() + timeoutMs;
    while (Date.now() < deadline) {
      if (!(await isSame(home, running))) return;
      await delay(pollMs);
    }
  }
  throw new WaybillError('timeout', `PostgreSQL (pid ${running.pid}) does not stop`, { pid: running.pid });
}

async function isSame(home: PostgresHome, running: Postmaster): Promise<boolean> {
  return (await readPostmaster(home.dataFolder))?.pid === running.pid;
}

async function runBinary(home: PostgresHome, name: 'initdb' | 'postgres', flags: string[], input = ''): Promise<void> {
  const run = promisify(execFile)(path.join(home.binaries, 'bin', name), flags, {
    ...home.account,
    cwd: home.folder,
    env: environmentOf(home),
  });
  run.child.stdin?.end(input);
  await run.catch((cause: Error & { stderr?: string }) => {
    throw new WaybillError('unavailable', `${name} failed: ${(cause.stderr ?? cause.message).slice(-logTailBytes)}`, {
      cause,
    });
  });
}

/** Nothing of our own environment: a PGPORT or PGDATA of the user's shell must not reach it. */
function environmentOf(home: PostgresHome): NodeJS.ProcessEnv {
  const libraries = path.join(home.binaries, 'lib');
  return { LC_ALL: 'C', TZ: 'UTC', LD_LIBRARY_PATH: libraries, DYLD_LIBRARY_PATH: libraries };
}

function isFree(port: number): Promise<boolean> {
  return assertPortFree(host, port, 'PostgreSQL').then(
    () => true,
    () => false,
  );
}

async function tailOf(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return text.slice(-logTailBytes).trim();
}
