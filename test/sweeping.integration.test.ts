import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ensureSchedules } from '../cli/services/schedules.ts';
import { rowId } from '../schema/names.ts';
import { type Line, startLine } from './servers/line.ts';

let line: Line;
const schedule = () => line.api.temporal.schedule.getHandle('waybill/sweep');

beforeAll(async () => {
  line = await startLine();
});
afterAll(() => line?.stop());

const sql = <Row extends Record<string, unknown>>(statement: string, values: unknown[] = []) => {
  const { tenantId } = line.api.database.tenants.a;
  return line.api.database.store.sql(tenantId, (connection) => connection.query<Row>(statement, values));
};

/** `slow` and `acme-sftp` lead to the same folders. */
function endpoints(bandwidth: string): string {
  const { host, port, username, hostKeyFingerprint } = line.partner;
  const sftp = (name: string, at: number, more: string) => `endpoint: ${name}
apiVersion: waybill/v1
connector: sftp
config: { host: ${host}, port: ${at}, username: ${username}, root: ${line.partnerFolder}, hostKeys: ["${hostKeyFingerprint}"] }
secrets: { privateKey: { file: ./key } }
${more}
---
`;
  // Nobody listens on port 1. By its name it is swept before the others.
  return line.endpoints() + sftp('a-dead-one', 1, '') + sftp('slow', port, bandwidth);
}

const pipeline = (name: string, target: string, more = '') => `pipeline: ${name}
apiVersion: waybill/v1
endpoints: { from: landing-zone, to: ${target} }
steps:
  - id: copy
    use: transfer.copy@1
    with: { from: "from:/${name}/*", to: "to:/in/"${more} }
    retry: { attempts: 1 }
---
`;

async function apply(bandwidth: string): Promise<void> {
  const { privateKey: value } = line.partner;
  const secrets = ['a-dead-one', 'slow'].map((name) => ({ kind: 'endpoint', name, secret: 'privateKey', value }));
  const pipelines = pipeline('refused', 'acme-sftp') + pipeline('lost', 'a-dead-one') + pipeline('large', 'slow');
  await line.apply(endpoints(bandwidth) + pipelines, { secrets: [...line.endpointSecrets(), ...secrets] });
}

/** Makes the file look as if nobody had touched it for two days. */
async function age(file: string): Promise<void> {
  const then = Date.now() / 1000 - 2 * 86_400;
  await utimes(file, then, then);
}

async function leave(folder: string): Promise<string> {
  const name = `.waybill-${randomUUID()}-1.part`;
  await writeFile(path.join(folder, name), 'half of a fi');
  await age(path.join(folder, name));
  return name;
}

async function decide(mutation: 'pauseRun' | 'resumeRun', id: string): Promise<void> {
  const query = `mutation($input: DecideRunInput!) { answer: ${mutation}(input: $input) { __typename ... on UserError { message } } }`;
  const { body } = await line.api.graphql(line.api.keys.a, query, { input: { id } });
  expect(body.errors).toBeUndefined();
  expect(body.data.answer.message).toBeUndefined();
}

interface SweptEvent extends Record<string, unknown> {
  outcome: string;
  data: { endpoint: string; removed: number; folders: number; error: { kind: string } | null };
}

const sweptEvents = () =>
  sql<SweptEvent>(
    `select outcome, data from audit_event where type = 'endpoint.swept' order by data->>'endpoint' collate "C"`,
  );

test('what a killed worker left is removed by the schedule; what a paused run goes on with stays; a dead endpoint holds up nobody', async () => {
  await apply('limits: { bandwidth: 4MB }');
  const [partner, landing] = [line.partnerFolder, line.landingFolder];
  const content = randomBytes(48 * 1024 * 1024);
  await line.write(landing, { 'refused/a.csv': 'new', 'lost/b.csv': 'b', 'large/c.bin': content });
  await line.write(partner, { 'in/a.csv': 'old' });
  expect(await line.run('refused')).toMatchObject({ status: 'failed', error: { kind: 'exists' } });
  expect(await line.run('lost')).toMatchObject({ status: 'failed', error: { kind: 'unavailable' } });
  const orphan = await leave(path.join(partner, 'in'));
  await mkdir(path.join(partner, 'elsewhere'));
  const notOurs = await leave(path.join(partner, 'elsewhere'));

  const large = await line.start('large');
  const unfinished = () =>
    sql<{ state: string; token: { path: string } | null }>(
      'select state, sink_token as token from delivery where run_id = $1::uuid',
      [rowId('run', large)],
    );
  await expect.poll(async () => (await unfinished())[0]?.token ?? null, { timeout: 20_000 }).not.toBeNull();
  await decide('pauseRun', large);
  await expect.poll(async () => (await unfinished())[0]!.state, { timeout: 20_000 }).not.toBe('copying');
  const kept = path.basename((await unfinished())[0]!.token!.path);
  await age(path.join(partner, 'in', kept));

  await schedule().trigger();
  await expect.poll(async () => (await sweptEvents()).length, { timeout: 30_000 }).toBe(3);
  expect((await readdir(path.join(partner, 'in'))).sort()).toEqual([kept, 'a.csv'].sort());
  expect(await readdir(path.join(partner, 'elsewhere'))).toEqual([notOurs]);
  expect(orphan).not.toBe(kept);
  const [dead, ...alive] = await sweptEvents();
  expect(dead).toMatchObject({ outcome: 'failure', data: { endpoint: 'a-dead-one', error: { kind: 'unavailable' } } });
  const sweep = { folders: 1, olderThan: '24h', error: null };
  expect(alive).toMatchObject([
    { outcome: 'success', data: { endpoint: 'acme-sftp', ...sweep } },
    { outcome: 'success', data: { endpoint: 'slow', ...sweep } },
  ]);
  // Whichever came first.
  expect(alive.map(({ data }) => data.removed).sort()).toEqual([0, 1]);

  await apply('');
  await decide('resumeRun', large);
  expect(await line.wait(large)).toMatchObject({ status: 'succeeded', counts: { files: 1 } });
  expect((await readFile(path.join(partner, 'in/c.bin'))).equals(content)).toBe(true);
});

test('a schedule gets the term of the worker that started last, stays paused when somebody paused it, and goes when it is to be never', async () => {
  const { temporal } = line.api;
  const every = async () => (await schedule().describe()).spec.intervals?.map((interval) => interval.every);
  const sweep = { id: 'waybill/sweep', workflowType: 'sweepEndpoints', catchUpMs: 3_600_000 };
  expect(await every()).toEqual([86_400_000]);
  await schedule().pause('maintenance');
  await ensureSchedules(temporal, [{ ...sweep, everyMs: 3_600_000 }]);
  expect(await every()).toEqual([3_600_000]);
  expect((await schedule().describe()).state).toMatchObject({ paused: true, note: 'maintenance' });
  await ensureSchedules(temporal, [{ ...sweep, everyMs: null }]);
  await ensureSchedules(temporal, [{ ...sweep, everyMs: null }]);
  await expect(every()).rejects.toThrow();
});
