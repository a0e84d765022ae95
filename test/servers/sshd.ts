import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import { findSshd, startOpenssh } from '../../cli/demo/openssh.ts';

const run = promisify(execFile);
const installTimeoutMs = 300_000;

export interface Sshd {
  host: string;
  port: number;
  username: string;
  /** OpenSSH private key text, for the secret `privateKey`. */
  privateKey: string;
  hostKeyFingerprint: string;
  /** For the endpoint's config. */
  hostKeys: string[];
  /** For the endpoint's config: there is no chroot, so paths on the server are those of this machine. */
  root: string;
  pid: number;
  /** Ends the server and its sessions. Safe twice. */
  stop(): Promise<void>;
}

/** A real OpenSSH server on 127.0.0.1 with its own keys, that serves the folder `root`. Installs it first where it may. */
export async function startSshd({ root }: { root: string }): Promise<Sshd> {
  await ensureSshd();
  const server = await startOpenssh();
  return { ...server, hostKeys: [server.hostKeyFingerprint], root };
}

/** Makes sure the machine has OpenSSH's server: with apt when root on Debian, else throws one line that says what to install. */
export async function ensureSshd(): Promise<void> {
  if (findSshd() !== undefined) return;
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) {
    throw new Error(
      'the SFTP tests need OpenSSH: install openssh-server (Debian: sudo apt-get install openssh-server)',
    );
  }
  // RUNLEVEL=1 keeps the package from starting a system-wide server.
  const options = {
    timeout: installTimeoutMs,
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' },
  };
  const install = () => run('apt-get', ['install', '-y', '--no-install-recommends', 'openssh-server'], options);
  // The package lists of a fresh machine may be absent or old; they are fetched only then.
  await install().catch(async () => {
    await run('apt-get', ['update'], options);
    await install();
  });
}
