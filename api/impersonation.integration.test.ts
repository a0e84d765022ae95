import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newSessionText } from '../identity/sessions/sessionText.ts';
import { facts, hashOf, password, type SignIns, startSignIns } from '../test/servers/signIns.ts';

let signIns: SignIns;
beforeAll(async () => {
  signIns = await startSignIns();
});
afterAll(() => signIns?.api.close());

describe('2.3.2.5 OpenImmutableImpersonate', () => {
  const impersonate = (serviceSessionId: string, userId: number, more: Record<string, unknown> = {}) =>
    signIns.call('openImmutableImpersonate', { serviceSessionId, userId, ...facts, ipAddress: '203.0.113.9', ...more });
  const service = async (userName = 'relay') => (await signIns.openImmutable({ userName })).sessionId;
  const allowTo = (target: string) =>
    signIns.api.database.asOwner(
      `insert into principal_grant (tenant_id, principal_id, action, target, created_by)
       select tenant_id, id, 'actAs', $1, id from principal where name = 'relay' and tenant_id = $2::uuid on conflict do nothing`,
      [target, signIns.api.database.tenants.a.tenantId],
    );
  const refused = { __typename: 'SignInRefusedError', code: 'IMPERSONATION_REFUSED' };

  test('"sign as a different user to perform and log the operation under the userID", the "ID of a user who will be impersonated by a service user": both stand in the audit log, with the "IP address of the client workstation or firewall"', async () => {
    await allowTo('ben');
    const { sessionId, userId, user } = await impersonate(await service(), signIns.userIds.ben, {
      reason: 'ticket 4711',
    });
    expect([userId, user.userName]).toEqual([signIns.userIds.ben, 'ben']);
    expect((await signIns.viewer(sessionId)).body.data.viewer.principal.name).toBe('ben');
    expect((await signIns.eventsOf(sessionId))[0]).toMatchObject({
      principal: 'ben',
      impersonator: 'relay',
      ip: '203.0.113.9',
      clientVersion: 'test 1.0',
      data: { method: 'openImmutableImpersonate', reason: 'ticket 4711' },
    });
  });

  test('"Active session for a user who has privileges to impersonate": others are refused, in the same words', async () => {
    const closed = await service();
    await signIns.close(closed);
    const without = await service('ben');
    for (const session of [without, newSessionText(), 'nonsense', signIns.api.keys.a])
      expect(await impersonate(session, signIns.userIds.ben)).toMatchObject(refused);
    // Who holds the text of a session that is over learns that it is.
    expect(await impersonate(closed, signIns.userIds.ben)).toMatchObject({ code: 'SESSION_ENDED' });
    expect(await impersonate(await service(), 99_999)).toMatchObject(refused);
  });

  test('it never climbs: not to a role that may more without a grant, and to an owner not even with one', async () => {
    await signIns.createUser('uma', 'uploader');
    expect(await impersonate(await service(), signIns.userIds.anna)).toMatchObject(refused);
    await allowTo('olga');
    expect(await impersonate(await service(), signIns.userIds.olga)).toMatchObject(refused);
    expect(await impersonate(await service('olga'), signIns.userIds.anna)).toMatchObject({
      user: { userName: 'anna' },
    });
    const [uma] = await signIns.api.database.asOwner<{ id: number }>(
      `select user_number as id from principal where name = 'uma'`,
    );
    expect(await impersonate(await service(), uma!.id)).toMatchObject({ user: { userName: 'uma' } });
  });

  test('it never climbs afterwards: when a role or a grant is another one, the session is over', async () => {
    const change = async (mutation: string) => {
      const { body } = await signIns.api.graphql(signIns.api.keys.a, `mutation { it: ${mutation} { __typename } }`);
      expect(body.data.it.__typename, JSON.stringify(body)).toMatch(/Payload$/);
    };
    const promoted = await signIns.createUser('promoted', 'uploader');
    const relay = await service();
    const asPromoted = await impersonate(relay, promoted);
    await change('changeUser(input: { userName: "promoted", role: "owner" })');
    expect(await signIns.codeOf(asPromoted.sessionId)).toBe('401 SESSION_ENDED');

    await change('grantAccount(input: { account: "relay", action: actAs, target: "anna" })');
    const asAnna = await impersonate(relay, signIns.userIds.anna);
    expect(await signIns.codeOf(asAnna.sessionId)).toBe('alive');
    await change('revokeGrant(input: { account: "relay", action: actAs, target: "anna" })');
    expect(await signIns.codeOf(asAnna.sessionId)).toBe('401 SESSION_ENDED');
    const ended = `select end_reason as reason from session where token_hash = $1`;
    expect(await signIns.api.database.asOwner(ended, [hashOf(asAnna.sessionId)])).toEqual([
      { reason: 'the right to act as the user has ended' },
    ]);

    await signIns.createUser('demoted', 'owner');
    const asOlga = await impersonate(await service('demoted'), signIns.userIds.olga);
    expect(await signIns.codeOf(asOlga.sessionId)).toBe('alive');
    await change('changeUser(input: { userName: "demoted", role: "operator" })');
    expect(await signIns.codeOf(asOlga.sessionId)).toBe('401 SESSION_ENDED');
  });

  test('it never nests, and makes no credentials', async () => {
    const { sessionId } = await impersonate(await service('olga'), signIns.userIds.olga);
    expect(await impersonate(sessionId, signIns.userIds.ben)).toMatchObject(refused);
    expect((await signIns.denials()).at(-1)).toMatchObject({ reason: 'nested' });
    for (const mutation of [
      'createApiKey(input: { name: "x" })',
      'createUser(input: { userName: "x", password: "0123456789ab" })',
      'createServiceAccount(input: { name: "xyz" })',
      'setSecret(input: { name: "x", value: "y" })',
      'setPassword(input: { password: "0123456789abc" })',
    ]) {
      const { body } = await signIns.api.graphql(sessionId, `mutation { it: ${mutation} { __typename } }`);
      expect(body.data?.it.__typename, mutation).toBe('ForbiddenError');
    }
    expect((await signIns.api.graphql(sessionId, '{ runs { edges { cursor } } }')).body.errors).toBeUndefined();
  });

  test('"New session is created as immutable, session concurrency will be allowed", "or can be closed by explicit Close web service call": and it ends with its service session', async () => {
    const parent = await service('olga');
    const [one, other] = [
      await impersonate(parent, signIns.userIds.ben),
      await impersonate(parent, signIns.userIds.anna),
    ];
    expect(await signIns.close(one.sessionId)).toMatchObject({ closed: true });
    expect([await signIns.codeOf(one.sessionId), await signIns.codeOf(other.sessionId)]).toEqual([
      '401 SESSION_ENDED',
      'alive',
    ]);
    await signIns.close(parent);
    expect(await signIns.codeOf(other.sessionId)).toBe('401 SESSION_ENDED');
  });

  test('a reason is asked for where the tenant asks for one, and an address has to be one', async () => {
    const parent = await service('olga');
    await signIns.api.database.asOwner(`update tenant set impersonation_reason = true where name = 'tenant-a'`);
    expect(await impersonate(parent, signIns.userIds.ben)).toMatchObject({ code: 'INVALID_INPUT', path: ['reason'] });
    expect(await impersonate(parent, signIns.userIds.ben, { reason: 'why not' })).toHaveProperty('sessionId');
    await signIns.api.database.asOwner(`update tenant set impersonation_reason = false where name = 'tenant-a'`);
    for (const ipAddress of ['here', '', '203.0.113.9, 10.0.0.1', `fe80::1%${'x'.repeat(1_000)}`])
      expect(await impersonate(parent, signIns.userIds.ben, { ipAddress }), ipAddress).toMatchObject({
        code: 'INVALID_INPUT',
        path: ['ipAddress'],
      });
  });

  test('a session of another site is none', async () => {
    await signIns.createUser('olga', 'owner', signIns.api.keys.b);
    const url = `${new URL(signIns.api.url).origin}/t/tenant-b/graphql`;
    const foreign = await signIns.call('openImmutable', { userName: 'olga', password, applicationId: 20 }, url);
    expect(await impersonate(foreign.sessionId, signIns.userIds.ben)).toMatchObject(refused);
    expect(await signIns.close(foreign.sessionId)).toMatchObject({ __typename: 'NotFoundError' });
    expect(await signIns.codeOf(foreign.sessionId)).toBe('alive');
  });
});
