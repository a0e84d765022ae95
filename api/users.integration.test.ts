import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createApiKey } from '../identity/apiKeys.ts';
import { applications } from '../identity/applications.ts';
import { createPasswordCheck, wrongInARow } from '../identity/passwords.ts';
import { createOpenSession } from '../identity/sessions/openSession.ts';
import { totpCode } from '../identity/totp.ts';
import { startTestApi, type TestApi } from '../test/servers/api.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi(null);
});
afterAll(() => api?.close());

const password = 'correct horse battery';
const userFields = 'userId userName email firstName lastName role disabledAt';

/** What a mutation of users answers: its payload, or the refusal. */
async function change(mutation: string, input: Record<string, unknown>, credential = api.keys.a) {
  const types: Record<string, string> = {
    createUser: 'CreateUserInput',
    changeUser: 'ChangeUserInput',
    setPassword: 'SetPasswordInput',
    enrolAuthenticator: 'EnrolAuthenticatorInput',
    confirmAuthenticator: 'ConfirmAuthenticatorInput',
  };
  const payload =
    mutation === 'enrolAuthenticator'
      ? '... on EnrolAuthenticatorPayload { uri }'
      : `... on UserPayload { user { ${userFields} } }`;
  const { body } = await api.graphql(
    credential,
    `mutation($input: ${types[mutation] ?? 'UserNameInput'}!) { ${mutation}(input: $input) { __typename ... on UserError { code message path } ${payload} } }`,
    { input },
  );
  expect(body.errors, JSON.stringify(body.errors)).toBeUndefined();
  return body.data[mutation];
}

const create = (userName: string, more: Record<string, unknown> = {}, key = api.keys.a) =>
  change('createUser', { userName, email: `${userName}@example.com`, password, ...more }, key);

const prove = (userName: string, given: string, oneTimeCode?: string) =>
  createPasswordCheck({ secretBox: api.secretBox })
    .prove(api.database.store, api.database.tenants.a.tenantId, { userName, password: given, oneTimeCode })
    .then(
      ({ name }) => name,
      (error) => error.context.reason,
    );

/** A session of that user, as `open` gives it. */
async function signIn(userName: string): Promise<string> {
  const { tenantId } = api.database.tenants.a;
  const [row] = await api.database.asOwner<{ principalId: string; userNumber: number; role: string }>(
    `select id as "principalId", user_number as "userNumber", role from principal where tenant_id = $1 and name = $2`,
    [tenantId, userName],
  );
  const opened = await createOpenSession({ store: api.database.store, secretBox: api.secretBox })({
    tenantId,
    user: { ...row!, name: userName },
    applicationId: applications.console,
    kind: 'concurrent',
    method: 'openImmutable',
    clientVersion: null,
    ipAddress: null,
    userString: null,
    impersonation: null,
  });
  return opened.text;
}

const eventsOf = async (userName: string) =>
  (
    await api.database.asOwner<{ type: string }>(
      `select type from audit_event where type like 'user.%' and data->>'user' = $1 order by id`,
      [userName],
    )
  ).map(({ type }) => type);

describe('a user', () => {
  test('is created with a number, signs in, is listed, and the event does not hold the password', async () => {
    const { user } = await create('jane', { firstName: 'Jane', lastName: 'Doe', role: 'operator' });
    expect(user).toEqual({
      userId: expect.any(Number),
      userName: 'jane',
      email: 'jane@example.com',
      firstName: 'Jane',
      lastName: 'Doe',
      role: 'operator',
      disabledAt: null,
    });
    expect(await prove('JANE', password)).toBe('jane');
    const { body } = await api.graphql(api.keys.a, `{ users { edges { node { userName } } } }`);
    expect(body.data.users.edges.map(({ node }: { node: { userName: string } }) => node.userName)).toContain('jane');
    const [text] = await api.database.asOwner<{ all: string }>(
      `select string_agg(e::text, '') || (select string_agg(w::text, '') from principal_password w) as all from audit_event e`,
    );
    expect(text!.all).not.toContain(password);
  });

  test('may send files in and nothing else, unless a role is given', async () => {
    expect((await create('modest')).user.role).toBe('uploader');
  });

  test.each<[string, Record<string, unknown>, string]>([
    ['a name with a backslash', { userName: 'DOMAIN\\jane' }, 'userName'],
    ['an empty name', { userName: '' }, 'userName'],
    ['a name with NUL', { userName: 'jane\0' }, 'userName'],
    ['a name of 128 characters', { userName: 'j'.repeat(128) }, 'userName'],
    ['an address without @', { email: 'jane' }, 'email'],
    ['an address with a line break', { email: 'a@example.com\nBcc: b@example.com' }, 'email'],
    ['an address of 255 characters', { email: `${'a'.repeat(243)}@example.com` }, 'email'],
    ['a first name with a control character', { firstName: 'Ja\u0007ne' }, 'firstName'],
    ['a last name with NUL', { lastName: 'Doe\0' }, 'lastName'],
    ['a last name of 101 characters', { lastName: 'd'.repeat(101) }, 'lastName'],
    ['a role that is none', { role: 'root' }, 'role'],
    ['an empty password', { password: '' }, 'password'],
    ['a password of 11 characters', { password: 'x'.repeat(11) }, 'password'],
    ['a password of 1,025 characters', { password: 'x'.repeat(1_025) }, 'password'],
    ['a password with NUL', { password: `correct\0${password}` }, 'password'],
    ['its name as password', { userName: 'administrator', password: 'AdministratoR' }, 'password'],
  ])('with %s is refused, and none is made', async (_, wrong, field) => {
    const userName = (wrong.userName as string | undefined) ?? 'refused';
    expect(await create(userName, { email: 'refused@example.com', ...wrong })).toMatchObject({
      __typename: 'InvalidInputError',
      path: ['input', field],
    });
    const made = await api.database.asOwner(`select 1 from principal where email ilike '%refused%'`);
    expect(made).toHaveLength(0);
  });

  test('takes neither a name nor an address that somebody has, in whatever case, nor the name of an account', async () => {
    await create('taken');
    await api.graphql(api.keys.a, 'mutation { createServiceAccount(input: { name: "svc-taken" }) { __typename } }');
    expect(await create('TAKEN', { email: null })).toMatchObject({ code: 'CONFLICT', path: ['input', 'userName'] });
    expect(await create('other', { email: 'Taken@Example.com' })).toMatchObject({
      code: 'CONFLICT',
      path: ['input', 'email'],
    });
    expect((await create('Svc-Taken')).code).toBe('CONFLICT');
    expect((await create('taken', {}, api.keys.b)).__typename).toBe('UserPayload');
  });

  test('is created once when many ask at once', async () => {
    const answers = await Promise.all(Array.from({ length: 5 }, () => create('rushed')));
    const names = answers.map(({ __typename }) => __typename).sort();
    expect(names).toEqual([...Array(4).fill('ConflictError'), 'UserPayload']);
  });

  test('is disabled, with sessions and keys, and enabled again; each is one event', async () => {
    await create('leaver', { role: 'operator' });
    const session = await signIn('leaver');
    expect((await api.graphql(session, '{ viewer { tenant } }')).status).toBe(200);
    expect((await change('disableUser', { userName: 'Leaver' })).user.disabledAt).toEqual(expect.any(String));
    await change('disableUser', { userName: 'leaver' });
    expect((await api.graphql(session, '{ viewer { tenant } }')).status).toBe(401);
    expect(await prove('leaver', password)).toBe('disabled');
    const ended = await api.database.asOwner(
      `select end_reason from session s join principal p on p.id = s.principal_id where p.name = 'leaver'`,
    );
    expect(ended).toEqual([{ end_reason: 'the user was disabled' }]);
    expect((await change('enableUser', { userName: 'leaver' })).user.disabledAt).toBeNull();
    expect((await api.graphql(session, '{ viewer { tenant } }')).status).toBe(401);
    expect(await prove('leaver', password)).toBe('leaver');
    expect(await eventsOf('leaver')).toEqual(['user.created', 'user.disabled', 'user.enabled']);
  });

  test('who is locked is let in again by enabling', async () => {
    await create('shut-out');
    for (let wrong = 0; wrong < wrongInARow; wrong++) await prove('shut-out', 'wrong');
    expect(await prove('shut-out', password)).toBe('locked');
    await change('enableUser', { userName: 'shut-out' });
    expect(await prove('shut-out', password)).toBe('shut-out');
    expect(await eventsOf('shut-out')).toEqual(['user.created', 'user.locked', 'user.enabled']);
  });

  test('who is the last owner is neither disabled nor given another role', async () => {
    for (const [mutation, more] of [
      ['disableUser', {}],
      ['changeUser', { role: 'auditor' }],
    ] as const)
      expect(await change(mutation, { userName: 'owner', ...more }, api.keys.b)).toMatchObject({ code: 'CONFLICT' });
    await create('second-owner', { role: 'owner' }, api.keys.b);
    expect((await change('disableUser', { userName: 'second-owner' }, api.keys.b)).user.disabledAt).not.toBeNull();
  });

  test('gets another role, with an event that says which was before', async () => {
    await create('promoted');
    expect((await change('changeUser', { userName: 'promoted', role: 'engineer' })).user.role).toBe('engineer');
    expect(await eventsOf('promoted')).toEqual(['user.created', 'user.changed']);
    expect((await change('changeUser', { userName: 'promoted', role: 'root' })).code).toBe('INVALID_INPUT');
    expect((await change('changeUser', { userName: 'nobody', role: 'engineer' })).code).toBe('NOT_FOUND');
  });

  test('gets another address, names and role, each alone too; what is not given stays, and the event says what was before', async () => {
    await create('married', { firstName: 'Mary', lastName: 'Maiden' });
    const changed = async (more: Record<string, unknown>) =>
      (await change('changeUser', { userName: 'Married', ...more })).user;
    const first = { email: 'Mary.New@example.com', firstName: 'Marie', lastName: 'Wed', role: 'operator' };
    expect(await changed(first)).toMatchObject({ userName: 'married', ...first });
    expect(await changed({ lastName: '', role: null })).toMatchObject({ ...first, lastName: null });
    const last = { ...first, email: 'mary.new@example.com', lastName: null };
    expect(await changed({ email: last.email, firstName: 'Marie', role: 'operator' })).toMatchObject(last);
    // What is as it was is no event.
    expect(await changed(last)).toMatchObject(last);
    const events = await api.database.asOwner<{ data: object }>(
      `select data from audit_event where type = 'user.changed' and data->>'user' = 'married' order by id`,
    );
    const before = { email: 'married@example.com', firstName: 'Mary', lastName: 'Maiden', role: 'uploader' };
    expect(events.map(({ data }) => data)).toEqual([
      { user: 'married', ...first, before },
      { user: 'married', lastName: null, before: { lastName: 'Wed' } },
      { user: 'married', email: last.email, before: { email: first.email } },
    ]);
  });

  test.each<[string, Record<string, unknown>, string[], string]>([
    ['an address without @', { email: 'jane' }, ['input', 'email'], 'INVALID_INPUT'],
    ['an empty address', { email: '' }, ['input', 'email'], 'INVALID_INPUT'],
    ['the address of another user', { email: 'HOLDER@example.com' }, ['input', 'email'], 'CONFLICT'],
    ['a first name with a control character', { firstName: 'J\u001b[2J' }, ['input', 'firstName'], 'INVALID_INPUT'],
    ['a last name of 101 characters', { lastName: 'd'.repeat(101) }, ['input', 'lastName'], 'INVALID_INPUT'],
    ['a role that is none', { role: 'root' }, ['input', 'role'], 'INVALID_INPUT'],
    ['nothing', { email: null }, [], 'INVALID_INPUT'],
  ])('is not given %s, and nothing else of the same change either', async (what, wrong, path, code) => {
    await create('holder');
    await create('steady', { firstName: 'Steady' });
    const other = what === 'nothing' ? {} : { firstName: 'Other', role: 'operator' };
    const refused = await change('changeUser', { userName: 'steady', ...other, ...wrong });
    expect(refused).toMatchObject({ code, path: path.length === 0 ? null : path });
    const rows = await api.database.asOwner(
      `select email, first_name, last_name, role from principal where name = 'steady'`,
    );
    expect(rows).toEqual([{ email: 'steady@example.com', first_name: 'Steady', last_name: null, role: 'uploader' }]);
  });

  test('of another tenant is not found', async () => {
    await create('only-ours');
    const input = { userName: 'only-ours', email: 'theirs@example.com' };
    expect((await change('changeUser', input, api.keys.b)).code).toBe('NOT_FOUND');
    for (const mutation of ['disableUser', 'enableUser', 'resetAuthenticator'])
      expect((await change(mutation, { userName: 'only-ours' }, api.keys.b)).code, mutation).toBe('NOT_FOUND');
    expect((await change('setPassword', { userName: 'only-ours', password }, api.keys.b)).code).toBe('NOT_FOUND');
  });

  test('never gets more than the asking key has, nor does such a key touch who may more', async () => {
    const narrow = await api.key(api.database.tenants.a, ['user:*', 'run:read']);
    expect((await create('climber', { role: 'owner' }, narrow)).code).toBe('FORBIDDEN');
    await create('strong', { role: 'engineer' });
    expect((await change('changeUser', { userName: 'strong', role: 'uploader' }, narrow)).code).toBe('FORBIDDEN');
    expect((await change('setPassword', { userName: 'strong', password }, narrow)).code).toBe('FORBIDDEN');
    // Who has the address of somebody is let in as them by a ticket.
    const stolen = { userName: 'strong', email: 'mine@example.com' };
    expect((await change('changeUser', stolen, narrow)).code).toBe('FORBIDDEN');
    expect((await create('harmless', { role: 'uploader' }, narrow)).__typename).toBe('UserPayload');
    expect((await change('changeUser', { userName: 'harmless', role: 'engineer' }, narrow)).code).toBe('FORBIDDEN');
    expect((await change('changeUser', { userName: 'harmless', firstName: 'H' }, narrow)).__typename).toBe(
      'UserPayload',
    );
  });
});

describe('a password', () => {
  test('of somebody else is set by an owner, which ends their lock and sessions', async () => {
    await create('forgetful', { role: 'operator' });
    const session = await signIn('forgetful');
    for (let wrong = 0; wrong < wrongInARow; wrong++) await prove('forgetful', 'wrong');
    await change('setPassword', { userName: 'forgetful', password: 'another horse battery' });
    expect(await prove('forgetful', 'another horse battery')).toBe('forgetful');
    expect(await prove('forgetful', password)).toBe('wrong');
    expect((await api.graphql(session, '{ viewer { tenant } }')).status).toBe(401);
  });

  test('of one’s own is set with the present one, and the session goes on', async () => {
    await create('self', { role: 'operator' });
    const session = await signIn('self');
    const next = { password: 'another horse battery' };
    expect((await change('setPassword', next, session)).code).toBe('FORBIDDEN');
    expect((await change('setPassword', { ...next, currentPassword: 'wrong' }, session)).code).toBe('FORBIDDEN');
    expect((await change('setPassword', { ...next, userName: 'jane' }, session)).code).toBe('FORBIDDEN');
    const short = { password: 'short', currentPassword: password };
    expect((await change('setPassword', short, session)).code).toBe('INVALID_INPUT');
    expect((await change('setPassword', { ...next, currentPassword: password }, session)).__typename).toBe(
      'UserPayload',
    );
    expect(await prove('self', next.password)).toBe('self');
    expect((await api.graphql(session, '{ viewer { tenant } }')).status).toBe(200);
  });

  test('that is one-time opens a session that may only set another one, and then may what its role may', async () => {
    await create('invited', { role: 'operator' });
    await change('setPassword', { userName: 'invited', password: 'one time only please', oneTime: true });
    expect(await prove('invited', 'one time only please')).toBe('invited');
    expect(await prove('invited', 'one time only please')).toBe('wrong');
    const session = await signIn('invited');
    const runs = '{ runs { edges { cursor } } }';
    expect((await api.graphql(session, runs)).body.errors[0].extensions.code).toBe('FORBIDDEN');
    expect((await change('setPassword', { password: 'one of my own, long' }, session)).__typename).toBe('UserPayload');
    expect((await api.graphql(session, runs)).body.errors).toBeUndefined();
    expect((await change('setPassword', { password: 'and another one' }, session)).code).toBe('FORBIDDEN');
    expect(await prove('invited', 'one of my own, long')).toBe('invited');
  });

  test('of somebody else is not set by who acts as them', async () => {
    await create('acted-as', { role: 'operator' });
    const session = await signIn('acted-as');
    await api.database.asOwner(
      `update session s set impersonator_id = $1 from principal p where p.id = s.principal_id and p.name = 'acted-as'`,
      [api.database.tenants.a.principalId],
    );
    const input = { password: 'another horse battery', currentPassword: password };
    expect((await change('setPassword', input, session)).code).toBe('FORBIDDEN');
    expect((await change('enrolAuthenticator', { currentPassword: password }, session)).code).toBe('FORBIDDEN');
    expect(await prove('acted-as', password)).toBe('acted-as');
  });
});

describe('an authenticator', () => {
  test('is enrolled with the password, confirmed with its first code, then required, and reset by an owner', async () => {
    await create('careful', { role: 'operator' });
    const session = await signIn('careful');
    expect((await change('enrolAuthenticator', { currentPassword: 'wrong' }, session)).code).toBe('FORBIDDEN');
    const { uri } = await change('enrolAuthenticator', { currentPassword: password }, session);
    expect(uri).toMatch(/^otpauth:\/\/totp\//);
    const secret = new URL(uri).searchParams.get('secret')!;
    const [stored] = await api.database.asOwner<{ text: string }>(
      `select string_agg(w::text, '') || (select string_agg(e::text, '') from audit_event e) as text from principal_password w`,
    );
    expect(stored!.text).not.toContain(secret);
    expect(stored!.text).not.toContain(Buffer.from(secret).toString('hex'));
    const code = (offset: number) => totpCode(secret, Math.floor(Date.now() / 30_000) + offset);
    const wrong = { currentPassword: password, oneTimeCode: '12345' };
    expect((await change('confirmAuthenticator', wrong, session)).code).toBe('FORBIDDEN');
    const right = { currentPassword: password, oneTimeCode: code(-1) };
    expect((await change('confirmAuthenticator', right, session)).__typename).toBe('UserPayload');
    expect(await prove('careful', password)).toBe('second-factor');
    expect((await change('enrolAuthenticator', { currentPassword: password }, session)).code).toBe('FORBIDDEN');
    expect(await prove('careful', password, code(0))).toBe('careful');
    await change('resetAuthenticator', { userName: 'careful' });
    expect(await prove('careful', password)).toBe('careful');
    expect(await eventsOf('careful')).toEqual([
      'user.created',
      'user.authenticator-enrolled',
      'user.authenticator-confirmed',
      'user.authenticator-reset',
    ]);
  });

  test('that was not enrolled is not confirmed', async () => {
    await create('hasty', { role: 'operator' });
    const input = { currentPassword: password, oneTimeCode: '123456' };
    expect((await change('confirmAuthenticator', input, await signIn('hasty'))).code).toBe('CONFLICT');
  });
});

test('a key of a disabled user is refused', async () => {
  const { user } = await create('key-holder', { role: 'operator' });
  const [row] = await api.database.asOwner<{ id: string }>(
    'select id from principal where user_number = $1 and name = $2',
    [user.userId, 'key-holder'],
  );
  const { tenantId } = api.database.tenants.a;
  const key = { tenantId, principalId: row!.id, name: 'mine', scopes: ['*'] };
  const { secret } = await createApiKey(api.database.store, key);
  expect((await api.graphql(secret, '{ viewer { tenant } }')).status).toBe(200);
  await change('disableUser', { userName: 'key-holder' });
  expect((await api.graphql(secret, '{ viewer { tenant } }')).status).toBe(401);
});

test('users and applications of one tenant are neither listed nor changed by another', async () => {
  await create('private-person');
  await api.graphql(api.keys.a, 'mutation { registerApplication(input: { id: 1500, name: "ours" }) { __typename } }');
  const lists = '{ users(first: 100) { edges { node { userName } } } applications { edges { node { name } } } }';
  const [own, other] = await Promise.all([api.keys.a, api.keys.b].map((key) => api.graphql(key, lists)));
  for (const name of ['private-person', 'ours']) {
    expect(JSON.stringify(own!.body.data)).toContain(name);
    expect(JSON.stringify(other!.body.data)).not.toContain(name);
  }
  const disable = 'mutation { disableApplication(input: { id: 1500 }) { __typename } }';
  expect((await api.graphql(api.keys.b, disable)).body.data.disableApplication.__typename).toBe('NotFoundError');
  const twin = 'mutation { registerApplication(input: { id: 1500, name: "ours" }) { __typename } }';
  expect((await api.graphql(api.keys.b, twin)).body.data.registerApplication.__typename).toBe('ApplicationPayload');
});
