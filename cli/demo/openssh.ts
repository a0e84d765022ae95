import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);
const startTimeoutMs = 10_000;
const portAttempts = 5;
/** `sshd` must be called by its absolute path, and is rarely on PATH. */
const sshdPlaces = [
  '/usr/sbin/sshd',
  '/usr/local/sbin/sshd',
  '/usr/local/bin/sshd',
  '/opt/homebrew/sbin/sshd',
  '/sbin/sshd',
];

export interface OpensshServer {
  host: string;
  port: number;
  username: string;
  /** The private half of the one key that may sign in, in OpenSSH's text format. */
  privateKey: string;
  hostKeyFingerprint: string;
  pid: number;
  /** Ends the listener and every session it opened; removes the keys. Safe twice. */
  stop(): Promise<void>;
}

/** Where this machine has OpenSSH's server, or undefined. */
export function findSshd(): string | undefined {
  return sshdPlaces.find((place) => existsSync(place));
}

/**
 * Starts OpenSSH's `sshd` on 127.0.0.1 and a free port with its own keys, signed in to by the user of this process.
 * Throws when the machine has no sshd, or with its log when it does not come up.
 */
export async function startOpenssh(): Promise<OpensshServer> {
  const sshd = findSshd();
  if (sshd === undefined) throw new Error('this machine has no sshd; install openssh-server');
  const folder = await mkdtemp(join(tmpdir(), 'waybill-sshd-'));
  try {
    await makeKeys(folder);
    // As root sshd wants its privilege separation folder; nobody else may make it, and nobody else needs it.
    if (process.getuid?.() === 0) await mkdir('/run/sshd', { recursive: true, mode: 0o755 });
    const { port, child } = await startOnFreePort(sshd, folder);
    let stopped: Promise<void> | undefined;
    return {
      host: '127.0.0.1',
      port,
      pid: child.pid!,
      username: userInfo().username,
      privateKey: await readFile(join(folder, 'user_key'), 'utf8'),
      hostKeyFingerprint: await fingerprintOf(join(folder, 'host_key.pub')),
      stop: () => {
        stopped ??= stopTree(child).then(() => rm(folder, { recursive: true, force: true }));
        return stopped;
      },
    };
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

async function makeKeys(folder: string): Promise<void> {
  for (const name of ['host_key', 'user_key']) {
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', `waybill ${name}`, '-f', join(folder, name)]);
  }
  await writeFile(join(folder, 'authorized_keys'), await readFile(join(folder, 'user_key.pub')), { mode: 0o600 });
}

async function fingerprintOf(publicKey: string): Promise<string> {
  const { stdout } = await run('ssh-keygen', ['-l', '-E', 'sha256', '-f', publicKey]);
  return stdout.split(' ')[1]!;
}

/** sshd takes no port 0: a port that was free a moment ago is tried, and another one when somebody was faster. */
async function startOnFreePort(sshd: string, folder: string): Promise<{ port: number; child: ChildProcess }> {
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    const child = await startSshdOn(port, sshd, folder).catch((error: Error) => {
      if (attempt >= portAttempts || !error.message.includes('Address already in use')) throw error;
      return undefined;
    });
    if (child !== undefined) return { port, child };
  }
}

async function startSshdOn(port: number, sshd: string, folder: string): Promise<ChildProcess> {
  const config = join(folder, 'sshd_config');
  const log = join(folder, 'sshd.log');
  await writeFile(config, configuration(port, folder));
  // Newer servers shut out an address after failed sign-ins, and older ones refuse the option that switches this off.
  const unpunished = ['-o', 'PerSourcePenalties=no'];
  const extra = await run(sshd, ['-t', '-f', config, ...unpunished]).then(
    () => unpunished,
    () => [],
  );
  const command = [...endsWithUs(), sshd, '-D', '-f', config, '-E', log, ...extra];
  const child = spawn(command[0]!, command.slice(1), { stdio: 'ignore' });
  await new Promise<void>((resolve, reject) => child.once('spawn', resolve).once('error', reject));
  const deadlineAt = Date.now() + startTimeoutMs;
  while (!(await greets(port))) {
    if (hasEnded(child) || Date.now() > deadlineAt) {
      await stopTree(child);
      throw new Error(`sshd did not start: ${(await readFile(log, 'utf8').catch(() => '')).trim().slice(-500)}`);
    }
    await delay(20);
  }
  return child;
}

function configuration(port: number, folder: string): string {
  return [
    `Port ${port}`,
    'ListenAddress 127.0.0.1',
    `HostKey ${join(folder, 'host_key')}`,
    `AuthorizedKeysFile ${join(folder, 'authorized_keys')}`,
    `PidFile ${join(folder, 'sshd.pid')}`,
    'PasswordAuthentication no',
    'KbdInteractiveAuthentication no',
    'PermitRootLogin prohibit-password',
    'UsePAM no',
    'StrictModes no',
    'MaxStartups 200',
    'MaxSessions 200',
    'Subsystem sftp internal-sftp',
    '',
  ].join('\n');
}

/** Whether an SSH server says hello there. */
function greets(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    const end = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(1000, () => end(false));
    socket.once('error', () => end(false));
    socket.once('data', (data) => end(data.toString('latin1').startsWith('SSH-')));
  });
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** Sessions of sshd are in process groups of their own: each is found by its parent and ended by its pid. */
async function stopTree(child: ChildProcess): Promise<void> {
  // A pid that ended may by now be somebody else's.
  if (hasEnded(child)) return;
  const { stdout } = await run('ps', ['-axo', 'pid=,ppid=']);
  const pairs = stdout
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number) as [number, number]);
  const tree = [child.pid!];
  for (const parent of tree) tree.push(...pairs.filter(([, parentOf]) => parentOf === parent).map(([pid]) => pid));
  const ended = new Promise((resolve) => child.once('exit', resolve));
  for (const pid of tree) terminate(pid);
  if (!hasEnded(child)) await ended;
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

function terminate(pid: number): void {
  try {
    process.kill(pid, 'SIGTERM');
  } catch {
    // Already gone.
  }
}

/** On Linux the kernel ends the server when this process is gone, also after a kill -9. */
function endsWithUs(): string[] {
  const setpriv = '/usr/bin/setpriv';
  return existsSync(setpriv) ? [setpriv, '--pdeathsig', 'TERM'] : [];
}
