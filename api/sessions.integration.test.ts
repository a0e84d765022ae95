import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createOpenSession } from '../identity/sessions/openSession.ts';
import { newSessionText } from '../identity/sessions/sessionText.ts';
import { openStore } from '../prisma/store.ts';
import { silentLog } from '../test/servers/database.ts';
import { facts, hashOf, type SignIns, startSignIns } from '../test/servers/signIns.ts';

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

describe('many at once', () => {
  test('800 sign-ins of one user and application in two processes leave one live session, and none fails', {
    timeout: 120_000,
  }, async () => {
    const { store: first, tenants, applicationUrl, systemUrl, asOwner } = signIns.api.database;
    const { secretBox } = signIns.api;
    const second = openStore({ applicationUrl, systemUrl, log: silentLog });
    const [user] = await asOwner<{ principalId: string; userNumber: number; name: string; role: string }>(
      `select id as "principalId", user_number as "userNumber", name, role from principal
        where name = 'ben' and tenant_id = $1::uuid`,
      [tenants.a.tenantId],
    );
    const openers = [first, second].map((store) => createOpenSession({ store, secretBox }));
    const session = {
      tenantId: tenants.a.tenantId,
      user: user!,
      applicationId: 1002,
      method: 'open',
      kind: 'replaceable',
      clientVersion: null,
      ipAddress: null,
      userString: null,
      impersonation: null,
    } as const;
    const opened = await Promise.all(Array.from({ length: 800 }, (_, index) => openers[index % 2]!(session)));
    await second.close();
    expect(new Set(opened.map(({ text }) => text)).size).toBe(800);
    const states = await asOwner<{ live: boolean; count: number }>(
      `select ended_at is null as live, count(*)::int as count from session
        where principal_id = $1::uuid and application_id = 1002 and kind = 'replaceable' group by 1 order by 1 desc`,
      [user!.principalId],
    );
    expect(states).toEqual([
      { live: true, count: 1 },
      { live: false, count: 799 },
    ]);
  });

  test('50 over HTTP with a password leave one live session, and none fails', { timeout: 60_000 }, async () => {
    const opened = await Promise.all(
      Array.from({ length: 50 }, () => signIns.open({ userName: 'olga', applicationId: 21 })),
    );
    for (const session of opened) expect(session.__typename).toBe('SessionData');
    const codes = await Promise.all(opened.map(({ sessionId }) => signIns.codeOf(sessionId)));
    expect(codes.filter((code) => code === 'alive')).toHaveLength(1);
    expect(codes.filter((code) => code === '401 SESSION_REPLACED')).toHaveLength(49);
  });
});
