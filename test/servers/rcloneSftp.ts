import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startRclone } from './rclone.ts';

const run = promisify(execFile);

export interface RcloneSftp {
  host: string;
  port: number;
  username: string;
  /** Private key text, for the secret `privateKey`. */
  privateKey: string;
  hostKeyFingerprint: string;
  /** For the endpoint's config: the folder served is the root of the server. */
  root: string;
  pid: number;
  /** Ends the server and removes its keys. Safe twice. */
  stop(): Promise<void>;
}

/** `rclone serve sftp` over a folder: an SFTP server that is not OpenSSH's, for one user with one key. */
export async function startRcloneSftp(folder: string, options: readonly string[] = []): Promise<RcloneSftp> {
  const keys = await mkdtemp(join(tmpdir(), 'waybill-rclone-sftp-'));
  for (const name of ['host_key', 'user_key'])
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', `waybill ${name}`, '-f', join(keys, name)]);
  const { stdout } = await run('ssh-keygen', ['-l', '-E', 'sha256', '-f', join(keys, 'host_key.pub')]);
  const words = ['--key', join(keys, 'host_key'), '--authorized-keys', join(keys, 'user_key.pub'), '--user', 'partner'];
  const server = await startRclone('sftp', folder, [...words, ...options]);
  return {
    host: server.host,
    port: server.port,
    pid: server.pid,
    username: 'partner',
    privateKey: await readFile(join(keys, 'user_key'), 'utf8'),
    hostKeyFingerprint: stdout.split(' ')[1]!,
    root: '/',
    async stop() {
      await server.stop();
      await rm(keys, { recursive: true, force: true });
    },
  };
}
