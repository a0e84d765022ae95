import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { waybill } from './commandLine.ts';
import { type Installation, startInstallation } from './servers/installation.ts';
import { startProxy, type TcpProxy } from './servers/proxy.ts';
import { type Sshd, startSshd } from './servers/sshd.ts';

/** How long each server is away. */
const awayMs = 20_000;
const testTimeoutMs = 240_000;

let installation: Installation;
let folder: string;
let partner: Sshd;
let proxy: TcpProxy;

beforeAll(async () => {
  installation = await startInstallation();
  ({ folder } = installation);
  for (const name of ['partner', 'landing', 'yaml']) await mkdir(path.join(folder, name));
  partner = await startSshd({ root: path.join(folder, 'partner') });
  proxy = await startProxy(partner);
  const again = await waybill(['migrate', '--api-key-file', path.join(folder, 'api-key'), '--json'], installation);
  expect(again, 'the second time').toMatchObject({ code: 0 });
  const key = (await readFile(path.join(folder, 'api-key'), 'utf8')).trim();
  expect(key).toBe(installation.environment.WAYBILL_API_KEY);
}, testTimeoutMs);

afterAll(async () => {
  await proxy?.stop();
  await partner?.stop();
  await installation?.stop();
}, testTimeoutMs);

test(
  'a run outlives PostgreSQL and Temporal, each away for 20 s in the middle of it: every file whole, once, and accounted for',
  async () => {
    const files = new Map(Array.from({ length: 12 }, (_, index) => [`${index}.bin`, randomBytes(8 * 1024 * 1024)]));
    await mkdir(path.join(folder, 'partner/out'));
    for (const [name, content] of files) await writeFile(path.join(folder, 'partner/out', name), content);
    await writeFile(path.join(folder, 'key'), partner.privateKey, { mode: 0o600 });
    await writeFile(path.join(folder, 'yaml/all.yaml'), configuration());
    expect(await waybill(['apply', path.join(folder, 'yaml'), '--yes', '--json'], installation)).toMatchObject({
      code: 0,
    });
    const started = await waybill(['run', 'outage', '--idempotency-key', randomUUID(), '--json'], installation);
    const { id } = JSON.parse(started.stdout).run;
    await expect.poll(temporaryFiles, { timeout: 30_000, interval: 5 }).not.toEqual([]);
    proxy.stall();

    await installation.restartTemporal(() => pause(awayMs));
    await installation.restartPostgres(() => {
      proxy.resume();
      return pause(awayMs);
    });

    const watched = await waybill(['watch', id, '--json'], installation);
    expect(watched.code, watched.stderr).toBe(0);
    const deliveries = JSON.parse((await waybill(['deliveries', '--run', id, '--json'], installation)).stdout).items;
    expect(deliveries).toHaveLength(files.size);
    for (const [name, content] of files)
      expect((await readFile(path.join(folder, 'landing', name))).equals(content)).toBe(true);
    expect((await readdir(path.join(folder, 'landing'))).sort()).toEqual([...files.keys()].sort());
    expect(await publishedEvents(id)).toBe(files.size);
    expect(installation.serves()).toBe(true);
  },
  testTimeoutMs,
);

test(
  'a large slow copy outlives PostgreSQL away for 20 s in the middle of it, and is published once',
  async () => {
    const content = randomBytes(48 * 1024 * 1024);
    await writeFile(path.join(folder, 'partner/out', 'large.bin'), content);
    const before = proxy.carried().client;
    proxy.shape({ bytesPerSecond: 2 * 1024 * 1024 });
    const started = await waybill(['run', 'outage', '--idempotency-key', randomUUID(), '--json'], installation);
    const { id } = JSON.parse(started.stdout).run;
    const sent = () => proxy.carried().client - before;
    await expect.poll(sent, { timeout: 30_000, interval: 50 }).toBeGreaterThan(8 * 1024 * 1024);

    await installation.restartPostgres(() => pause(awayMs));
    proxy.heal();

    const watched = await waybill(['watch', id, '--json'], installation);
    expect(watched.code, watched.stderr).toBe(0);
    expect((await readFile(path.join(folder, 'landing/large.bin'))).equals(content)).toBe(true);
    expect(await temporaryFiles()).toEqual([]);
    expect(await publishedEvents(id)).toBe(1);
    expect(installation.serves()).toBe(true);
  },
  testTimeoutMs,
);

const temporaryFiles = async () =>
  (await readdir(path.join(folder, 'landing'))).filter((name) => name.startsWith('.waybill-'));

async function publishedEvents(runId: string): Promise<number> {
  const { auditEvents } = await installation.graphql<{ auditEvents: { edges: unknown[] } }>(
    'query($run: ID!) { auditEvents(first: 100, type: "delivery.published", run: $run) { edges { node { id } } } }',
    { run: runId },
  );
  return auditEvents.edges.length;
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
