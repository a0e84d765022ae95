import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { waybill } from './commandLine.ts';
import { chooseSeed, Random } from './random.ts';
import { type Installation, startInstallation } from './servers/installation.ts';

const testTimeoutMs = 240_000;
const seed = chooseSeed();
const files = new Map(Array.from({ length: 10 }, (_, index) => [`${index}.bin`, randomBytes(512 * 1024)]));
/** It takes some seconds at the bandwidth of its target, and is taken up where it was left. */
const large = randomBytes(24_000_000);
/** Each server is restarted so often in the middle of the run, at a moment that the seed chooses. */
const restartsOfEach = 2;
const betweenRestartsAtMostMs = 1_500;

let installation: Installation;
beforeAll(async () => {
  installation = await startInstallation();
  for (const run of ['calm', 'rough']) {
    for (const folder of ['each', 'bulk']) {
      await mkdir(path.join(installation.folder, 'partner', run, folder), { recursive: true });
      for (const [name, content] of files)
        await writeFile(path.join(installation.folder, 'partner', run, folder, name), content);
    }
  }
  await mkdir(path.join(installation.folder, 'landing'));
  await mkdir(path.join(installation.folder, 'partner/single'));
  await writeFile(path.join(installation.folder, 'partner/single/large.bin'), large);
  const file = path.join(installation.folder, 'restarts.yaml');
  await writeFile(file, configuration(installation.folder));
  const applied = await waybill(['apply', file, '--yes', '--json'], installation);
  expect(applied.code, applied.stderr + applied.stdout).toBe(0);
}, testTimeoutMs);
afterAll(() => installation?.stop(), testTimeoutMs);

test(
  `restarts of worker, Temporal and PostgreSQL in the middle of a run change nothing that it does (WAYBILL_SEED=${seed})`,
  async () => {
    const calm = await effects(await start('calm'), 'calm');
    const rough = await start('rough');
    const random = new Random(seed);
    const { restartWorker, restartTemporal, restartPostgres } = installation;
    const restarts = Array.from({ length: restartsOfEach }, () => [restartWorker, restartTemporal, restartPostgres]);
    for (const restart of restarts.flat().sort(() => random.fraction() - 0.5)) {
      await pause(random.between(0, betweenRestartsAtMostMs));
      await restart();
    }
    expect(await effects(rough, 'rough')).toEqual(calm);
    expect(calm.status).toBe('succeeded');
    expect(calm.landed).toHaveLength(2 * files.size);
    expect(calm.events.filter((event) => event.startsWith('restarts.item'))).toHaveLength(files.size);
  },
  testTimeoutMs,
);

test(
  'a step with one attempt goes on when its worker is killed: an attempt counts when it has failed',
  async () => {
    const started = await waybill(['run', 'single', '--idempotency-key', randomUUID(), '--json'], installation);
    const { id } = JSON.parse(started.stdout).run;
    await expect.poll(unfinishedBytes, { timeout: 30_000, interval: 50 }).toBeGreaterThan(large.length / 4);
    await installation.restartWorker();
    const watched = await waybill(['watch', id, '--json'], installation);
    expect(watched.code, watched.stderr + watched.stdout).toBe(0);
    const { run } = await installation.graphql<{ run: EndedRun }>(
      `query($id: ID!) { run(id: $id) { status deliveries(first: 10) { edges { node { state attempt error { kind } } } } } }`,
      { id },
    );
    expect(run).toMatchObject({
      status: 'succeeded',
      deliveries: { edges: [{ node: { state: 'settled', attempt: 2, error: null } }] },
    });
    expect((await readFile(path.join(installation.folder, 'landing/single/large.bin'))).equals(large)).toBe(true);
    const types = (await eventsOf(id)).map(({ type }) => type);
    expect(types.filter((type) => type === 'delivery.published')).toHaveLength(1);
    expect(types).not.toContain('delivery.restarted');
  },
  testTimeoutMs,
);

/** What the temporary file of the copy under way has. */
async function unfinishedBytes(): Promise<number> {
  const folder = path.join(installation.folder, 'landing/single');
  const names = await readdir(folder).catch(() => []);
  const [name] = names.filter((one) => one.endsWith('.part'));
  return name === undefined ? 0 : (await stat(path.join(folder, name)).catch(() => ({ size: 0 }))).size;
}

async function start(folder: string): Promise<string> {
  const words = ['run', 'restarts', '--input', `folder=${folder}`, '--idempotency-key', randomUUID(), '--json'];
  const started = await waybill(words, installation);
  expect(started.code, started.stderr).toBe(0);
  return JSON.parse(started.stdout).run.id;
}

/** Everything that a run leaves behind when it has ended, without what names the run: its own folder and its ids. */
async function effects(runId: string, folder: string) {
  const watched = await waybill(['watch', runId, '--json'], installation);
  expect(watched.code, watched.stderr + watched.stdout).toBe(0);
  const { run } = await installation.graphql<{ run: EndedRun }>(
    `query($id: ID!) { run(id: $id) { status outputs counts { files bytes skipped failed }
      deliveries(first: 100) { edges { node { state source { path } target { path } sha256 } } } } }`,
    { id: runId },
  );
  const neutral = (value: unknown) => JSON.stringify(value).replaceAll(`/${folder}/`, '/run/');
  return {
    status: run.status,
    outputs: run.outputs,
    counts: run.counts,
    deliveries: run.deliveries.edges.map(({ node }) => neutral(node)).sort(),
    events: (await eventsOf(runId))
      .map(({ type, data }) => (type.startsWith('restarts.') ? `${type} ${neutral(data)}` : type))
      .sort(),
    landed: await contentsOf(path.join(installation.folder, 'landing', folder)),
    left: await contentsOf(path.join(installation.folder, 'partner', folder)),
  };
}

interface EndedRun {
  status: string;
  outputs: unknown;
  counts: unknown;
  deliveries: { edges: Array<{ node: unknown }> };
}

interface AuditEvent {
  type: string;
  data: unknown;
}

async function eventsOf(runId: string): Promise<AuditEvent[]> {
  const query = `query($id: ID!, $after: String) { run(id: $id) { auditEvents(first: 100, after: $after) {
    edges { node { type data } } pageInfo { hasNextPage endCursor } } } }`;
  const events: AuditEvent[] = [];
  for (let after: string | null = null; ; ) {
    const { run }: { run: { auditEvents: EventPage } } = await installation.graphql(query, { id: runId, after });
    events.push(...run.auditEvents.edges.map(({ node }) => node));
    if (!run.auditEvents.pageInfo.hasNextPage) return events;
    after = run.auditEvents.pageInfo.endCursor;
  }
}

interface EventPage {
  edges: Array<{ node: AuditEvent }>;
  pageInfo: { hasNextPage: boolean; endCursor: string | null };
}

/** Every file below a folder, and whether it is whole. */
async function contentsOf(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const names = entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
  const told = names.map(async (name) => {
    const isWhole = files.get(path.basename(name))?.equals(await readFile(name)) ?? false;
    return `${path.relative(folder, name)} ${isWhole ? 'whole' : 'broken'}`;
  });
  return (await Promise.all(told)).sort();
}

function configuration(folder: string): string {
  return `endpoint: partner-folder
apiVersion: waybill/v1
connector: local
config: { root: ${path.join(folder, 'partner')} }
---
endpoint: landing-zone
apiVersion: waybill/v1
connector: local
config: { root: ${path.join(folder, 'landing')} }
---
endpoint: narrow-landing
apiVersion: waybill/v1
connector: local
config: { root: ${path.join(folder, 'landing')} }
limits: { bandwidth: 4MB }
---
pipeline: single
apiVersion: waybill/v1
endpoints: { partner: partner-folder, landing: narrow-landing }
steps:
  - id: copy
    use: transfer.copy@1
    retry: { attempts: 1 }
    with: { from: "partner:/single/*", to: "landing:/single/" }
---
pipeline: restarts
apiVersion: waybill/v1
inputs: { folder: { type: string } }
endpoints: { partner: partner-folder, landing: landing-zone }
steps:
  - { id: list, use: files.list@1, with: { from: { endpoint: partner, glob: "/\${{ inputs.folder }}/each/*" } } }
  - parallel:
      - id: each
        forEach: steps.list.files
        as: file
        maxParallel: 2
        steps:
          - id: copy
            use: transfer.copy@1
            with:
              from: { endpoint: partner, path: "\${{ file.path }}" }
              to: { endpoint: landing, path: "/\${{ inputs.folder }}/each/\${{ file.name }}" }
          - { wait: 500ms }
          - use: files.move@1
            with: { from: { endpoint: partner, path: "\${{ file.path }}" }, to: "/\${{ inputs.folder }}/done/\${{ file.name }}" }
          - { use: audit.write@1, with: { event: restarts.item, data: { name: "\${{ file.name }}", files: "\${{ steps.copy.files }}" } } }
      - steps:
          - { wait: 2s }
          - id: bulk
            use: transfer.copy@1
            with: { from: { endpoint: partner, glob: "/\${{ inputs.folder }}/bulk/*" }, to: "landing:/\${{ inputs.folder }}/bulk/", then: { delete: true } }
          - { use: audit.write@1, with: { event: restarts.bulk, data: { files: "\${{ steps.bulk.files }}" } } }
        summary: what comes in bulk
  - { use: audit.write@1, with: { event: restarts.after, data: { ok: "\${{ steps.each.succeeded.count }}" } } }
finally:
  - { use: audit.write@1, with: { event: restarts.ended, data: { status: "\${{ run.status }}" } } }
outputs: { each: steps.each.succeeded.count, bulk: steps.bulk.files }
`;
}
