import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { findTemporal } from '../../cli/embedded/findTemporal.ts';
import { removePostgres, startPostgres } from '../../cli/embedded/postgres.ts';
import { startTemporal } from '../../cli/embedded/temporal.ts';
import { readCommandEnvironment } from '../../cli/settings.ts';
import { type StartedCommand, startWaybill, waybill } from '../commandLine.ts';

/** The services as in production: processes of their own over a PostgreSQL and a Temporal that are somebody else's. */
export interface Installation {
  /** Of this test alone; endpoints may use what is below it. */
  folder: string;
  /** For commands: they find the API and its key here. */
  environment: Record<string, string>;
  /** Ends the worker without a word, and starts another, with these options. */
  restartWorker(options?: readonly string[]): Promise<void>;
  /** Ends Temporal, lets `away` pass, and starts it again where it was. */
  restartTemporal(away?: () => Promise<void>): Promise<void>;
  restartPostgres(away?: () => Promise<void>): Promise<void>;
  /** Whether API and worker have gone on all the time since they were started. */
  serves(): boolean;
  graphql<Data>(query: string, variables?: Record<string, unknown>): Promise<Data>;
  stop(): Promise<void>;
}

/**
 * Starts everything on free ports, with settings beside those that it needs; `prepare` is called with the folder before
 * anything starts. Throws with what the first command says that does not succeed.
 */
export async function startInstallation(
  prepare: (folder: string) => Promise<Record<string, string>> = async () => ({}),
): Promise<Installation> {
  const folder = await realpath(await mkdtemp(path.join(tmpdir(), 'waybill-installation-')));
  await mkdir(path.join(folder, 'temporal'));
  const stateFolder = path.join(folder, 'state');
  let postgres = await startPostgres({ stateFolder, port: 0, onProgress: ignore });
  let temporal = await beginTemporal(folder, 0);
  const environment: Record<string, string> = {
    DATABASE_OWNER_URL: postgres.ownerUrl,
    DATABASE_URL: postgres.applicationUrl,
    DATABASE_SYSTEM_URL: postgres.systemUrl,
    TEMPORAL_ADDRESS: temporal.address,
    WAYBILL_MASTER_KEY: randomBytes(32).toString('base64'),
    WAYBILL_LOCAL_ROOTS: folder,
    WAYBILL_EGRESS_LOOPBACK: 'true',
    WAYBILL_PORT: '0',
    ...(await prepare(folder)),
  };
  const keyFile = path.join(folder, 'api-key');
  const migrated = await waybill(['migrate', '--api-key-file', keyFile, '--json'], { environment });
  if (migrated.code !== 0) throw new Error(migrated.stderr);
  environment.WAYBILL_API_KEY = (await readFile(keyFile, 'utf8')).trim();
  const api = startWaybill(['api'], { environment });
  let worker = startWaybill(['worker'], { environment });
  environment.WAYBILL_URL = await urlOf(api);
  return {
    folder,
    environment,
    async restartWorker(options = []) {
      worker.child.kill('SIGKILL');
      await worker.ended;
      worker = startWaybill(['worker', ...options], { environment });
    },
    async restartTemporal(away) {
      await temporal.stop();
      await away?.();
      temporal = await beginTemporal(folder, Number(temporal.address.split(':').at(-1)));
    },
    async restartPostgres(away) {
      await postgres.stop();
      await away?.();
      postgres = await startPostgres({ stateFolder, port: postgres.port, onProgress: ignore });
    },
    serves: () => [api, worker].every(({ child }) => child.exitCode === null && child.signalCode === null),
    async graphql<Data>(query: string, variables: Record<string, unknown> = {}) {
      const response = await fetch(environment.WAYBILL_URL!, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${environment.WAYBILL_API_KEY}` },
        body: JSON.stringify({ query, variables }),
      });
      const { data, errors } = (await response.json()) as { data: Data; errors?: unknown };
      if (errors !== undefined) throw new Error(JSON.stringify(errors));
      return data;
    },
    async stop() {
      for (const { child } of [api, worker]) child.kill('SIGTERM');
      await Promise.all([api.ended, worker.ended]);
      await temporal.stop();
      await postgres.stop();
      await removePostgres(stateFolder);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

const ignore = () => undefined;

async function beginTemporal(folder: string, port: number) {
  const { binary } = await findTemporal(readCommandEnvironment(process.env), ignore);
  return startTemporal({
    binary,
    folder: path.join(folder, 'temporal'),
    host: '127.0.0.1',
    port,
    uiPort: 0,
    codec: null,
  });
}

/** The API says in its log where it serves. */
async function urlOf({ child, ended }: StartedCommand): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      const url = /"url":"([^"]+)"/.exec(text)?.[1];
      if (url !== undefined) resolve(url);
    });
    void ended.then(({ stderr }) => reject(new Error(stderr)));
  });
}
