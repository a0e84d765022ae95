import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addGrant } from '../identity/grants.ts';
import { publicId } from '../schema/names.ts';
import type { ConcurrencyPolicy, Json, Plan } from '../schema/plan.ts';
import { createTestDatabase, type TestDatabase, type TestTenant } from '../test/servers/database.ts';
import { beginRun, controlRun, finishRun } from './run.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

let names = 0;
const inOne = (policy: Partial<ConcurrencyPolicy>): Partial<Plan> => ({
  concurrency: { key: `key-${++names}`, limit: 1, onLimit: 'queue', ...policy },
});

/** A published version, and a function that records a run of it as `startRun` does. */
async function publish(tenant: TestTenant, of: Partial<Plan> = {}) {
  const { tenantId, principalId } = tenant;
  const pipeline = `p-${++names}`;
  const plan: Plan = {
    language: 'waybill/v1',
    pipeline,
    description: null,
    labels: {},
    inputs: {},
    endpoints: {},
    session: { application: 10, as: null },
    vars: {},
    concurrency: null,
    steps: [],
    onError: [],
    finally: [],
    outputs: {},
    ...of,
  };
  const [row] = await database.store.sql(tenantId, (sql) =>
    sql.query<{ id: string }>(
      `with p as (insert into pipeline (tenant_id, name, live_version_hash) values ($1::uuid, $2::text, 'h') returning id)
       insert into pipeline_version (tenant_id, pipeline_id, hash, source, plan, published_by)
       select $1::uuid, id, 'h', '', $3::jsonb, $4::uuid from p returning id`,
      [tenantId, pipeline, JSON.stringify(plan), principalId],
    ),
  );
  return async (inputs: Record<string, Json> = {}) => {
    const [run] = await database.store.sql(tenantId, (sql) =>
      sql.query<{ id: string; workflowId: string }>(
        `insert into run (tenant_id, version_id, pipeline_name, status, trigger, inputs, workflow_id, created_by)
         values ($1::uuid, $2::uuid, $3::text, 'starting', 'manual', $4::jsonb, gen_random_uuid()::text, $5::uuid)
         returning id, workflow_id as "workflowId"`,
        [tenantId, row!.id, pipeline, JSON.stringify(inputs), principalId],
      ),
    );
    const start = { tenantId, runId: run!.id };
    return {
      ...run!,
      begin: () => beginRun(database.store, start),
      control: () => controlRun(database.store, start),
      finish: (status: 'succeeded' | 'partial' | 'cancelled' = 'succeeded') =>
        finishRun(database.store, { ...start, status, error: null, outputs: null }),
      row: async () => {
        const [found] = await database.store.sql(tenantId, (sql) =>
          sql.query('select * from run where id = $1::uuid', [run!.id]),
        );
        return found!;
      },
      events: () =>
        database.store.sql(tenantId, (sql) =>
          sql.query<{ type: string; outcome: string; principal_id: string; data: Record<string, Json> }>(
            'select type, outcome, principal_id, data from audit_event where run_id = $1::uuid order by created_at, id',
            [run!.id],
          ),
        ),
    };
  };
}

describe('a run without concurrency', () => {
  test('begins at once, says the same when asked again, and ends as partial with the event of a completed run', async () => {
    const start = await publish(database.tenants.a);
    const run = await start();
    const first = await run.begin();
    expect(first).toMatchObject({ state: 'running', paused: false, retry: null, run: { id: publicId('run', run.id) } });
    expect(await run.begin()).toEqual(first);
    expect(await run.finish('partial')).toMatchObject({ status: 'partial', wake: [] });
    expect((await run.events()).map(({ type, outcome }) => `${type} ${outcome}`)).toEqual([
      'session.opened success',
      'run.started success',
      'run.completed success',
      'session.closed success',
    ]);
    await expect(run.begin()).rejects.toMatchObject({ kind: 'invalid', message: expect.stringContaining('partial') });
  });
});

describe('runs of one concurrency key', () => {
  test('queue: go on one after the other in the order in which they were started, whoever asks first', async () => {
    const start = await publish(database.tenants.a, inOne({ onLimit: 'queue' }));
    const [first, second, third] = [await start(), await start(), await start()];
    expect((await first.begin()).state).toBe('running');
    const waiting = await third.begin();
    expect(waiting).toMatchObject({ state: 'waiting', cancel: [] });
    expect(await second.begin()).toMatchObject({ message: expect.stringContaining(publicId('run', first.id)) });
    expect(await third.begin()).toMatchObject({ message: expect.stringContaining('1 before it') });
    expect(await second.row()).toMatchObject({ status: 'starting', waiting_for: expect.stringContaining('limit 1') });

    expect((await first.finish()).wake).toEqual([second.workflowId]);
    // Told again, as after a lost answer.
    expect((await first.finish()).wake).toEqual([second.workflowId]);
    expect((await third.begin()).state).toBe('waiting');
    expect((await second.begin()).state).toBe('running');
    expect((await second.row()).waiting_for).toBeNull();
    expect((await second.finish()).wake).toEqual([third.workflowId]);
    expect((await third.begin()).state).toBe('running');
  });

  test('a limit of two lets two go on, and wakes as many as there is room for', async () => {
    const start = await publish(database.tenants.a, inOne({ limit: 2 }));
    const runs = [await start(), await start(), await start(), await start(), await start()];
    const states = [];
    for (const run of runs) states.push((await run.begin()).state);
    expect(states).toEqual(['running', 'running', 'waiting', 'waiting', 'waiting']);
    expect((await runs[0]!.finish()).wake).toEqual([runs[2]!.workflowId]);
    expect((await runs[1]!.finish()).wake).toEqual([runs[2]!.workflowId, runs[3]!.workflowId]);
  });

  test('twenty that ask at the same time never hold the key together', async () => {
    const start = await publish(database.tenants.a, inOne({ limit: 3 }));
    const runs = await Promise.all(Array.from({ length: 20 }, () => start()));
    const answers = await Promise.all(runs.map((run) => run.begin()));
    expect(answers.filter(({ state }) => state === 'running').length).toBe(3);
  });

  test('skip: one that finds no room is refused as a conflict, with an event, and stays so', async () => {
    const start = await publish(database.tenants.a, inOne({ onLimit: 'skip' }));
    const [first, second] = [await start(), await start()];
    await first.begin();
    const refused = await second.begin();
    expect(refused).toMatchObject({
      state: 'refused',
      failure: { kind: 'conflict', message: expect.stringContaining(publicId('run', first.id)) },
    });
    expect(await second.begin()).toEqual(refused);
    expect(await second.row()).toMatchObject({ status: 'refused', ended_at: expect.any(Date), session_id: null });
    expect(await second.events()).toMatchObject([{ type: 'run.refused', outcome: 'failure' }]);
    expect((await first.finish()).wake).toEqual([]);
    expect((await (await start()).begin()).state).toBe('running');
  });

  test('cancel-oldest: asks the oldest to end, says why and for whom, and waits for its end', async () => {
    const start = await publish(database.tenants.a, inOne({ limit: 2, onLimit: 'cancel-oldest' }));
    const [first, second, third] = [await start(), await start(), await start()];
    await first.begin();
    await second.begin();
    expect(await third.begin()).toMatchObject({ state: 'waiting', cancel: [first.workflowId] });
    // The workflow that should have told it may have died: it is named until it has ended, the event is one.
    expect(await third.begin()).toMatchObject({ cancel: [first.workflowId] });
    const asked = (await first.events()).filter(({ type }) => type === 'run.cancel-requested');
    expect(asked).toMatchObject([
      {
        principal_id: database.tenants.a.principalId,
        data: { replacedBy: publicId('run', third.id), reason: expect.stringContaining('key-') },
      },
    ]);
    expect((await first.finish('cancelled')).wake).toEqual([third.workflowId]);
    expect((await third.begin()).state).toBe('running');
  });

  test('cancel-oldest: of two that wait, the older one gives way too', async () => {
    const start = await publish(database.tenants.a, inOne({ onLimit: 'cancel-oldest' }));
    const [first, second, third] = [await start(), await start(), await start()];
    await first.begin();
    await second.begin();
    expect(await third.begin()).toMatchObject({ cancel: [first.workflowId, second.workflowId] });
    expect((await first.finish('cancelled')).wake).toEqual([third.workflowId]);
    await second.finish('cancelled');
    expect((await third.begin()).state).toBe('running');
  });

  test('the key is filled from inputs, vars and run; runs that fill it differently do not wait for each other', async () => {
    const start = await publish(database.tenants.a, {
      inputs: { partner: { type: 'string', required: true } },
      vars: { lane: '${{ inputs.partner }}-${{ run.pipeline }}' },
      ...inOne({ key: 'lane ${{ vars.lane }}' }),
    });
    const [acme, globex, again] = [
      await start({ partner: 'acme' }),
      await start({ partner: 'globex' }),
      await start({ partner: 'acme' }),
    ];
    expect((await acme.begin()).state).toBe('running');
    expect((await globex.begin()).state).toBe('running');
    expect(await again.begin()).toMatchObject({
      state: 'waiting',
      message: expect.stringContaining(`lane acme-${(await acme.row()).pipeline_name}`),
    });
  });

  test.each([
    ['empty', '${{ inputs.key }}', ''],
    ['no text', '${{ inputs.key }}', 5],
    ['201 characters', '${{ inputs.key }}', 'x'.repeat(201)],
    ['an expression that fails', '${{ inputs.none.such }}', ''],
  ] as const)('a key that is %s refuses the run as invalid', async (_, key, value) => {
    const start = await publish(database.tenants.a, { concurrency: { key, limit: 1, onLimit: 'queue' } });
    const run = await start({ key: value });
    expect(await run.begin()).toMatchObject({ state: 'refused', failure: { kind: 'invalid' } });
    expect(await run.row()).toMatchObject({ status: 'refused' });
  });

  test('another tenant has keys of its own', async () => {
    const policy = inOne({ limit: 1 });
    const [ofA, ofB] = [await publish(database.tenants.a, policy), await publish(database.tenants.b, policy)];
    const [a, b] = [await ofA(), await ofB()];
    expect((await a.begin()).state).toBe('running');
    expect((await b.begin()).state).toBe('running');
    const next = await ofB();
    expect((await next.begin()).state).toBe('waiting');
    expect((await a.finish()).wake).toEqual([]);
    expect((await b.finish()).wake).toEqual([next.workflowId]);
  });
});

describe('what a run may do is checked again when it begins', () => {
  const account = async (tenant: TestTenant, role = 'service') => {
    const name = `svc-${++names}`;
    const [row] = await database.store.sql(tenant.tenantId, (sql) =>
      sql.query<{ id: string }>(
        `insert into principal (tenant_id, kind, name, role) values ($1::uuid, 'service', $2::text, $3::text) returning id`,
        [tenant.tenantId, name, role],
      ),
    );
    return { name, id: row!.id, tenantId: tenant.tenantId, principalId: row!.id };
  };
  const endpoint = async ({ tenantId }: TestTenant) => {
    const name = `place-${++names}`;
    await database.store.sql(tenantId, (sql) =>
      sql.query(
        `insert into connector_endpoint (tenant_id, name, connector, config, content_hash) values ($1::uuid, $2::text, 'local', '{}', 'h')`,
        [tenantId, name],
      ),
    );
    return name;
  };
  const grant = (to: { tenantId: string; id: string }, action: 'actAs' | 'use', target: string) =>
    database.store.sql(to.tenantId, (sql) =>
      addGrant(sql, to.tenantId, {
        principalId: to.id,
        action,
        target,
        createdBy: database.tenants.a.principalId,
      }),
    );

  test('it acts as the account that it names, and the events name all who are behind it', async () => {
    const { a } = database.tenants;
    const service = await account(a);
    const place = await endpoint(a);
    await grant(service, 'use', place);
    const start = await publish(a, { endpoints: { place }, session: { application: 10, as: service.name } });
    const run = await start();
    expect((await run.begin()).state).toBe('running');
    const owner = publicId('principal', a.principalId);
    for (const event of await run.events())
      expect(event).toMatchObject({
        principal_id: service.id,
        data: { startedBy: owner, publishedBy: owner, as: service.name },
      });
  });

  test('an account without the right on an endpoint, one that is gone or disabled, a removed endpoint and an application that is none refuse it', async () => {
    const { a, b } = database.tenants;
    const [service, disabled, foreign] = [await account(a), await account(a), await account(b)];
    await database.store.sql(a.tenantId, (sql) =>
      sql.query('update principal set disabled_at = now() where id = $1::uuid', [disabled.id]),
    );
    const place = await endpoint(a);
    await database.asOwner(
      `insert into application (tenant_id, id, name, disabled_at) values ($1::uuid, 1002, 'gone', now())`,
      [a.tenantId],
    );
    const cases: Array<[Partial<Plan>, string, RegExp]> = [
      [
        { endpoints: { place }, session: { application: 10, as: service.name } },
        'forbidden',
        /may not use the endpoint/,
      ],
      [{ session: { application: 10, as: disabled.name } }, 'forbidden', /is disabled/],
      [{ session: { application: 10, as: 'svc-nobody' } }, 'not-found', /no account "svc-nobody"/],
      [{ session: { application: 10, as: foreign.name } }, 'not-found', /no account/],
      [{ endpoints: { place: 'place-gone' } }, 'not-found', /place-gone was removed/],
      [{ session: { application: 12, as: null } }, 'invalid', /reserved/],
      [{ session: { application: 1002, as: null } }, 'invalid', /disabled/],
      [{ session: { application: 1003, as: null } }, 'invalid', /waybill apps register --id 1003/],
    ];
    for (const [plan, kind, message] of cases) {
      const run = await (await publish(a, plan))();
      expect(await run.begin()).toMatchObject({
        state: 'refused',
        failure: { kind, message: expect.stringMatching(message) },
      });
      expect(await run.row()).toMatchObject({ status: 'refused', session_id: null });
    }
  });

  test('a publisher needs the right to act as another account, and grants of one tenant mean nothing in another', async () => {
    const { a, b } = database.tenants;
    const engineer = await account(a, 'engineer');
    const service = await account(a);
    const start = await publish(engineer, { session: { application: 10, as: service.name } });
    expect(await (await start()).begin()).toMatchObject({
      failure: { kind: 'forbidden', message: expect.stringContaining(`--act-as ${service.name}`) },
    });
    const namesake = await account(b, 'engineer');
    await grant(namesake, 'actAs', service.name);
    expect((await (await start()).begin()).state).toBe('refused');
    await grant(engineer, 'actAs', service.name);
    expect((await (await start()).begin()).state).toBe('running');
  });
});

describe('what a session has said of itself', () => {
  const said = { client_version: 'AcmeDrop 4.2', user_string: 'E7' };
  const eventsSaying = (runId: string) =>
    database.asOwner<{ type: string }>(
      'select type, client_version, user_string from audit_event where run_id = $1::uuid order by created_at, id',
      [runId],
    );
  /** The run, as if a session had started it. */
  async function bySession(run: { id: string }): Promise<void> {
    await database.asOwner(
      `with s as (
         insert into session (tenant_id, principal_id, application_id, kind, expires_at, method, client_version, user_string)
         select tenant_id, created_by, 20, 'concurrent', now() + interval '1 hour', 'openImmutable', $2, $3 from run where id = $1::uuid
         returning id)
       update run set started_by_session = s.id from s where run.id = $1::uuid`,
      [run.id, said.client_version, said.user_string],
    );
  }

  test('stands in the events of its runs that never begin, and of those that they end', async () => {
    const skip = await publish(database.tenants.a, inOne({ onLimit: 'skip' }));
    await (await skip()).begin();
    const refused = await skip();
    await bySession(refused);
    expect((await refused.begin()).state).toBe('refused');
    expect(await eventsSaying(refused.id)).toEqual([{ type: 'run.refused', ...said }]);

    const queue = await publish(database.tenants.a, inOne({ onLimit: 'queue' }));
    await (await queue()).begin();
    const cancelled = await queue();
    await bySession(cancelled);
    expect((await cancelled.begin()).state).toBe('waiting');
    await cancelled.finish('cancelled');
    expect(await eventsSaying(cancelled.id)).toEqual([{ type: 'run.cancelled', ...said }]);

    const replace = await publish(database.tenants.a, inOne({ onLimit: 'cancel-oldest' }));
    const [oldest, newest] = [await replace(), await replace()];
    await oldest.begin();
    await bySession(newest);
    expect((await newest.begin()).state).toBe('waiting');
    expect((await eventsSaying(oldest.id)).at(-1)).toEqual({ type: 'run.cancel-requested', ...said });
  });
});

describe('a paused run', () => {
  test('is told who paused it, when and why; what is read is pending no more', async () => {
    const start = await publish(database.tenants.a);
    const run = await start();
    expect(await run.control()).toEqual({ paused: false, message: null });
    await database.store.sql(database.tenants.a.tenantId, (sql) =>
      sql.query(
        `update run set paused_at = '2026-11-22T10:00:00Z', paused_by = created_by, pause_reason = 'wait for ACME', control_pending = true
          where id = $1::uuid`,
        [run.id],
      ),
    );
    expect(await run.begin()).toMatchObject({ state: 'running', paused: true });
    expect(await run.control()).toEqual({
      paused: true,
      message: 'paused by owner since 2026-11-22 10:00:00Z: wait for ACME',
    });
    expect((await run.row()).control_pending).toBe(false);
    await run.finish('cancelled');
    expect(await run.control()).toEqual({ paused: false, message: null });
  });
});
