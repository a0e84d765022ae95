import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newSessionText } from '../identity/sessions/sessionText.ts';
import { facts, hashOf, password, type SignIns, startSignIns } from '../test/servers/signIns.ts';

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

describe('two processes at once', () => {
  let urls: string[];
  beforeAll(async () => {
    urls = [signIns.api.url, await signIns.api.startAnother()];
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
