import { readdir, stat, truncate } from 'node:fs/promises';
import path from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { limits } from '../api/limits.ts';
import { sweepSessions } from '../identity/sessions/sweepSessions.ts';
import { publicId } from '../schema/names.ts';
import { type Line, startLine } from './servers/line.ts';
import { facts, hashOf, password, type SignIns, signInsAt } from './servers/signIns.ts';

let line: Line;
let signIns: SignIns;
/** What a person is promised: no byte moves any more so long after a session has ended. */
const stopsWithinMs = 5_000;
const slowFileBytes = 64 * 2 ** 20;

beforeAll(async () => {
  line = await startLine();
  signIns = await signInsAt(line.api);
  const { host, port, username, hostKeyFingerprint, privateKey } = line.partner;
  const slow = `endpoint: slow
apiVersion: waybill/v1
connector: sftp
config: { host: ${host}, port: ${port}, username: ${username}, root: ${line.partnerFolder}, hostKeys: ["${hostKeyFingerprint}"] }
secrets: { privateKey: { file: ./key } }
limits: { bandwidth: 1MB }
---
`;
  const pipeline = (name: string, to: string, steps = '') => `pipeline: ${name}
apiVersion: waybill/v1
inputs: { folder: { type: string } }
endpoints: { from: landing-zone, to: ${to} }
steps:
  - { id: copy, use: transfer.copy@1, with: { from: "from:/\${{ inputs.folder }}/*", to: "to:/\${{ inputs.folder }}/" } }
${steps}---
`;
  const more = `  - { id: other, use: session.open@1, with: { application: 1002 } }
  - { id: back, use: transfer.copy@1, with: { from: "to:/\${{ inputs.folder }}/a.csv", to: "from:/back/" } }
  - { use: files.delete@1, with: { at: "from:/\${{ inputs.folder }}/a.csv" } }
  - { use: audit.write@1, with: { event: orders.done, data: {} } }
`;
  await line.apply(line.endpoints() + slow + pipeline('slowly', 'slow') + pipeline('quickly', 'acme-sftp', more), {
    secrets: [...line.endpointSecrets(), { kind: 'endpoint', name: 'slow', secret: 'privateKey', value: privateKey }],
  });
});
afterAll(() => line?.stop());

const sql = <Row extends Record<string, unknown>>(statement: string, values: unknown[] = []) =>
  line.api.database.asOwner<Row>(statement, values);

/** A run that moves bytes for more than a minute, once its first have arrived. */
async function startSlowly(folder: string, sessionId: string): Promise<string> {
  await line.write(line.landingFolder, { [`${folder}/large.bin`]: '' });
  await truncate(path.join(line.landingFolder, folder, 'large.bin'), slowFileBytes);
  const runId = await line.start('slowly', { folder }, sessionId);
  await expect.poll(() => bytesIn(folder), { timeout: 20_000, interval: 50 }).toBeGreaterThan(0);
  return runId;
}

const openAs = async (userName: string) => (await signIns.open({ userName, applicationId: 1002 })).sessionId as string;

/** Bytes that have arrived at the partner, under whatever name. */
async function bytesIn(folder: string): Promise<number> {
  const at = path.join(line.partnerFolder, folder);
  const names = await readdir(at).catch(() => []);
  const sizes = await Promise.all(
    names.map((name) =>
      stat(path.join(at, name)).then(
        ({ size }) => size,
        () => 0,
      ),
    ),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

const eventsOf = (runId: string) =>
  sql<{
    type: string;
    data: Record<string, unknown>;
    clientVersion: string;
    ip: string;
    userString: string;
    impersonator: string | null;
  }>(
    `select e.type, e.data, e.client_version as "clientVersion", e.ip_address as ip, e.user_string as "userString",
            i.name as impersonator
       from audit_event e left join principal i on i.id = e.impersonator_id
      where 'run_' || replace(e.run_id::text, '-', '') = $1 order by e.created_at, e.id`,
    [runId],
  );

describe('the end of a session stops its runs within 5 s, and the events say so', () => {
  const rowOf = async (sessionId: string) =>
    publicId(
      'session',
      (await sql<{ id: string }>('select id from session where token_hash = $1', [hashOf(sessionId)]))[0]!.id,
    );
  const mutate = (mutation: string) => line.api.graphql(line.api.keys.a, `mutation { ${mutation} { __typename } }`);
  const ways: Record<string, { end: (sessionId: string) => Promise<unknown>; reason: string }> = {
    closed: { end: (sessionId) => signIns.close(sessionId), reason: 'closed' },
    replaced: { end: () => openAs('anna'), reason: 'replaced' },
    'closed by an operator': {
      end: async (sessionId) => mutate(`closeSession(input: { id: "${await rowOf(sessionId)}" })`),
      reason: 'closed by an operator',
    },
    'of a disabled user': {
      end: () => mutate('disableUser(input: { userName: "anna" })'),
      reason: 'the user was disabled',
    },
  };

  test.each(Object.entries(ways))('%s', { timeout: 60_000 }, async (name, { end, reason }) => {
    const folder = name.replaceAll(' ', '-');
    const sessionId = await openAs('anna');
    const runId = await startSlowly(folder, sessionId);
    const other = name === 'closed' ? await startSlowly(`${folder}-of-ben`, await openAs('ben')) : null;
    const began = performance.now();
    await end(sessionId);
    const { status } = await line.wait(runId);
    expect(performance.now() - began).toBeLessThan(stopsWithinMs);
    expect(status).toBe('cancelled');
    // What was written is removed, and nothing comes after it.
    expect(await bytesIn(folder)).toBe(0);
    const events = await eventsOf(runId);
    expect(events.find(({ type }) => type === 'run.cancel-requested')!.data).toMatchObject({
      pipeline: 'slowly',
      reason: `the session that started it has ended: ${reason}`,
      session: await rowOf(sessionId),
    });
    expect(events.map(({ type }) => type)).toContain('run.cancelled');
    // The run of another session goes on.
    if (other !== null) {
      const { body } = await line.api.graphql(line.api.keys.a, `{ run(id: "${other}") { status cancelRequestedAt } }`);
      expect(body.data.run).toEqual({ status: 'running', cancelRequestedAt: null });
      await mutate(`cancelRun(input: { id: "${other}" })`);
    }
    await mutate('enableUser(input: { userName: "anna" })');
  });

  const grant = '(input: { account: "relay", action: actAs, target: "ben" })';
  test.each<[string, (serviceSessionId: string) => Promise<unknown>, string]>([
    ['service session', (serviceSessionId) => signIns.close(serviceSessionId), 'the service session ended'],
    ['grant', () => mutate(`revokeGrant${grant}`), 'the right to act as the user has ended'],
    [
      'role',
      () => mutate('changeUser(input: { userName: "relay", role: "auditor" })'),
      'the right to act as the user has ended',
    ],
  ])('of a %s: what was started in the name of others stops too', { timeout: 60_000 }, async (what, end, reason) => {
    await mutate(`grantAccount${grant}`);
    const { sessionId: serviceSessionId } = await signIns.openImmutable({ userName: 'relay' });
    const userId = signIns.userIds.ben;
    const { sessionId } = await signIns.call('openImmutableImpersonate', { serviceSessionId, userId, ...facts });
    const runId = await startSlowly(`by-${what.replace(' ', '-')}`, sessionId);
    const began = performance.now();
    await end(serviceSessionId);
    expect((await line.wait(runId)).status).toBe('cancelled');
    expect(performance.now() - began).toBeLessThan(stopsWithinMs);
    expect(await signIns.codeOf(sessionId)).toBe('401 SESSION_ENDED');
    const asked = (await eventsOf(runId)).find(({ type }) => type === 'run.cancel-requested');
    expect(asked!.data.reason).toBe(`the session that started it has ended: ${reason}`);
  });

  test('also while Temporal is away: who ends it is answered, and its runs are told when Temporal is back', {
    timeout: 60_000,
  }, async () => {
    const sessionId = await openAs('anna');
    const runId = await startSlowly('away', sessionId);
    const url = await line.api.startAnother({ temporalIsAway: true });
    expect(await signIns.call('close', { sessionId }, url)).toEqual({ __typename: 'ClosePayload', closed: true });
    expect(await signIns.codeOf(sessionId)).toBe('401 SESSION_ENDED');
    expect((await eventsOf(runId)).map(({ type }) => type)).toContain('run.cancel-requested');
    const [row] = await sql<{ status: string }>(
      `update run set cancel_requested_at = cancel_requested_at - interval '1 minute'
        where 'run_' || replace(id::text, '-', '') = $1 returning status`,
      [runId],
    );
    expect(row).toEqual({ status: 'running' });
    await line.api.temporal.schedule.getHandle('waybill/reconcile').trigger();
    expect((await line.wait(runId)).status).toBe('cancelled');
  });

  test('and none is started with it any more', async () => {
    const sessionId = await openAs('anna');
    await signIns.close(sessionId);
    await expect(line.start('slowly', { folder: 'never' }, sessionId)).rejects.toThrow('SESSION_ENDED');
  });
});

describe('a run that is started while its session ends', () => {
  /** Somebody else's transaction, which is in the way until it is let go. */
  async function holding(statement: string, values: unknown[]): Promise<() => Promise<void>> {
    const client = new pg.Client({ connectionString: line.api.database.ownerUrl });
    await client.connect();
    await client.query('begin');
    await client.query(statement, values);
    return async () => {
      await client.query('commit');
      await client.end();
    };
  }
  const waiting = async () =>
    (
      await sql<{ count: number }>(
        `select count(*)::int as count from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
      )
    )[0]!.count;
  /** Until so many wait for a lock, or the work is done that should have waited. */
  async function untilWaiting(count: number, work: Promise<unknown>): Promise<void> {
    let isDone = false;
    const note = () => {
      isDone = true;
    };
    work.then(note, note);
    await expect.poll(async () => isDone || (await waiting()) >= count, { timeout: 20_000, interval: 20 }).toBe(true);
  }

  test('after it is not there: the start waits for the end that is under way', async () => {
    const sessionId = await openAs('anna');
    const letGo = await holding(`update session set ended_at = now(), end_reason = 'closed' where token_hash = $1`, [
      hashOf(sessionId),
    ]);
    const started = line.start('slowly', { folder: 'too-late' }, sessionId);
    await untilWaiting(1, started);
    await letGo();
    await expect(started).rejects.toThrow('SESSION_ENDED');
    const runs = await sql(`select 1 from run where inputs->>'folder' = 'too-late'`);
    expect(runs).toEqual([]);
  });

  test('before it is cancelled: the end waits for the start that is under way', { timeout: 60_000 }, async () => {
    const sessionId = await openAs('anna');
    // The row of a run refers to its version: it cannot be written as long as somebody has that.
    const letGo = await holding(
      `select v.id from pipeline_version v join pipeline p on p.id = v.pipeline_id and p.live_version_hash = v.hash
        where p.name = 'slowly' for update of v`,
      [],
    );
    const started = line.start('slowly', { folder: 'just-in-time' }, sessionId);
    await untilWaiting(1, started);
    const closed = signIns.close(sessionId);
    await untilWaiting(2, closed);
    await letGo();
    const runId = await started;
    expect(await closed).toMatchObject({ closed: true });
    expect((await eventsOf(runId)).map(({ type }) => type)).toContain('run.cancel-requested');
    expect((await line.wait(runId)).status).toBe('cancelled');
  });
});

test('who watches a run is shown no more within seconds of the session’s end, and told how it ended', {
  timeout: 60_000,
}, async () => {
  const runId = await startSlowly('watched', line.api.keys.a);
  const { sessionId } = await signIns.open();
  const response = await fetch(line.api.url, {
    method: 'POST',
    headers: { authorization: `Bearer ${sessionId}`, 'content-type': 'application/json', accept: 'text/event-stream' },
    body: JSON.stringify({ query: `subscription { runUpdated(id: "${runId}") { status } }` }),
  });
  let told = '';
  let endedAt = 0;
  for await (const chunk of response.body!) {
    told += new TextDecoder().decode(chunk);
    if (endedAt > 0 || !told.includes('"status":"running"')) continue;
    await signIns.open();
    endedAt = performance.now();
  }
  expect(performance.now() - endedAt).toBeLessThan(2 * limits.watchAuthorisedMs);
  expect(told).toContain('"code":"SESSION_REPLACED"');
  await line.api.graphql(line.api.keys.a, `mutation { cancelRun(input: { id: "${runId}" }) { __typename } }`);
  await line.wait(runId);
});

describe('what a sign-in says of itself', () => {
  test('stands with both actors in every event of its runs: "the value is recorded" "on each file upload, download file delete operation", and on each transfer', async () => {
    const { sessionId: serviceSessionId } = await signIns.openImmutable({ userName: 'olga' });
    const { sessionId } = await signIns.call('openImmutableUserString', {
      ...{ serviceSessionId, userId: signIns.userIds.ben, applicationId: 1001, clientVersion: 'AcmeDrop 4.2' },
      ...{ ipAddress: '203.0.113.9', userString: 'Jörg of ACME' },
    });
    await line.write(line.landingFolder, { 'said/a.csv': 'a' });
    const run = await line.run('quickly', { folder: 'said' }, sessionId);
    expect(run.status, JSON.stringify(run.error)).toBe('succeeded');
    const events = await eventsOf(run.id);
    const types = events.map(({ type }) => type);
    // There and back: an upload and a download.
    expect(types.filter((type) => type === 'delivery.published')).toHaveLength(2);
    for (const type of [
      'run.started',
      'delivery.published',
      'file.deleted',
      'transfer.completed',
      'session.opened',
      'orders.done',
      'run.completed',
    ])
      expect(types).toContain(type);
    for (const { type, ...event } of events)
      expect(event, type).toMatchObject({
        clientVersion: 'AcmeDrop 4.2',
        ip: '203.0.113.9',
        userString: 'Jörg of ACME',
        impersonator: 'olga',
      });
    const { body } = await line.api.graphql(
      line.api.keys.a,
      `{ run(id: "${run.id}") { auditEvents(first: 100) { edges { node { startedBy { name } impersonator { name } userString session { parent { principal { name } } } } } } } }`,
    );
    for (const { node } of body.data.run.auditEvents.edges)
      expect(node).toEqual({
        startedBy: { name: 'ben' },
        impersonator: { name: 'olga' },
        userString: 'Jörg of ACME',
        session: { parent: { principal: { name: 'ben' } } },
      });
    const [opened] = await sql<{ userString: string }>(
      `select user_string as "userString" from session where 'run_' || replace(run_id::text, '-', '') = $1`,
      [run.id],
    );
    expect(opened).toEqual({ userString: 'Jörg of ACME' });
  });

  test('is that of who retries, not of who had started the run', async () => {
    const starter = (await signIns.openImmutable({ clientVersion: 'first' })).sessionId;
    const runId = await startSlowly('again', starter);
    await line.api.graphql(starter, `mutation { cancelRun(input: { id: "${runId}" }) { __typename } }`);
    await line.wait(runId);
    const retrier = (await signIns.openImmutable({ userName: 'ben', clientVersion: 'second' })).sessionId;
    const { body } = await line.api.graphql(
      retrier,
      `mutation { retryRun(input: { id: "${runId}", idempotencyKey: "again" }) { ... on StartRunPayload { run { id } } } }`,
    );
    const { id } = body.data.retryRun.run;
    await expect.poll(async () => (await eventsOf(id)).map(({ type }) => type)).toContain('run.started');
    await signIns.close(retrier);
    expect((await line.wait(id)).status).toBe('cancelled');
    expect(new Set((await eventsOf(id)).map(({ clientVersion }) => clientVersion))).toEqual(new Set(['second']));
  });
});

describe('the clean-up after 48 hours', () => {
  const in49Hours = () => new Date(Date.now() + 49 * 3_600_000);
  const stateOf = async (sessionId: string) =>
    (
      await sql<{ endReason: string | null }>('select end_reason as "endReason" from session where token_hash = $1', [
        hashOf(sessionId),
      ])
    )[0]!.endReason;

  test('spares the sessions of live runs, their own and those above them, until the runs have ended', async () => {
    const { store } = line.api.database;
    const { sessionId: serviceSessionId } = await signIns.openImmutable({ userName: 'olga', password });
    const given = { serviceSessionId, userId: signIns.userIds.ben, ...facts };
    const { sessionId } = await signIns.call('openImmutableImpersonate', given);
    const idle = (await signIns.openImmutable()).sessionId;
    const runId = await startSlowly('spared', sessionId);
    await sweepSessions(store, in49Hours());
    expect([await stateOf(serviceSessionId), await stateOf(sessionId), await stateOf(idle)]).toEqual([
      null,
      null,
      'expired',
    ]);
    const own = await sql(
      `select 1 from session s join run r on r.session_id = s.id where r.status = 'running' and s.ended_at is null`,
    );
    expect(own).toHaveLength(1);
    await line.api.graphql(line.api.keys.a, `mutation { cancelRun(input: { id: "${runId}" }) { __typename } }`);
    await line.wait(runId);
    await sweepSessions(store, in49Hours());
    expect([await stateOf(serviceSessionId), await stateOf(sessionId)]).toEqual(['expired', 'expired']);
  });

  test('is the work of a schedule, also of a session that nobody uses', async () => {
    const { sessionId } = await signIns.openImmutable();
    await sql(`update session set expires_at = now() - interval '1 second' where token_hash = $1`, [hashOf(sessionId)]);
    await line.api.temporal.schedule.getHandle('waybill/reconcile').trigger();
    await expect.poll(() => stateOf(sessionId), { timeout: 20_000 }).toBe('expired');
  });

  test('closes the session of a run that is gone without having ended it, whatever its age', async () => {
    const { store } = line.api.database;
    const [orphan] = await sql<{ id: string }>(
      `insert into session (tenant_id, principal_id, application_id, kind, expires_at)
       select tenant_id, id, 10, 'concurrent', now() + interval '1 hour' from principal where name = 'anna' returning id`,
    );
    expect((await sweepSessions(store, new Date())).orphaned).toBe(1);
    const [row] = await sql<{ reason: string }>('select end_reason as reason from session where id = $1', [orphan!.id]);
    expect(row!.reason).toBe('its run is gone');
    const told = await sql(`select 1 from audit_event where session_id = $1 and type = 'session.closed'`, [orphan!.id]);
    expect(told).toHaveLength(1);
  });
});
