import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { freePorts } from '../../cli/embedded/ports.ts';
import { readCommandEnvironment } from '../../cli/settings.ts';
import { packageRoot } from '../../cli/version.ts';
import { type ListeningServer, listening } from './listening.ts';

const run = promisify(execFile);
const buildTimeoutMs = 20 * 60_000;
/** As in tools/versitygw/go.mod. */
const versitygwVersion = '1.8.0';

/** Path of the S3 gateway that tools/versitygw pins: from the cache, else built with Go (a minute). Throws one line that says what is missing. */
export async function ensureVersitygw(): Promise<string> {
  const { cacheFolder, searchPath } = readCommandEnvironment(process.env);
  const cache = cacheFolder ?? path.join(homedir(), '.cache', 'waybill');
  const binary = path.join(cache, `versitygw-${versitygwVersion}`);
  if (existsSync(binary)) return binary;
  await mkdir(cache, { recursive: true });
  const draft = `${binary}.build.${process.pid}`;
  try {
    const words = [
      'build',
      '-trimpath',
      '-ldflags',
      '-s -w',
      '-o',
      draft,
      'github.com/versity/versitygw/cmd/versitygw',
    ];
    const environment = { ...process.env, PATH: `${searchPath}${path.delimiter}/usr/local/go/bin` };
    const cwd = path.join(packageRoot(), 'tools', 'versitygw');
    await run('go', words, { cwd, env: environment, timeout: buildTimeoutMs });
    await rename(draft, binary);
    return binary;
  } catch (error) {
    throw new Error(`the tests need versitygw ${versitygwVersion}: Go 1.26 or later builds it: ${error}`);
  } finally {
    await rm(draft, { force: true });
  }
}

export interface Versitygw extends ListeningServer {
  /** `http://127.0.0.1:PORT`, or `https:` with the option `--cert` */
  endpoint: string;
  region: string;
  accessKeyId: string;
  secretAccessKey: string;
  /** Holds a folder for each bucket. */
  folder: string;
}

/** A real S3 server on a free port of 127.0.0.1, over a folder of its own; `options` go to the gateway. */
export async function startVersitygw(options: readonly string[] = []): Promise<Versitygw> {
  const binary = await ensureVersitygw();
  const home = await mkdtemp(path.join(tmpdir(), 'waybill-test-s3-'));
  const folder = path.join(home, 'data');
  for (const name of ['data', 'meta']) await mkdir(path.join(home, name));
  const [port] = await freePorts('127.0.0.1', 1);
  const accessKeyId = 'waybill-test';
  const secretAccessKey = 'waybill-test-secret';
  // Attributes of objects are kept beside them: not every filesystem of a temporary folder has extended attributes.
  const words = ['--port', `127.0.0.1:${port}`, '--keep-alive', ...options];
  const child = spawn(binary, [...words, 'posix', '--sidecar', path.join(home, 'meta'), folder], {
    env: { ROOT_ACCESS_KEY: accessKeyId, ROOT_SECRET_KEY: secretAccessKey },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const server = await listening(child, /https?:\/\/127\.0\.0\.1:(\d+)/);
  return {
    ...server,
    endpoint: `${options.includes('--cert') ? 'https' : 'http'}://127.0.0.1:${server.port}`,
    region: 'us-east-1',
    accessKeyId,
    secretAccessKey,
    folder,
    async stop() {
      await server.stop();
      await rm(home, { recursive: true, force: true });
    },
  };
}
