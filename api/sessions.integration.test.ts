import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newSessionText } from '../identity/sessions/sessionText.ts';
import { type ApiProcess, startApiProcess } from '../test/servers/apiProcess.ts';
import { facts, hashOf, password, type SignIns, startSignIns } from '../test/servers/signIns.ts';
import { startTemporal, type TestTemporal } from '../test/servers/temporal.ts';

let signIns: SignIns;
beforeAll(async () => {
  signIns = await startSignIns();
});
afterAll(() => signIns?.api.close());

describe('a session', () => {
  test('of a disabled user ends, and with it what others do in his name', async () => {
    await signIns.createUser('tim', 'operator');
    const { sessionId } = await signIns.open({ userName: 'tim' });
    const { sessionId: serviceSessionId } = await signIns.openImmutable({ userName: 'olga' });
    const [tim] = await signIns.api.database.asOwner<{ id: number }>(
      `select user_number as id from principal where name = 'tim'`,
    );
    const asTim = await signIns.call('openImmutableImpersonate', { serviceSessionId, userId: tim!.id, ...facts });
    const disable = 'mutation { disableUser(input: { userName: "tim" }) { __typename } }';
    expect((await signIns.api.graphql(signIns.api.keys.a, disable)).body.data.disableUser.__typename).toBe(
      'UserPayload',
    );
    for (const ended of [sessionId, asTim.sessionId]) expect(await signIns.codeOf(ended)).toBe('401 SESSION_ENDED');
    expect(await signIns.codeOf(serviceSessionId)).toBe('alive');
    expect(await signIns.open({ userName: 'tim' })).toMatchObject({ code: 'SIGN_IN_REFUSED' });
  });

  test('of a suspended tenant is no good, nobody signs in there, and after it both go on', async () => {
    const { sessionId } = await signIns.openImmutable();
    await signIns.api.database.asOwner(`update tenant set suspended_at = now() where name = 'tenant-a'`);
    expect(await signIns.codeOf(sessionId)).toBe('401 SESSION_ENDED');
    expect(await signIns.openImmutable()).toMatchObject({ code: 'SIGN_IN_REFUSED' });
    await signIns.api.database.asOwner(`update tenant set suspended_at = null where name = 'tenant-a'`);
    expect(await signIns.codeOf(sessionId)).toBe('alive');
  });

  test('that is replaceable expires when it was not used for a week, and after 30 days', async () => {
    const { sessionId, expiresAt } = await signIns.open();
    expect((Date.parse(expiresAt) - Date.now()) / 86_400_000).toBeCloseTo(30, 1);
    const age = (column: string, days: number) =>
      signIns.api.database.asOwner(
        `update session set ${column} = now() - $2::int * interval '1 day' where token_hash = $1`,
        [hashOf(sessionId), days],
      );
    await age('last_used_at', 6);
    expect(await signIns.codeOf(sessionId)).toBe('alive');
    await age('last_used_at', 8);
    expect(await signIns.codeOf(sessionId)).toBe('401 SESSION_EXPIRED');
    await age('last_used_at', 0);
    await age('expires_at', 1);
    expect(await signIns.codeOf(sessionId)).toBe('401 SESSION_EXPIRED');
  });

  test('shows the runs that it has started, and no others', async () => {
    const { sessionId } = await signIns.openImmutable();
    const { sessionId: other } = await signIns.openImmutable();
    for (const [run, text] of [
      ['mine', sessionId],
      ['theirs', other],
    ])
      await signIns.api.database.asOwner(
        `insert into run (tenant_id, pipeline_name, status, trigger, workflow_id, created_by, started_by_session)
         select tenant_id, $2::text, 'succeeded', 'manual', tenant_id || '/' || $2::text || '/1', principal_id, id
           from session where token_hash = $1`,
        [hashOf(text!), run],
      );
    const query =
      '{ viewer { sessionId } sessions(first: 2) { edges { node { id runs { edges { node { pipeline } } } } } } }';
    const { body } = await signIns.api.graphql(sessionId, query);
    const own = body.data.sessions.edges.find(
      ({ node }: { node: { id: string } }) => node.id === body.data.viewer.sessionId,
    );
    expect(own.node.runs.edges).toEqual([{ node: { pipeline: 'mine' } }]);
  });

  test('notes its use at most once a minute', async () => {
    const { sessionId } = await signIns.open();
    const used = async () =>
      (
        await signIns.api.database.asOwner<{ at: Date | null }>(
          'select last_used_at as at from session where token_hash = $1',
          [hashOf(sessionId)],
        )
      )[0]!.at;
    expect(await used()).toBeNull();
    await signIns.viewer(sessionId);
    const first = await used();
    expect(first).not.toBeNull();
    await signIns.viewer(sessionId);
    expect(await used()).toEqual(first);
  });

  test('that is garbled, cut or invented is refused like a bad key, without a word of why', async () => {
    const { sessionId } = await signIns.open();
    const { body: unknown } = await signIns.viewer('garbage');
    for (const bad of [sessionId.slice(0, -1), `${sessionId}0`, sessionId.toLowerCase(), newSessionText(), 'wbs_'])
      expect(await signIns.viewer(bad)).toMatchObject({ status: 401, body: unknown });
  });
});

describe('two API processes at once', () => {
  let temporal: TestTemporal;
  const processes: ApiProcess[] = [];
  let urls: string[];
  beforeAll(async () => {
    temporal = await startTemporal();
    const start = async () => processes.push(await startApiProcess(signIns.api.database, temporal));
    await Promise.all([start(), start()]);
    urls = processes.map(({ url }) => url);
  });
  afterAll(async () => {
    await Promise.all(processes.map((process) => process.stop()));
    await temporal?.stop();
  });

  test('800 sign-ins of one user and application leave one live session, and none fails', {
    timeout: 180_000,
  }, async () => {
    const given = { userName: 'olga', password, applicationId: 21 };
    const opened = await Promise.all(
      Array.from({ length: 800 }, (_, index) => signIns.call('open', given, urls[index % 2])),
    );
    for (const session of opened) expect(session, JSON.stringify(session)).toHaveProperty('sessionId');
    const texts = new Set(opened.map(({ sessionId }) => sessionId as string));
    expect(texts.size).toBe(800);
    const rows = await signIns.api.database.asOwner<{ hash: Buffer; live: boolean; reason: string | null }>(
      `select s.token_hash as hash, s.ended_at is null as live, s.end_reason as reason
         from session s join principal p on p.id = s.principal_id
        where p.name = 'olga' and s.application_id = 21`,
    );
    expect(rows).toHaveLength(800);
    const [live, ...others] = rows.filter((row) => row.live);
    expect(others).toEqual([]);
    expect(new Set(rows.filter((row) => !row.live).map(({ reason }) => reason))).toEqual(new Set(['replaced']));
    const [alive, over] = [true, false].map((isLive) =>
      opened.find(({ sessionId }) => hashOf(sessionId).equals(live!.hash) === isLive),
    );
    expect([await signIns.codeOf(alive.sessionId), await signIns.codeOf(over.sessionId)]).toEqual([
      'alive',
      '401 SESSION_REPLACED',
    ]);
  });

  test('give one session of SFTP to who signs in at both', async () => {
    // Both wait for the user's row, and would go on at the same instant if nothing else kept them apart.
    const inTheWay = new pg.Client({ connectionString: signIns.api.database.ownerUrl });
    await inTheWay.connect();
    await inTheWay.query(`begin; select id from principal where name = 'ben' for update`);
    const given = { userName: 'ben', password, applicationId: 30 };
    const opening = Promise.all(urls.map((url) => signIns.call('openImmutable', given, url)));
    const waiting = `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
    await expect
      .poll(async () => (await signIns.api.database.asOwner(waiting)).length, { timeout: 20_000, interval: 20 })
      .toBe(2);
    await inTheWay.query('commit');
    await inTheWay.end();
    const [one, other] = await opening;
    expect(other.sessionId).toBe(one.sessionId);
    expect(await signIns.codeOf(one.sessionId)).toBe('alive');
  });

  test.each([1, 2])('take a ticket once, by whichever mutation it is shown: version %i', async (version) => {
    const { api } = signIns;
    const create = `mutation { createIntegration(input: { name: "portal-${version}", site: "x", legacy: true }) { __typename } }`;
    await api.graphql(api.keys.a, create);
    const make = `mutation { createTicket(input: { integration: "portal-${version}", user: "ACME\\\\ben", version: ${version} }) { ... on TicketPayload { ticket } } }`;
    const { ticket } = (await api.graphql(api.keys.a, make)).body.data.createTicket;
    const given = { ticket, applicationId: 21 };
    const answers = await Promise.all(
      [0, 1, 2, 3, 4, 5, 6, 7].map((index) =>
        index < 4
          ? signIns.call('openWithTicket', given, urls[index % 2])
          : signIns.call('openWithTicketEx', { ...given, emailAddress: 'ben@example.com' }, urls[index % 2]),
      ),
    );
    const codes = answers.map(({ __typename, code }) => code ?? __typename).sort();
    expect(codes).toEqual(['SessionData', ...Array.from({ length: 7 }, () => 'TICKET_REFUSED')]);
    expect((await signIns.denials()).slice(-7).map(({ reason }) => reason)).toEqual(Array(7).fill('used'));
  });

  test('of the same new e-mail address make one user', async () => {
    const { api } = signIns;
    const make = (index: number) =>
      `mutation { createTicket(input: { integration: "portal-2", user: "ACME\\\\${index}", version: 2 }) { ... on TicketPayload { ticket } } }`;
    const tickets = await Promise.all(
      [0, 1, 2, 3, 4, 5].map(
        async (index) => (await api.graphql(api.keys.a, make(index))).body.data.createTicket.ticket,
      ),
    );
    const opened = await Promise.all(
      tickets.map((ticket, index) =>
        signIns.call(
          'openWithTicketEx',
          { ticket, applicationId: 21, emailAddress: index % 2 === 0 ? 'Nina@New.example' : 'nina@new.EXAMPLE' },
          urls[index % 2],
        ),
      ),
    );
    expect(new Set(opened.map(({ userId }) => userId)).size).toBe(1);
    expect(opened[0].user).toMatchObject({ role: 'uploader', userName: 'nina@new.example' });
    const created = await api.database.asOwner(
      `select 1 from audit_event where type = 'user.created' and data->>'email' ilike 'nina@%'`,
    );
    expect(created).toHaveLength(1);
  });
});
