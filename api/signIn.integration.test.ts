import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newSessionText } from '../identity/sessions/sessionText.ts';
import { sweepSessions } from '../identity/sessions/sweepSessions.ts';
import { rowId } from '../schema/names.ts';
import { post, startTestApi } from '../test/servers/api.ts';
import { facts, hashOf, password, type SignIns, startSignIns } from '../test/servers/signIns.ts';
import { limits } from './limits.ts';

let signIns: SignIns;
beforeAll(async () => {
  signIns = await startSignIns();
});
afterAll(() => signIns?.api.close());

describe('2.3.1 FTHSessionData', () => {
  test('"ID of a new session that is created in response to the call. Should be supplied as parameter to all subsequent web service calls"; "ID of Thru user account under which the connection is signed in"', async () => {
    const session = await signIns.open();
    expect(session).toMatchObject({
      __typename: 'SessionData',
      sessionId: expect.stringMatching(/^wbs_[0-9A-Za-z]{49}$/),
      userId: signIns.userIds.anna,
      user: { userName: 'anna', role: 'engineer', email: 'anna@example.com' },
    });
    const { body } = await signIns.viewer(session.sessionId);
    expect(body.data.viewer).toEqual({ tenant: 'tenant-a', principal: { name: 'anna' } });
  });

  test('only the SHA-256 of the session id is stored', async () => {
    const { sessionId } = await signIns.open();
    const [found] = await signIns.api.database.asOwner<{ text: string }>(
      `select (select string_agg(s::text, '') from session s) || (select string_agg(e::text, '') from audit_event e)
        || (select string_agg(c::text, '') from credential_index c) as text`,
    );
    expect(found!.text).not.toContain(sessionId.slice(4, 40));
    expect(found!.text).toContain(hashOf(sessionId).toString('hex'));
  });
});

describe('2.3.2.1 Open', () => {
  test('"Open call opens the server using username and password and creates a session for given ApplicationID"', async () => {
    const { sessionId } = await signIns.open({ applicationId: 1002 });
    const [opened] = await signIns.api.database.asOwner(
      `select s.application_id as application, s.kind, s.method from session s where token_hash = $1`,
      [hashOf(sessionId)],
    );
    expect(opened).toEqual({ application: 1002, kind: 'replaceable', method: 'open' });
    // The name in any case, the password to the letter.
    expect(await signIns.open({ userName: 'ANNA' })).toMatchObject({ userId: signIns.userIds.anna });
    expect(await signIns.open({ password: password.toUpperCase() })).toMatchObject({ code: 'SIGN_IN_REFUSED' });
  });

  test('"New ApplicationID value has to be added" by an "administrator"; it "should be picked by client developers", and is no secret', async () => {
    const register = (key: string) =>
      signIns.api.graphql(
        key,
        'mutation { registerApplication(input: { id: 4712, name: "AcmeDrop" }) { __typename } }',
      );
    expect(await signIns.open({ applicationId: 4712 })).toMatchObject({ code: 'APPLICATION_REFUSED' });
    const { sessionId: engineer } = await signIns.open();
    expect((await register(engineer)).body.data.registerApplication.__typename).toBe('ForbiddenError');
    const { sessionId: owner } = await signIns.open({ userName: 'olga' });
    expect((await register(owner)).body.data.registerApplication.__typename).toBe('ApplicationPayload');
    expect(await signIns.open({ applicationId: 4712 })).toHaveProperty('sessionId');
  });

  test('"The session is alive until the next sign-in is done using Open or OpenWithTicket for the same user and the same ApplicationID, then new session replaces the previous"', async () => {
    const first = await signIns.open();
    const second = await signIns.open();
    expect(await signIns.codeOf(first.sessionId)).toBe('401 SESSION_REPLACED');
    expect(await signIns.codeOf(second.sessionId)).toBe('alive');
    expect((await signIns.eventsOf(first.sessionId)).map(({ type }) => type)).toEqual([
      'session.opened',
      'session.replaced',
    ]);
  });

  test('"Different applications are allowed to sign in concurrently under the same user"', async () => {
    const first = await signIns.open({ applicationId: 1001 });
    const second = await signIns.open({ applicationId: 1002 });
    const other = await signIns.open({ userName: 'ben' });
    for (const { sessionId } of [first, second, other]) expect(await signIns.codeOf(sessionId)).toBe('alive');
  });

  test('"ApplicationID >=1000, values below 1000 are reserved for applications developed by Thru": unknown, reserved and disabled applications are refused, and it is an event', async () => {
    await signIns.api.database.asOwner(
      `insert into application (tenant_id, id, name, disabled_at) values ($1::uuid, 1009, 'gone', now())`,
      [signIns.api.database.tenants.a.tenantId],
    );
    for (const applicationId of [0, -1, 10, 999, 1009, 4711]) {
      const before = (await signIns.denials()).length;
      const refused = await signIns.open({ userName: 'olga', applicationId });
      expect(refused, `${applicationId}`).toMatchObject({
        __typename: 'InvalidInputError',
        code: 'APPLICATION_REFUSED',
        path: ['applicationId'],
      });
      expect((await signIns.denials()).slice(before)).toMatchObject([
        { method: 'open', reason: 'application', application: applicationId },
      ]);
    }
  });

  test('"String that identifies connecting client software, will be recorded in Audit", with the address', async () => {
    const { sessionId } = await signIns.open({ clientVersion: 'AcmeDrop 4.2' });
    const [opened] = await signIns.eventsOf(sessionId);
    expect(opened).toMatchObject({
      type: 'session.opened',
      principal: 'anna',
      clientVersion: 'AcmeDrop 4.2',
      ip: '127.0.0.1',
      impersonator: null,
      data: { method: 'open', kind: 'replaceable', again: false },
    });
  });

  test('an application is told of to who has proven who they are, and to nobody else', async () => {
    for (const applicationId of [10, 4711])
      expect(await signIns.openImmutable({ userName: 'relay', password: 'wrong', applicationId })).toMatchObject({
        code: 'SIGN_IN_REFUSED',
      });
  });

  test('a wrong password, an unknown, a disabled user and one of another tenant get one answer; the audit log alone says which it was', async () => {
    await signIns.createUser('dora', 'operator');
    await signIns.createUser('only-b', 'operator', signIns.api.keys.b);
    await signIns.api.database.asOwner(`update principal set disabled_at = now() where name = 'dora'`);
    const before = (await signIns.denials()).length;
    const attempts = [
      { password: 'no-password-of-hers' },
      { userName: 'nobody' },
      { userName: 'dora' },
      { userName: 'only-b' },
    ];
    const answers = [];
    for (const attempt of attempts) answers.push(await signIns.open(attempt));
    expect(answers[0]).toEqual({
      __typename: 'SignInRefusedError',
      code: 'SIGN_IN_REFUSED',
      message: 'The user name or the password is not right.',
      path: null,
      retryable: false,
    });
    for (const refused of answers) expect(refused).toEqual(answers[0]);
    const told = (await signIns.denials()).slice(before).map(({ user, reason }) => [user, reason]);
    expect(told).toEqual([
      ['anna', 'wrong'],
      ['nobody', 'unknown'],
      ['dora', 'disabled'],
      ['only-b', 'unknown'],
    ]);
    expect(JSON.stringify(await signIns.denials())).not.toContain('no-password-of-hers');
    await signIns.open();
  });

  test('what cannot be anybody’s is refused with the field that is meant, before anything is hashed', async () => {
    const bad: Array<[string, Record<string, unknown>]> = [
      ['userName', { userName: '' }],
      ['userName', { userName: 'an\u0000na' }],
      ['userName', { userName: 'anna\n' }],
      ['userName', { userName: 'x'.repeat(256) }],
      ['password', { userName: 'p1', password: '' }],
      ['password', { userName: 'p2', password: 'a\u0000b' }],
      ['password', { userName: 'p3', password: 'x'.repeat(1_025) }],
      ['clientVersion', { userName: 'p4', clientVersion: 'a\u001bb' }],
      ['clientVersion', { userName: 'p5', clientVersion: 'x'.repeat(limits.clientVersionLength + 1) }],
    ];
    for (const [field, more] of bad)
      expect(await signIns.openImmutable(more), JSON.stringify(more).slice(0, 80)).toMatchObject({
        __typename: 'InvalidInputError',
        code: 'INVALID_INPUT',
        path: [field],
      });
    // A backslash is a character like others: a domain belongs into a ticket.
    expect(await signIns.open({ userName: 'ACME\\anna' })).toMatchObject({ code: 'SIGN_IN_REFUSED' });
    expect((await signIns.denials()).at(-1)).toMatchObject({ user: 'ACME\\anna', reason: 'unknown' });
  });

  test('a password of 10 MB is refused before it is read', async () => {
    const query = `mutation($p: String!) { open(userName: "anna", password: $p, applicationId: 1001) { __typename } }`;
    const { status, body } = await post(
      signIns.api.url,
      null,
      JSON.stringify({ query, variables: { p: 'x'.repeat(10 * 2 ** 20) } }),
    );
    expect([status, body.errors[0].extensions.code]).toEqual([413, 'BODY_TOO_LARGE']);
  });

  test('too many wrong ones are answered RATE_LIMITED, also with the right password, and other users come in', async () => {
    const other = await startTestApi(null);
    try {
      const attempt = (userName: string) =>
        signIns.call('openImmutable', { userName, password: 'wrong', applicationId: 20 }, other.url);
      for (let failed = 0; failed < limits.failedSignIns; failed++)
        expect((await attempt(`user-${failed}`)).code).toBe('SIGN_IN_REFUSED');
      expect(await attempt('another')).toMatchObject({ __typename: 'RateLimitedError', retryable: true });
      // Each method has a bucket of its own.
      expect(await signIns.call('open', { userName: 'x', password: 'y', applicationId: 20 }, other.url)).toMatchObject({
        code: 'SIGN_IN_REFUSED',
      });
    } finally {
      await other.close();
    }
  });
});

describe('2.3.2.4 OpenImmutable', () => {
  test('"the new session created in immutable mode, it will not be deleted when the next call is made which opens the server under the same user"; "For other Application IDs multiple different immutable sessionIDs" are made: "session concurrency is required for one user account"', async () => {
    const first = await signIns.openImmutable();
    const second = await signIns.openImmutable();
    const replaceable = await signIns.open();
    expect(second.sessionId).not.toBe(first.sessionId);
    for (const { sessionId } of [first, second, replaceable]) expect(await signIns.codeOf(sessionId)).toBe('alive');
  });

  test('"Immutable sessions are cleaned automatically every 48 hours from the time they are created"', async () => {
    const { sessionId, expiresAt } = await signIns.openImmutable();
    const hours = (Date.parse(expiresAt) - Date.now()) / 3_600_000;
    expect(hours).toBeGreaterThan(47.9);
    expect(hours).toBeLessThanOrEqual(48);
    await sweepSessions(signIns.api.database.store, new Date(Date.now() + 47.9 * 3_600_000));
    expect(await signIns.codeOf(sessionId)).toBe('alive');
    const swept = await sweepSessions(signIns.api.database.store, new Date(Date.now() + 48.1 * 3_600_000));
    expect(swept.expired).toBeGreaterThan(0);
    expect(await signIns.codeOf(sessionId)).toBe('401 SESSION_EXPIRED');
    expect((await signIns.eventsOf(sessionId)).map(({ type }) => type)).toContain('session.expired');
    expect((await sweepSessions(signIns.api.database.store, new Date(Date.now() + 48.1 * 3_600_000))).expired).toBe(0);
  });

  test('who is given a session again is in the audit log with the client and the address of that sign-in', async () => {
    const { sessionId } = await signIns.openImmutable({ userName: 'olga', applicationId: 30, clientVersion: 'one' });
    await signIns.openImmutable({ userName: 'olga', applicationId: 30, clientVersion: 'two' });
    expect(await signIns.eventsOf(sessionId)).toMatchObject([
      { type: 'session.opened', clientVersion: 'one', data: { again: false } },
      { type: 'session.opened', data: { again: true, clientVersion: 'two', ipAddress: '127.0.0.1' } },
    ]);
  });

  test.each([30, 31])(
    '"For SFTP and FTPS Application IDs the same immutable sessionID is returned which is already in use for given user": %i',
    async (applicationId) => {
      const [first, ...others] = await Promise.all([1, 2, 3, 4].map(() => signIns.openImmutable({ applicationId })));
      expect(await signIns.codeOf(first.sessionId)).toBe('alive');
      for (const other of others) expect(other).toEqual(first);
      const ben = await signIns.openImmutable({ applicationId, userName: 'ben' });
      expect(ben.sessionId).not.toBe(first.sessionId);
      await signIns.close(first.sessionId);
      const next = await signIns.openImmutable({ applicationId });
      expect(next.sessionId).not.toBe(first.sessionId);
      expect(await signIns.codeOf(first.sessionId)).toBe('401 SESSION_ENDED');
      expect(await signIns.codeOf(next.sessionId)).toBe('alive');
    },
  );
});

describe('2.3.2.6 OpenImmutableUserString', () => {
  const openWith = (more: Record<string, unknown>) => signIns.call('openImmutableUserString', { ...facts, ...more });
  const byPassword = { userName: 'anna', password };

  test('"String to pass information about external user": by user name and password, as its table says', async () => {
    const { sessionId } = await openWith({ ...byPassword, userString: 'Jörg of ACME' });
    expect((await signIns.eventsOf(sessionId))[0]).toMatchObject({ principal: 'anna', userString: 'Jörg of ACME' });
  });

  test('and by a service session and a user id, as its signature says', async () => {
    const { sessionId: serviceSessionId } = await signIns.openImmutable({ userName: 'olga' });
    const given = { serviceSessionId, userId: signIns.userIds.ben, ipAddress: '2001:db8::7', userString: 'E7' };
    const { sessionId } = await openWith(given);
    expect((await signIns.eventsOf(sessionId))[0]).toMatchObject({
      principal: 'ben',
      impersonator: 'olga',
      userString: 'E7',
      ip: '2001:db8::7',
    });
    // Nobody writes an address of their own into the audit log.
    expect(await openWith({ ...byPassword, ipAddress: '2001:db8::7' })).toMatchObject({
      code: 'INVALID_INPUT',
      path: ['ipAddress'],
    });
    for (const mixed of [{ ...byPassword, ...given }, { userName: 'anna' }, { serviceSessionId }, {}])
      expect(await openWith(mixed)).toMatchObject({ __typename: 'InvalidInputError' });
  });

  test('"Max length 255 characters"', async () => {
    // Of whatever kind: a character outside the basic plane is one too.
    for (const userString of ['x'.repeat(255), '😀'.repeat(255)])
      expect(await openWith({ ...byPassword, userString })).toHaveProperty('sessionId');
    for (const userString of ['x'.repeat(256), '😀'.repeat(256), '', 'a\u0000', 'a\u0007'])
      expect(await openWith({ ...byPassword, userString })).toMatchObject({
        code: 'INVALID_INPUT',
        path: ['userString'],
      });
  });

  test('"the same immutable sessionID is returned" for SFTP only to the same external user', async () => {
    const sessionIds = [];
    for (const userString of ['one', 'two', 'one'])
      sessionIds.push((await openWith({ ...byPassword, applicationId: 30, userString })).sessionId);
    expect(sessionIds[2]).toBe(sessionIds[0]);
    expect(sessionIds[1]).not.toBe(sessionIds[0]);
  });
});

describe('2.3.2.7 Close', () => {
  test('"Close web call deletes existing user session"', async () => {
    const { sessionId } = await signIns.open();
    expect(await signIns.close(sessionId)).toEqual({ __typename: 'ClosePayload', closed: true });
    expect(await signIns.codeOf(sessionId)).toBe('401 SESSION_ENDED');
    expect(await signIns.close(sessionId)).toMatchObject({ __typename: 'SignInRefusedError', code: 'SESSION_ENDED' });
    expect(await signIns.close(newSessionText())).toMatchObject({ __typename: 'NotFoundError' });
    expect((await signIns.eventsOf(sessionId)).at(-1)).toMatchObject({
      type: 'session.closed',
      data: { reason: 'closed' },
    });
  });

  test('an owner closes the session of anybody by the id of its row, and lists them by user', async () => {
    const { sessionId } = await signIns.openImmutable({ userName: 'ben', applicationId: 1002 });
    const list =
      '{ sessions(user: "BEN", first: 1) { edges { node { id principal { name } method clientVersion } } } }';
    const [{ node }] = (await signIns.api.graphql(signIns.api.keys.a, list)).body.data.sessions.edges;
    expect(node).toMatchObject({ principal: { name: 'ben' }, method: 'openImmutable', clientVersion: 'test 1.0' });
    const query = `mutation { closeSession(input: { id: "${node.id}" }) { __typename ... on CloseSessionPayload { session { endReason } } } }`;
    expect((await signIns.api.graphql(signIns.api.keys.b, query)).body.data.closeSession.__typename).toBe(
      'NotFoundError',
    );
    expect((await signIns.api.graphql(sessionId, query)).body.data.closeSession.__typename).toBe('ForbiddenError');
    const { body } = await signIns.api.graphql(signIns.api.keys.a, query);
    expect(body.data.closeSession.session.endReason).toBe('closed by an operator');
    expect(await signIns.codeOf(sessionId)).toBe('401 SESSION_ENDED');
    expect(rowId('session', node.id)).toBeDefined();
  });
});
