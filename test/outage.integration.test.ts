import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findTemporal } from '../cli/embedded/findTemporal.ts';
import { removePostgres, startPostgres } from '../cli/embedded/postgres.ts';
import { startTemporal } from '../cli/embedded/temporal.ts';
import { readCommandEnvironment } from '../cli/settings.ts';
import { type StartedCommand, startWaybill, waybill } from './commandLine.ts';
import { startProxy, type TcpProxy } from './servers/proxy.ts';
import { type Sshd, startSshd } from './servers/sshd.ts';

/** How long each server is away. */
const awayMs = 20_000;
const testTimeoutMs = 240_000;

type Server = { stop(): Promise<void> };
let folder: string;
let postgres: Awaited<ReturnType<typeof startPostgres>>;
let temporal: Awaited<ReturnType<typeof startTemporal>>;
let partner: Sshd;
let proxy: TcpProxy;
let services: StartedCommand[] = [];
let environment: Record<string, string>;

/** The services as in production: processes of their own over a PostgreSQL and a Temporal that are somebody else's. */
beforeAll(async () => {
  folder = await realpath(await mkdtemp(path.join(tmpdir(), 'waybill-outage-')));
  for (const name of ['partner', 'landing', 'temporal', 'yaml']) await mkdir(path.join(folder, name));
  postgres = await startPostgres({ stateFolder: path.join(folder, 'state'), port: 0, onProgress: () => undefined });
  temporal = await beginTemporal(0);
  partner = await startSshd({ root: path.join(folder, 'partner') });
  proxy = await startProxy(partner);
  environment = {
    DATABASE_OWNER_URL: postgres.ownerUrl,
    DATABASE_URL: postgres.applicationUrl,
    DATABASE_SYSTEM_URL: postgres.systemUrl,
    TEMPORAL_ADDRESS: temporal.address,
    WAYBILL_MASTER_KEY: randomBytes(32).toString('base64'),
    WAYBILL_LOCAL_ROOTS: folder,
    WAYBILL_EGRESS_LOOPBACK: 'true',
    WAYBILL_PORT: '0',
  };
  const keyFile = path.join(folder, 'api-key');
  const migrate = ['migrate', '--api-key-file', keyFile, '--json'];
  expect(await waybill(migrate, { environment })).toMatchObject({ code: 0 });
  environment.WAYBILL_API_KEY = (await readFile(keyFile, 'utf8')).trim();
  expect(await waybill(migrate, { environment }), 'the second time').toMatchObject({ code: 0 });
  expect((await readFile(keyFile, 'utf8')).trim()).toBe(environment.WAYBILL_API_KEY);
  const api = startWaybill(['api'], { environment });
  services = [api, startWaybill(['worker'], { environment })];
  environment.WAYBILL_URL = await urlOf(api);
}, testTimeoutMs);

afterAll(async () => {
  for (const { child } of services) child.kill('SIGTERM');
  await Promise.all(services.map(({ ended }) => ended));
  await proxy?.stop();
  await (partner as Server | undefined)?.stop();
  await temporal?.stop();
  await postgres?.stop();
  await removePostgres(path.join(folder, 'state'));
  await rm(folder, { recursive: true, force: true });
}, testTimeoutMs);

test(
  'a run outlives PostgreSQL and Temporal, each away for 20 s in the middle of it: every file whole, once, and accounted for',
  async () => {
    const files = new Map(Array.from({ length: 12 }, (_, index) => [`${index}.bin`, randomBytes(8 * 1024 * 1024)]));
    await mkdir(path.join(folder, 'partner/out'));
    for (const [name, content] of files) await writeFile(path.join(folder, 'partner/out', name), content);
    await writeFile(path.join(folder, 'key'), partner.privateKey, { mode: 0o600 });
    await writeFile(path.join(folder, 'yaml/all.yaml'), configuration());
    expect(await waybill(['apply', path.join(folder, 'yaml'), '--yes', '--json'], { environment })).toMatchObject({
      code: 0,
    });
    const started = await waybill(['run', 'outage', '--idempotency-key', randomUUID(), '--json'], { environment });
    const { id } = JSON.parse(started.stdout).run;
    await expect.poll(temporaryFiles, { timeout: 30_000, interval: 5 }).not.toEqual([]);
    proxy.stall();

    await temporal.stop();
    await pause(awayMs);
    temporal = await beginTemporal(Number(temporal.address.split(':').at(-1)));

    await postgres.stop();
    proxy.resume();
    await pause(awayMs);
    postgres = await startPostgres({
      stateFolder: path.join(folder, 'state'),
      port: postgres.port,
      onProgress: () => undefined,
    });

    const watched = await waybill(['watch', id, '--json'], { environment });
    expect(watched.code, watched.stderr).toBe(0);
    const deliveries = JSON.parse((await waybill(['deliveries', '--run', id, '--json'], { environment })).stdout).items;
    expect(deliveries).toHaveLength(files.size);
    for (const [name, content] of files)
      expect((await readFile(path.join(folder, 'landing', name))).equals(content)).toBe(true);
    expect((await readdir(path.join(folder, 'landing'))).sort()).toEqual([...files.keys()].sort());
    expect(await publishedEvents(id)).toBe(files.size);
    for (const { child } of services) expect(child.exitCode).toBeNull();
  },
  testTimeoutMs,
);

const temporaryFiles = async () =>
  (await readdir(path.join(folder, 'landing'))).filter((name) => name.startsWith('.waybill-'));

async function publishedEvents(runId: string): Promise<number> {
  const query = '{ auditEvents(first: 100, type: "delivery.published", run: "RUN") { edges { node { id } } } }'.replace(
    'RUN',
    runId,
  );
  const response = await fetch(environment.WAYBILL_URL!, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${environment.WAYBILL_API_KEY}` },
    body: JSON.stringify({ query }),
  });
  const { data } = (await response.json()) as { data: { auditEvents: { edges: unknown[] } } };
  return data.auditEvents.edges.length;
}

async function beginTemporal(port: number) {
  const { binary } = await findTemporal(readCommandEnvironment(process.env), () => undefined);
  return startTemporal({ binary, folder: path.join(folder, 'temporal'), host: '127.0.0.1', port, uiPort: 0 });
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

function configuration(): string {
  return `endpoint: acme-sftp
apiVersion: waybill/v1
connector: sftp
config: { host: 127.0.0.1, port: ${proxy.port}, username: ${partner.username}, root: ${path.join(folder, 'partner')}, hostKeys: ["${partner.hostKeyFingerprint}"] }
secrets: { privateKey: { file: ../key } }
---
endpoint: landing-zone
apiVersion: waybill/v1
connector: local
config: { root: ${path.join(folder, 'landing')} }
---
pipeline: outage
apiVersion: waybill/v1
endpoints: { partner: acme-sftp, landing: landing-zone }
steps:
  - id: copy
    use: transfer.copy@1
    with: { from: "partner:/out/*.bin", to: "landing:/", then: { delete: true } }
`;
}
