import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type EndedRun, type Line, startLine } from './servers/line.ts';
import { startProxy } from './servers/proxy.ts';

let line: Line;
beforeAll(async () => {
  line = await startLine();
  await line.apply(line.endpoints() + copyPipeline('copy-all', 'partner:/{{folder}}/**', 'landing:/{{folder}}/'), {
    secrets: line.endpointSecrets(),
  });
});
afterAll(() => line?.stop());

/** A pipeline that copies what its input names; `{{folder}}` stands for the expression. */
function copyPipeline(name: string, from: string, to: string, more = ''): string {
  const expression = '${{ inputs.folder }}';
  return `pipeline: ${name}
apiVersion: waybill/v1
inputs: { folder: { type: string } }
endpoints: { partner: acme-sftp, landing: landing-zone }
steps:
  - id: copy
    use: transfer.copy@1
    with: { from: { endpoint: partner, glob: "${from.replace('partner:', '').replaceAll('{{folder}}', expression)}" }, to: "${to.replaceAll('{{folder}}', expression)}"${more} }
`;
}

const quick = 'retry: { attempts: 2, first: 100ms, max: 200ms }';

describe('a run', () => {
  test('over a glob that matches nothing succeeds with no file', async () => {
    await line.write(line.partnerFolder, { 'nothing/readme/.keep': '' });
    expect(await line.run('copy-all', { folder: 'nothing' })).toMatchObject({
      status: 'succeeded',
      counts: { files: 0, failed: 0 },
    });
  });

  test('whose folder does not exist fails with the path', async () => {
    const run = await line.run('copy-all', { folder: 'absent' });
    expect(run).toMatchObject({ status: 'failed', error: { kind: 'not-found', step: 'copy' } });
    expect(run.error?.message).toContain('/absent');
  });

  test('that is given a path with .. fails, and nothing outside the root is touched', async () => {
    const run = await line.run('copy-all', { folder: '../landing' });
    expect(run).toMatchObject({ status: 'failed', error: { kind: 'invalid' } });
    expect(run.error?.message).toContain('".."');
  });

  test('that meets a file which is there already fails by name, brings the others, and leaves that file alone', async () => {
    await line.write(line.partnerFolder, { 'clash/a.csv': 'new a', 'clash/b.csv': 'new b' });
    await line.write(line.landingFolder, { 'clash/a.csv': 'old a' });
    const run = await line.run('copy-all', { folder: 'clash' });
    expect(run).toMatchObject({ status: 'failed', error: { kind: 'exists' }, counts: { files: 1, failed: 1 } });
    expect(run.error?.message).toContain('/clash/a.csv');
    expect(await readFile(path.join(line.landingFolder, 'clash/a.csv'), 'utf8')).toBe('old a');
    expect(await readFile(path.join(line.landingFolder, 'clash/b.csv'), 'utf8')).toBe('new b');
  });

  test('of failed files only is a run of its own, and brings what is missing once the cause is gone', async () => {
    await line.write(line.partnerFolder, { 'again/a.csv': 'a', 'again/b.csv': 'b' });
    await line.write(line.landingFolder, { 'again/a.csv': 'in the way' });
    const failed = await line.run('copy-all', { folder: 'again' });
    expect(failed.counts).toMatchObject({ files: 1, failed: 1 });
    const { rm } = await import('node:fs/promises');
    await rm(path.join(line.landingFolder, 'again/a.csv'));
    const { body } = await line.api.graphql(
      line.api.keys.a,
      'mutation($input: RetryRunInput!) { retryRun(input: $input) { ... on StartRunPayload { run { id retryOf { id } } } ... on UserError { message } } }',
      {
        input: { id: failed.id, failedOnly: true, idempotencyKey: randomUUID() },
      },
    );
    expect(body.data.retryRun.run.retryOf).toEqual({ id: failed.id });
    const retried = await line.wait(body.data.retryRun.run.id);
    expect(retried).toMatchObject({ status: 'succeeded', counts: { files: 1, failed: 0 } });
    expect(await readFile(path.join(line.landingFolder, 'again/a.csv'), 'utf8')).toBe('a');
  });

  test('twice at once over the same files delivers each of them once', async () => {
    const files = Object.fromEntries(
      Array.from({ length: 60 }, (_, index) => [`twice/${index}.bin`, randomBytes(20_000)]),
    );
    await line.write(line.partnerFolder, files);
    const runs = await Promise.all(
      ['one', 'two'].map(async () => line.wait(await line.start('copy-all', { folder: 'twice' }))),
    );
    expect(runs.map((run) => run.status)).toEqual(['succeeded', 'succeeded']);
    expect(sum(runs, 'files')).toBe(60);
    expect(sum(runs, 'skipped')).toBe(60);
    for (const [name, content] of Object.entries(files))
      expect(await readFile(path.join(line.landingFolder, name))).toEqual(content);
    expect((await readdir(path.join(line.landingFolder, 'twice'))).length).toBe(60);
  });

  test('with bad inputs is refused, recorded and visible', async () => {
    await expect(line.start('copy-all', { folder: 7 })).rejects.toThrow(/folder/);
    const { body } = await line.api.graphql(
      line.api.keys.a,
      '{ runs(first: 5, status: refused) { edges { node { pipeline error { kind message } } } } }',
    );
    expect(body.data.runs.edges[0].node).toMatchObject({ pipeline: 'copy-all', error: { kind: 'invalid' } });
  });
});

describe('an endpoint', () => {
  test('with a wrong key fails the run as unauthenticated, at once, without the key in the message', async () => {
    const { privateKey } = generateKeyPairSync('rsa', {
      modulusLength: 2048,
      privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
      publicKeyEncoding: { type: 'spki', format: 'pem' },
    });
    await applyPartner('wrong-key', { privateKey });
    const run = await line.run('from-wrong-key', { folder: 'nothing' });
    expect(run).toMatchObject({ status: 'failed', error: { kind: 'unauthenticated' } });
    expect(JSON.stringify(run)).not.toContain(privateKey.slice(40, 80));
  });

  test('whose host key has changed is refused with both fingerprints', async () => {
    const other = `SHA256:${randomBytes(32).toString('base64').replace(/=+$/, '')}`;
    await applyPartner('other-host', { hostKey: other });
    const run = await line.run('from-other-host', { folder: 'nothing' });
    expect(run.status).toBe('failed');
    expect(run.error?.message).toContain(other);
    expect(run.error?.message).toContain(line.partner.hostKeyFingerprint);
  });

  test('that nobody answers for fails after the attempts that the step allows', async () => {
    await applyPartner('nobody', { port: 1 });
    const run = await line.run('from-nobody', { folder: 'nothing' });
    expect(run).toMatchObject({ status: 'failed', error: { kind: 'unavailable' } });
  });

  async function applyPartner(
    name: string,
    { privateKey = line.partner.privateKey, hostKey = line.partner.hostKeyFingerprint, port = line.partner.port },
  ): Promise<void> {
    const pipeline = copyPipeline(`from-${name}`, 'partner:/{{folder}}/**', 'landing:/x/')
      .replace('acme-sftp', name)
      .replace('    use:', `    ${quick}\n    use:`);
    await line.apply(
      `endpoint: ${name}
apiVersion: waybill/v1
connector: sftp
config: { host: ${line.partner.host}, port: ${port}, username: ${line.partner.username}, root: ${line.partnerFolder}, hostKeys: ["${hostKey}"] }
secrets: { privateKey: { file: ./key } }
---
${pipeline}`,
      { secrets: [{ kind: 'endpoint', name, secret: 'privateKey', value: privateKey }] },
    );
  }
});

describe('a run that is stopped', () => {
  test('by a cancellation ends within 5 s although the partner is silent, and leaves nothing at the target', async () => {
    const { run, elapsedMs } = await stopInMidFile('cancelled-copy', async (id) => {
      await line.api.graphql(line.api.keys.a, 'mutation($id: ID!) { cancelRun(input: { id: $id }) { __typename } }', {
        id,
      });
    });
    expect(run).toMatchObject({ status: 'cancelled', counts: { files: 0 } });
    expect(elapsedMs).toBeLessThan(5_000);
    expect(run.auditEvents.edges.map(({ node }) => node.type)).toEqual(
      expect.arrayContaining(['transfer.cancelled', 'run.cancelled', 'session.closed']),
    );
    expect(run.deliveries.edges[0]?.node.state).toBe('cancelled');
  });

  test('by Terminate in Temporal is closed, with its session and deliveries, at the next reconciliation', async () => {
    const { run } = await stopInMidFile('terminated-copy', async (id) => {
      const { body } = await line.api.graphql(line.api.keys.a, 'query($id: ID!) { run(id: $id) { workflowId } }', {
        id,
      });
      await line.api.temporal.workflow.getHandle(body.data.run.workflowId).terminate('by hand');
      await line.api.temporal.schedule.getHandle('waybill/reconcile').trigger();
    });
    expect(run).toMatchObject({ status: 'cancelled', error: { kind: 'cancelled' } });
    expect(run.error?.message).toContain('terminated in Temporal');
    expect(run.auditEvents.edges.map(({ node }) => node.type)).toEqual(
      expect.arrayContaining(['run.cancelled', 'session.closed']),
    );
  });

  /** Starts a copy of 64 MiB, makes the partner fall silent in the middle, and stops the run. */
  async function stopInMidFile(
    name: string,
    stop: (id: string) => Promise<void>,
  ): Promise<{ run: EndedRun; elapsedMs: number }> {
    await line.write(line.partnerFolder, { [`${name}/big.bin`]: Buffer.alloc(64 * 1024 * 1024, name) });
    const proxy = await startProxy(line.partner);
    try {
      const pipeline = copyPipeline(name, 'partner:/{{folder}}/**', 'landing:/{{folder}}/').replace(
        'acme-sftp',
        `${name}-sftp`,
      );
      await line.apply(
        `endpoint: ${name}-sftp
apiVersion: waybill/v1
connector: sftp
config: { host: 127.0.0.1, port: ${proxy.port}, username: ${line.partner.username}, root: ${line.partnerFolder}, hostKeys: ["${line.partner.hostKeyFingerprint}"] }
secrets: { privateKey: { file: ./key } }
---
${pipeline}`,
        { secrets: [{ kind: 'endpoint', name: `${name}-sftp`, secret: 'privateKey', value: line.partner.privateKey }] },
      );
      const id = await line.start(name, { folder: name });
      const isCopying = async () =>
        (await readdir(path.join(line.landingFolder, name)).catch(() => [])).some((file) =>
          file.startsWith('.waybill-'),
        );
      await expect.poll(isCopying, { timeout: 20_000, interval: 5 }).toBe(true);
      proxy.stall();
      const startedAt = Date.now();
      await stop(id);
      const run = await line.wait(id);
      const elapsedMs = Date.now() - startedAt;
      await expect.poll(() => readdir(path.join(line.landingFolder, name)), { timeout: 10_000 }).toEqual([]);
      return { run, elapsedMs };
    } finally {
      await proxy.stop();
    }
  }
});

describe('a long run', () => {
  test('goes on in a new history when the first is full, and does nothing twice', async () => {
    const items = 1_000;
    await line.apply(`pipeline: long-run
apiVersion: waybill/v1
inputs: { numbers: { type: list } }
steps:
  - id: each
    forEach: inputs.numbers
    as: number
    maxParallel: 16
    steps:
      - use: audit.write@1
        with: { event: long.item, data: { number: "\${{ number }}" } }
      - use: audit.write@1
        with: { event: long.again }
outputs: { done: steps.each.succeeded.count }
`);
    const run = await line.run('long-run', { numbers: Array.from({ length: items }, (_, index) => index) });
    expect(run).toMatchObject({ status: 'succeeded', outputs: { done: items } });
    const { runId, raw } = await line.api.temporal.workflow.getHandle(run.workflowId).describe();
    expect(raw.workflowExecutionInfo?.firstRunId, 'an earlier history of the same run').not.toBe(runId);
    const { tenantId } = line.api.database.tenants.a;
    const [written] = await line.api.database.store.sql(tenantId, (sql) =>
      sql.query<{ events: number; numbers: number }>(
        `select count(*)::int as events, count(distinct data ->> 'number')::int as numbers from audit_event where tenant_id = $1::uuid and type = 'long.item'`,
        [tenantId],
      ),
    );
    expect(written).toEqual({ events: items, numbers: items });
  });
});

describe('a worker', () => {
  test('that is stopped in the middle of a run hands it to the next one, and every file arrives once', async () => {
    const files = Object.fromEntries(
      Array.from({ length: 20 }, (_, index) => [`handover/${index}.bin`, Buffer.alloc(16 * 1024 * 1024, `${index}`)]),
    );
    await line.write(line.partnerFolder, files);
    const id = await line.start('copy-all', { folder: 'handover' });
    const hasBegun = async () => (await readdir(path.join(line.landingFolder, 'handover')).catch(() => [])).length > 0;
    await expect.poll(hasBegun, { timeout: 20_000, interval: 5 }).toBe(true);
    await line.restartWorker();
    const run = await line.wait(id);
    expect(run).toMatchObject({ status: 'succeeded', counts: { files: 20, failed: 0 } });
    expect(run.auditEvents.edges.filter(({ node }) => node.type === 'delivery.published')).toHaveLength(20);
    expect((await readdir(path.join(line.landingFolder, 'handover'))).length).toBe(20);
  });
});

describe('another tenant', () => {
  test('with the same names has its own endpoints, runs and deliveries', async () => {
    const { b } = line.api.keys;
    await line.write(line.partnerFolder, { 'tenants/a.csv': 'for both' });
    await line.apply(line.endpoints() + copyPipeline('copy-all', 'partner:/{{folder}}/**', 'landing:/b/{{folder}}/'), {
      key: b,
      secrets: line.endpointSecrets(),
    });
    const runA = await line.run('copy-all', { folder: 'tenants' });
    const runB = await line.run('copy-all', { folder: 'tenants' }, b);
    expect([runA.counts.files, runB.counts.files]).toEqual([1, 1]);
    const { body } = await line.api.graphql(
      b,
      'query($id: ID!) { run(id: $id) { id } runs(first: 100) { edges { node { id } } } }',
      { id: runA.id },
    );
    expect(body.data.run).toBeNull();
    expect(body.data.runs.edges.map((edge: { node: { id: string } }) => edge.node.id)).toEqual([runB.id]);
  });
});

function sum(runs: EndedRun[], count: keyof EndedRun['counts']): number {
  return runs.reduce((total, run) => total + run.counts[count], 0);
}
