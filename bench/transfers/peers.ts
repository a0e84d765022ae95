import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ensureRclone } from '../../test/servers/rclone.ts';
import type { Sshd } from '../../test/servers/sshd.ts';
import type { Versitygw } from '../../test/servers/versitygw.ts';

const run = promisify(execFile);
const cipher = 'aes128-gcm@openssh.com';
const outputBytes = 2 ** 26;

/** Its remotes, by environment: nothing of the user's own configuration counts. */
export type RcloneRemotes = Record<string, string>;

/**
 * Without its look at the target (every file is new), with as much in flight as gains anything. On SFTP it compares sizes,
 * as we do: checksums by shell commands on the server are off.
 */
const rcloneFlags = ['--config', '/dev/null', '--ignore-times', '--no-check-dest', '--no-traverse', '--retries', '1'];

export interface RcloneTerms {
  remotes: RcloneRemotes;
  transfers: number;
  more?: readonly string[];
}

/** `rclone copy` of a folder's content. Throws with what it says. */
export async function rcloneCopy(
  from: string,
  to: string,
  { remotes, transfers, more = [] }: RcloneTerms,
): Promise<void> {
  const words = [
    'copy',
    from,
    to,
    ...rcloneFlags,
    '--transfers',
    `${transfers}`,
    '--checkers',
    `${transfers}`,
    ...more,
  ];
  await run(await ensureRclone(), words, { env: { ...process.env, ...remotes }, maxBuffer: outputBytes });
}

export async function rcloneMakeBucket(bucket: string, remotes: RcloneRemotes): Promise<void> {
  const words = ['mkdir', `s3:${bucket}`, '--config', '/dev/null'];
  await run(await ensureRclone(), words, {
    env: { ...process.env, ...remotes, RCLONE_CONFIG_S3_NO_CHECK_BUCKET: 'false' },
  });
}

export async function rcloneSftp(server: Sshd, folder: string): Promise<RcloneRemotes> {
  const key = join(folder, 'rclone-key');
  await writeFile(key, server.privateKey, { mode: 0o600 });
  return {
    RCLONE_CONFIG_SFTP_TYPE: 'sftp',
    RCLONE_CONFIG_SFTP_HOST: server.host,
    RCLONE_CONFIG_SFTP_PORT: `${server.port}`,
    RCLONE_CONFIG_SFTP_USER: server.username,
    RCLONE_CONFIG_SFTP_KEY_FILE: key,
    RCLONE_CONFIG_SFTP_CIPHERS: cipher,
    RCLONE_CONFIG_SFTP_CHUNK_SIZE: '255k',
    RCLONE_CONFIG_SFTP_CONCURRENCY: '64',
    RCLONE_CONFIG_SFTP_SHELL_TYPE: 'none',
    RCLONE_CONFIG_SFTP_DISABLE_HASHCHECK: 'true',
  };
}

export function rcloneS3(server: Versitygw): RcloneRemotes {
  return {
    RCLONE_CONFIG_S3_TYPE: 's3',
    RCLONE_CONFIG_S3_PROVIDER: 'Other',
    RCLONE_CONFIG_S3_ENDPOINT: server.endpoint,
    RCLONE_CONFIG_S3_REGION: server.region,
    RCLONE_CONFIG_S3_ACCESS_KEY_ID: server.accessKeyId,
    RCLONE_CONFIG_S3_SECRET_ACCESS_KEY: server.secretAccessKey,
    RCLONE_CONFIG_S3_NO_CHECK_BUCKET: 'true',
    RCLONE_CONFIG_S3_CHUNK_SIZE: '16Mi',
    RCLONE_CONFIG_S3_UPLOAD_CONCURRENCY: '4',
  };
}

/** OpenSSH's own client with a batch of one command, over one connection; it takes the block size that the server allows. */
export async function opensshSftp(server: Sshd, folder: string, command: string): Promise<void> {
  const batch = join(folder, 'sftp-batch');
  const key = join(folder, 'sftp-key');
  await writeFile(batch, `${command}\n`);
  await writeFile(key, server.privateKey, { mode: 0o600 });
  const options = ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'LogLevel=ERROR', `Ciphers=${cipher}`];
  const words = ['-q', '-b', batch, '-i', key, '-P', `${server.port}`, ...options.flatMap((option) => ['-o', option])];
  await run('sftp', [...words, `${server.username}@${server.host}`], { maxBuffer: outputBytes });
}
