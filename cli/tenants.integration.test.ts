import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '../connectors/conformance/steps.ts';
import { taskQueues } from '../schema/workflow.ts';
import { waybill } from '../test/commandLine.ts';
import { plantRows } from '../test/plantedRows.ts';
import { post } from '../test/servers/api.ts';
import { type Line, startLine } from '../test/servers/line.ts';
import type { Removal } from './services/tenants.ts';

let line: Line;
let folder: string;
let environment: Record<string, string>;
beforeAll(async () => {
  line = await startLine();
  folder = await mkdtemp(path.join(tmpdir(), 'waybill-tenants-'));
  environment = {
    DATABASE_OWNER_URL: line.api.database.ownerUrl,
    DATABASE_URL: line.api.database.applicationUrl,
    TEMPORAL_ADDRESS: line.temporal.address,
  };
});
afterAll(async () => {
  await line?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** The JSON of `waybill tenants ...`; fails with what it says on stderr. */
async function tenants<Answer>(...words: string[]): Promise<Answer> {
  const { code, stdout, stderr } = await waybill(['tenants', ...words, '--json'], { environment });
  expect([code, stderr.split('\n').filter((text) => !/^\(|^$/.test(text))], stdout).toEqual([0, []]);
  return JSON.parse(stdout) as Answer;
}

const endless = `pipeline: endless
apiVersion: waybill/v1
steps:
  - { use: audit.write@1, with: { event: pace.begun } }
  - wait: 1h
`;

/** A tenant that `tenants create` made, with a run that goes on. */
async function createBusy(name: string): Promise<{ tenantId: string; key: string; run: string }> {
  const file = path.join(folder, name);
  const { tenantId } = await tenants<{ tenantId: string }>('create', name, '--api-key-file', file);
  const key = (await readFile(file, 'utf8')).trim();
  await line.apply(endless, { key });
  return { tenantId, key, run: await startEndless(key) };
}

async function startEndless(key: string): Promise<string> {
  const run = await line.start('endless', {}, key);
  await eventually(async () => {
    const { body } = await line.api.graphql(key, 'query($id: ID!) { run(id: $id) { status } }', { id: run });
    expect(body.data.run.status).toBe('running');
  });
  return run;
}

const viewer = (key: string) => post(line.api.url, key, JSON.stringify({ query: '{ viewer { tenant } }' }));
const ofTenant = (tenantId: string) => `WorkflowId STARTS_WITH '${tenantId}/'`;

describe('tenants create', () => {
  test('gives a key, a one-time password and the names that it is reached under', async () => {
    const file = path.join(folder, 'key-of-west');
    const words = ['create', 'west', '--host', 'west.example', '--host', 'files.west.example', '--api-key-file', file];
    const made = await tenants<Record<string, unknown>>(...words);
    expect(made).toEqual({
      tenant: 'west',
      tenantId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      hosts: ['west.example', 'files.west.example'],
      owner: 'owner',
      oneTimePassword: expect.stringMatching(/^[\w-]{20}$/),
      apiKeyFile: file,
    });
    expect((await viewer((await readFile(file, 'utf8')).trim())).body.data.viewer.tenant).toBe('west');
    expect(await waybill(['tenants', 'create', 'west'], { environment })).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining('there is a tenant west already'),
    });
  });

  test('makes nothing when there is a file where the key is to be', async () => {
    const file = path.join(folder, 'kept');
    await writeFile(file, 'mine');
    const { code } = await waybill(['tenants', 'create', 'south', '--api-key-file', file], { environment });
    expect([code, await readFile(file, 'utf8')]).toEqual([1, 'mine']);
    expect(await line.api.database.asOwner(`select from tenant where name = 'south'`)).toHaveLength(0);
  });

  test('makes nothing when no file can be where the key is to be, and no file when nothing is made', async () => {
    const create = (name: string, file: string) =>
      waybill(['tenants', 'create', name, '--api-key-file', path.join(folder, file)], { environment });
    expect(await create('south', 'nowhere/key')).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining('nowhere/key cannot be written (ENOENT)'),
    });
    expect(await line.api.database.asOwner(`select from tenant where name = 'south'`)).toHaveLength(0);
    expect((await create('west', 'second-key')).stderr).toContain('there is a tenant west already');
    expect(existsSync(path.join(folder, 'second-key'))).toBe(false);
  });

  test('says which settings are missing when it stands nowhere', async () => {
    const { code, stderr } = await waybill(['tenants', 'create', 'nowhere'], { cwd: folder });
    expect([code, stderr]).toEqual([2, expect.stringContaining('DATABASE_OWNER_URL is not set')]);
  });
});

describe('tenants list', () => {
  const system = () => ({ ...environment, DATABASE_SYSTEM_URL: line.api.database.systemUrl });
  const list = async (...words: string[]) => {
    const { code, stdout } = await waybill(['tenants', 'list', ...words, '--json'], { environment: system() });
    expect(code).toBe(0);
    return JSON.parse(stdout) as { items: { tenant: string }[]; next: string | null };
  };

  test('shows each tenant with its state, when it was made and what it is reached under', async () => {
    await tenants('suspend', 'west');
    const { items, next } = await list();
    expect(next).toBeNull();
    expect(items.find(({ tenant }) => tenant === 'west')).toEqual({
      tenant: 'west',
      tenantId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      state: 'suspended',
      createdAt: expect.stringMatching(/Z$/),
      suspendedAt: expect.stringMatching(/Z$/),
      sites: ['/t/west/', 'files.west.example', 'west.example'],
      isDefault: false,
    });
    await tenants('resume', 'west');
    expect((await list()).items.find(({ tenant }) => tenant === 'west')).toMatchObject({
      state: 'open',
      suspendedAt: null,
    });
    const { stdout } = await waybill(['tenants', 'list'], { environment: system() });
    expect(stdout).toMatch(/^NAME +STATE +CREATED +SITES\n/);
    expect(stdout).toMatch(/^west +open +\S+Z +\/t\/west\/ files\.west\.example west\.example$/m);
  });

  test('goes on page by page, in the order of the names', async () => {
    const all = (await list()).items.map(({ tenant }) => tenant);
    expect(all).toEqual([...all].sort());
    const first = await list('--first', '1');
    expect([first.items[0]!.tenant, first.next]).toEqual([all[0], all[0]]);
    const rest = await list('--after', first.next!);
    expect(rest.items.map(({ tenant }) => tenant)).toEqual(all.slice(1));
  });

  test('says which setting it lacks: no other role sees more than one tenant', async () => {
    expect(await waybill(['tenants', 'list'], { environment })).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining('DATABASE_SYSTEM_URL is not set'),
    });
  });
});

describe('tenants suspend and resume', () => {
  test('refuse its key and cancel its run within seconds, and let it in again', { timeout: 120_000 }, async () => {
    const { key, run } = await createBusy('east');
    expect(await tenants('suspend', 'east')).toMatchObject({ tenant: 'east', sessions: 0, runs: 1 });
    const refused = await viewer(key);
    expect([refused.status, refused.body.errors[0].extensions.code]).toEqual([401, 'TENANT_SUSPENDED']);
    const statuses = () => line.api.database.asOwner(`select status from run where pipeline_name = 'endless'`);
    await eventually(async () => expect(await statuses()).toEqual([{ status: 'cancelled' }]));
    expect(await tenants('resume', 'east')).toEqual({ tenant: 'east', resumed: true });
    expect((await line.wait(run, key)).auditEvents.edges.map(({ node }) => node.type)).toContain(
      'run.cancel-requested',
    );
  });
});

describe('tenants delete', () => {
  test('refuses another name the second time, and while runs go on', { timeout: 120_000 }, async () => {
    const { key } = await createBusy('stubborn');
    const refused = (...words: string[]) => waybill(['tenants', 'delete', 'stubborn', ...words], { environment });
    expect(await refused('--yes-delete', 'stuborn')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('stuborn is not stubborn; nothing was deleted'),
    });
    for (const words of [[], ['--yes-delete', 'stubborn']])
      expect(await refused(...words)).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('1 runs of the tenant'),
      });
    expect((await viewer(key)).status).toBe(200);
  });

  test('removes every row and every workflow, counts none, and touches no other tenant', {
    timeout: 180_000,
  }, async () => {
    const { a } = line.api.database.tenants;
    const other = await createBusy('neighbour');
    const { tenantId, key } = await createBusy('doomed');
    // What it has had before: a run that has ended, a row in every table, and work of other kinds.
    await line.api.graphql(key, '{ viewer { tenant } }');
    await plantRows(line.api.database, { tenantId, principalId: a.principalId });
    const { workflow, schedule } = line.api.temporal;
    const start = (workflowId: string) =>
      workflow.start('webhookRetry', { workflowId, taskQueue: 'nobody-polls', args: [] });
    await start(`${tenantId}/webhook/one`);
    await start(`${a.tenantId}/webhook/one`);
    const action = { type: 'startWorkflow' as const, workflowType: 'x', taskQueue: taskQueues.system, args: [] };
    for (const id of [tenantId, a.tenantId])
      await schedule.create({ scheduleId: `${id}/nightly`, action, spec: { intervals: [{ every: '1d' }] } });

    const othersBefore = await rowsOf(other.tenantId);
    const removal = await tenants<Removal & { tenant: string }>(...['delete', 'doomed', '--cancel-runs']);
    expect(removal).toMatchObject({ tenant: 'doomed', tenantId, remaining: 0, workflows: 2, remainingWorkflows: 0 });
    expect(removal.schedules).toBe(1);
    expect(Object.entries(removal.removed).filter(([, count]) => count === 0)).toEqual([]);
    expect(Object.keys(removal.removed)).toEqual(expect.arrayContaining(['tenant', 'run', 'audit_event', 'secret']));

    expect(await rowsOf(tenantId)).toEqual({});
    expect((await workflow.count(ofTenant(tenantId))).count).toBe(0);
    expect([401, 'UNAUTHENTICATED']).toEqual(
      await viewer(key).then(({ status, body }) => [status, body.errors[0].extensions.code]),
    );
    // The others: their rows, their runs, their other work.
    expect(await rowsOf(other.tenantId)).toEqual(othersBefore);
    expect((await workflow.count(`${ofTenant(other.tenantId)} and ExecutionStatus = 'Running'`)).count).toBe(1);
    expect((await workflow.getHandle(`${a.tenantId}/webhook/one`).describe()).status.name).toBe('RUNNING');
    await schedule.getHandle(`${a.tenantId}/nightly`).describe();
    await expect(schedule.getHandle(`${tenantId}/nightly`).describe()).rejects.toThrow();
    expect((await viewer(other.key)).status).toBe(200);
    expect(await waybill(['tenants', 'delete', 'doomed', '--yes-delete', 'doomed'], { environment })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('there is no tenant "doomed"'),
    });
  });

  test('removes nothing when Temporal does not answer', async () => {
    const away = { ...environment, TEMPORAL_ADDRESS: '127.0.0.1:1' };
    const words = ['tenants', 'delete', 'west', '--yes-delete', 'west'];
    expect(await waybill(words, { environment: away })).toMatchObject({ code: 3 });
    expect(await line.api.database.asOwner(`select suspended_at from tenant where name = 'west'`)).toEqual([
      { suspended_at: null },
    ]);
  });

  /** Rows of a tenant in all tables, besides those of what goes on by itself. */
  async function rowsOf(tenantId: string): Promise<Record<string, number>> {
    const counts: Record<string, number> = {};
    const tables = await line.api.database.asOwner<{ name: string; key: string }>(
      `select table_name as name, column_name as key from information_schema.columns join information_schema.tables using (table_schema, table_name)
        where table_schema = 'public' and table_type = 'BASE TABLE'
          and (column_name = 'tenant_id' or (table_name = 'tenant' and column_name = 'id'))`,
    );
    for (const { name, key } of tables) {
      const [row] = await line.api.database.asOwner<{ count: number }>(
        `select count(*)::int as count from ${name} where ${key} = $1`,
        [tenantId],
      );
      if (row!.count > 0) counts[name] = row!.count;
    }
    return counts;
  }
});

describe('tenants export', () => {
  test('prints the counts of what it wrote, and of a state folder that nobody serves nothing', async () => {
    const target = path.join(folder, 'export-of-a');
    const written = await tenants<{ tables: Record<string, number>; rows: number }>(
      'export',
      'tenant-a',
      '--folder',
      target,
    );
    expect(written.tables).toMatchObject({ tenant: 1, api_key: 1 });
    expect(written.rows).toBe(Object.values(written.tables).reduce((sum, count) => sum + count, 0));
    expect(existsSync(path.join(target, 'manifest.json'))).toBe(true);
    const words = ['tenants', 'export', 'tenant-a', '--json'];
    const byItself = await waybill(words, { environment, cwd: folder });
    expect(JSON.parse(byItself.stdout).folder).toBe('tenant-a-export');
    expect(existsSync(path.join(folder, 'tenant-a-export/manifest.json'))).toBe(true);
    const nowhere = await waybill(['tenants', 'export', 'tenant-a', '--folder', folder, '--state', folder], {
      environment,
    });
    expect([nowhere.code, nowhere.stderr]).toEqual([3, expect.stringContaining('does not run on')]);
  });
});
