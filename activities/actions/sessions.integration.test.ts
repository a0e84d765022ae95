import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { rowId } from '../../schema/names.ts';
import type { Json } from '../../schema/plan.ts';
import { createTestDatabase, type TestDatabase, type TestTenant } from '../../test/servers/database.ts';
import { finishRun } from '../run.ts';
import { closeSession, openSession } from './sessions.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database?.drop());

async function account(tenant: TestTenant, name: string, role = 'engineer'): Promise<TestTenant> {
  const principalId = randomUUID();
  await database.asOwner(
    `insert into principal (tenant_id, id, kind, name, role) values ($1::uuid, $2::uuid, 'user', $3::text, $4::text)`,
    [tenant.tenantId, principalId, name, role],
  );
  return { tenantId: tenant.tenantId, principalId };
}

/** A run that goes on, with its own session. */
async function newRun({ tenantId, principalId }: TestTenant): Promise<string> {
  const [runId, sessionId] = [randomUUID(), randomUUID()];
  await database.asOwner(
    `insert into session (tenant_id, id, principal_id, application_id, kind, expires_at)
     values ($1::uuid, $2::uuid, $3::uuid, 10, 'concurrent', now() + interval '1 hour')`,
    [tenantId, sessionId, principalId],
  );
  await database.asOwner(
    `insert into run (tenant_id, id, pipeline_name, status, trigger, workflow_id, created_by, session_id)
     values ($1::uuid, $2::uuid, 'orders', 'running', 'manual', $2::text, $3::uuid, $4::uuid)`,
    [tenantId, runId, principalId, sessionId],
  );
  return runId;
}

const step = ({ tenantId }: TestTenant, runId: string, given: Record<string, Json>, stepKey = 'steps[0]') => ({
  tenantId,
  runId,
  stepKey,
  with: given,
});
const sessionsOf = (runId: string) =>
  database.asOwner<{
    id: string;
    principalId: string;
    application: number;
    kind: string;
    ended: boolean;
    reason: string | null;
  }>(
    `select id, principal_id as "principalId", application_id as application, kind, ended_at is not null as ended, end_reason as reason
       from session where run_id = $1::uuid order by created_at`,
    [runId],
  );
const eventsOf = (runId: string) =>
  database.asOwner<{ type: string; data: Record<string, Json> }>(
    `select type, data from audit_event where run_id = $1::uuid and type like 'session.%' order by created_at, id`,
    [runId],
  );

test('a session is opened once for a step, however often the step is called, and closed once', async () => {
  const { store, tenants } = database;
  const runId = await newRun(tenants.a);
  const { session } = await openSession(store, step(tenants.a, runId, { application: 20 }));
  expect(await openSession(store, step(tenants.a, runId, { application: 20 }))).toEqual({ session });
  const other = await openSession(store, step(tenants.a, runId, {}, 'steps[1]'));
  expect(other.session).not.toBe(session);
  expect(await sessionsOf(runId)).toMatchObject([
    {
      id: rowId('session', session),
      principalId: tenants.a.principalId,
      application: 20,
      kind: 'concurrent',
      ended: false,
    },
    { application: 10, ended: false },
  ]);
  expect(await closeSession(store, step(tenants.a, runId, { session }, 'steps[2]'))).toEqual({ session, closed: true });
  expect(await closeSession(store, step(tenants.a, runId, { session }, 'steps[2]'))).toEqual({
    session,
    closed: false,
  });
  // A second opening of what was closed does not bring it back to life.
  expect(await openSession(store, step(tenants.a, runId, { application: 20 }))).toEqual({ session });
  expect(await sessionsOf(runId)).toMatchObject([{ ended: true, reason: 'closed by a step' }, { ended: false }]);
  expect((await eventsOf(runId)).map(({ type }) => type)).toEqual([
    'session.opened',
    'session.opened',
    'session.closed',
  ]);
});

test('under an application that is not registered none is opened', async () => {
  const { store, tenants } = database;
  const runId = await newRun(tenants.a);
  for (const application of [12, 4711, 2 ** 31])
    await expect(openSession(store, step(tenants.a, runId, { application }))).rejects.toMatchObject({
      kind: 'invalid',
      context: { code: 'APPLICATION_REFUSED' },
    });
  expect(await sessionsOf(runId)).toEqual([]);
});

test('as another account only where the account of the run may act as it, and the event names both', async () => {
  const { store, tenants } = database;
  const engineer = await account(tenants.a, 'an-engineer');
  const partner = await account(tenants.a, 'svc-partner');
  const runId = await newRun(engineer);
  const input = step(engineer, runId, { as: 'svc-partner' });
  await expect(openSession(store, input)).rejects.toMatchObject({
    kind: 'forbidden',
    message: /an-engineer may not act as svc-partner/,
  });
  await expect(openSession(store, step(engineer, runId, { as: 'svc-nobody' }))).rejects.toMatchObject({
    kind: 'not-found',
  });
  expect(await sessionsOf(runId)).toEqual([]);
  await database.asOwner(
    `insert into principal_grant (tenant_id, principal_id, action, target, created_by) values ($1::uuid, $2::uuid, 'actAs', 'svc-partner', $2::uuid)`,
    [engineer.tenantId, engineer.principalId],
  );
  const { session } = await openSession(store, input);
  expect(await sessionsOf(runId)).toMatchObject([{ principalId: partner.principalId }]);
  expect(await eventsOf(runId)).toMatchObject([{ type: 'session.opened', data: { as: 'svc-partner', session } }]);
});

test('a run closes only what it has opened: not its own session, not that of another run or tenant', async () => {
  const { store, tenants } = database;
  const [runId, otherRun, foreignRun] = [await newRun(tenants.a), await newRun(tenants.a), await newRun(tenants.b)];
  const { session: ofOther } = await openSession(store, step(tenants.a, otherRun, {}));
  const { session: foreign } = await openSession(store, step(tenants.b, foreignRun, {}));
  const [own] = await database.asOwner<{ id: string }>('select session_id as id from run where id = $1::uuid', [runId]);
  for (const session of [ofOther, foreign, `ses_${own!.id.replaceAll('-', '')}`, 'ses_1', ''])
    await expect(closeSession(store, step(tenants.a, runId, { session }))).rejects.toMatchObject({ kind: 'not-found' });
  expect([...(await sessionsOf(otherRun)), ...(await sessionsOf(foreignRun))].map(({ ended }) => ended)).toEqual([
    false,
    false,
  ]);
});

test('the end of the run ends what is left open, with an event for each, and opens nothing after it', async () => {
  const { store, tenants } = database;
  const [runId, otherRun] = [await newRun(tenants.a), await newRun(tenants.a)];
  const { session: open } = await openSession(store, step(tenants.a, runId, {}));
  const { session: shut } = await openSession(store, step(tenants.a, runId, {}, 'steps[1]'));
  await openSession(store, step(tenants.a, otherRun, {}));
  await closeSession(store, step(tenants.a, runId, { session: shut }));
  await finishRun(store, { tenantId: tenants.a.tenantId, runId, status: 'failed', error: null, outputs: null });
  const ended = await sessionsOf(runId);
  expect(ended.map(({ reason }) => reason).sort()).toEqual(['closed by a step', 'run ended']);
  expect(await sessionsOf(otherRun)).toMatchObject([{ ended: false }]);
  const closings = (await eventsOf(runId)).filter(({ type }) => type === 'session.closed');
  expect(closings.filter(({ data }) => data.session === open)).toMatchObject([{ data: { reason: 'run ended' } }]);
  // One for each of the two, and one for the run's own.
  expect(closings).toHaveLength(3);
  await expect(openSession(store, step(tenants.a, runId, {}, 'steps[2]'))).rejects.toMatchObject({
    kind: 'invalid',
    message: /the run has ended/,
  });
});

test('the two tenants never get the same session for the same step', async () => {
  const { store, tenants } = database;
  const [one, other] = [await newRun(tenants.a), await newRun(tenants.b)];
  const first = await openSession(store, step(tenants.a, one, {}));
  const second = await openSession(store, step(tenants.b, other, {}));
  expect(first.session).not.toBe(second.session);
});
