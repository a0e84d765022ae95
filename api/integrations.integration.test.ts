import { afterAll, beforeAll, expect, test } from 'vitest';
import { proveTicket } from '../identity/tickets/proveTicket.ts';
import { startTestApi, type TestApi } from '../test/servers/api.ts';

const site = 'files.acme.example';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi(null);
});
afterAll(() => api?.close());

const fields: Record<string, string> = {
  CreateIntegration:
    '... on IntegrationSecretPayload { kid keyBase64 ivBase64 integration { id name site legacy keys { kid endsAt } } }',
  RotateIntegration:
    '... on IntegrationSecretPayload { kid keyBase64 ivBase64 oldKeyEndsAt integration { keys { kid endsAt rotationDueAt } } }',
  DisableIntegration: '... on IntegrationPayload { integration { name disabledAt } }',
  CreateTicket: '... on TicketPayload { ticket version expiresAt }',
  CreateUploadToken: '... on TicketPayload { ticket version expiresAt }',
};

async function change(name: string, input: Record<string, unknown>, key = api.keys.a) {
  const field = name[0]!.toLowerCase() + name.slice(1);
  const { body } = await api.graphql(
    key,
    `mutation($input: ${name}Input!) { ${field}(input: $input) { __typename ... on UserError { code message path } ${fields[name]} } }`,
    { input },
  );
  expect(body.errors, JSON.stringify(body.errors)).toBeUndefined();
  return body.data[field];
}
const prove = (ticket: string, tenant: 'a' | 'b' = 'a') =>
  proveTicket({ store: api.database.store, secretBox: api.secretBox }, api.database.tenants[tenant].tenantId, ticket);
const events = async (key = api.keys.a) => {
  const { body } = await api.graphql(key, '{ auditEvents(first: 100) { edges { node { type data } } } }');
  return body.data.auditEvents.edges.map(({ node }: { node: { type: string; data: object } }) => node);
};

test('an integration is made with a key of 32 and an IV of 16 bytes that are shown once, and makes tickets that sign in', async () => {
  const made = await change('CreateIntegration', { name: 'portal', site, legacy: true });
  expect(made.integration).toMatchObject({
    name: 'portal',
    site,
    legacy: true,
    keys: [{ kid: made.kid, endsAt: null }],
  });
  expect(Buffer.from(made.keyBase64, 'base64')).toHaveLength(32);
  expect(Buffer.from(made.ivBase64, 'base64')).toHaveLength(16);
  const { body } = await api.graphql(
    api.keys.a,
    `{ integrations { edges { node { id name site legacy keys { kid } } } } node(id: "${made.integration.id}") { __typename id } }`,
  );
  expect(body.data.integrations.edges).toHaveLength(1);
  expect(body.data.node).toEqual({ __typename: 'Integration', id: made.integration.id });
  expect(made.integration.id).toMatch(/^itg_/);

  const first = await change('CreateTicket', { integration: 'portal', user: 'ACME\\jane' });
  expect(first).toMatchObject({ version: 1 });
  expect(await prove(first.ticket)).toEqual({ userName: 'jane', integration: 'portal' });
  const second = await change('CreateTicket', { integration: 'portal', user: 'ACME\\jane', version: 2 });
  expect(second).toMatchObject({ version: 2, ticket: expect.stringMatching(/^ey[\w-]+\.\./) });
  expect(await prove(second.ticket)).toEqual({ userName: 'jane', integration: 'portal' });

  const written = JSON.stringify(await events());
  expect(written).toContain('integration.created');
  expect(written).toContain(made.kid);
  for (const secret of [made.keyBase64, made.ivBase64, first.ticket, second.ticket])
    expect(written).not.toContain(secret);
});

test('version 1 is off until it is asked for, and a key in use already can be brought along', async () => {
  expect(await change('CreateIntegration', { name: 'console', site })).toMatchObject({
    integration: { legacy: false },
  });
  expect(await change('CreateTicket', { integration: 'console', user: 'jane' })).toMatchObject({ version: 2 });
  expect(await change('CreateTicket', { integration: 'console', user: 'jane', version: 1 })).toMatchObject({
    __typename: 'ConflictError',
    path: ['input', 'version'],
  });
  const ours = { keyBase64: Buffer.alloc(32, 7).toString('base64'), ivBase64: Buffer.alloc(16, 9).toString('base64') };
  expect(await change('CreateIntegration', { name: 'brought', site, legacy: true, ...ours })).toMatchObject(ours);
});

test('a rotation gives another key; the one before it ends after its overlap', async () => {
  const before = await change('CreateIntegration', { name: 'turning', site });
  const after = await change('RotateIntegration', { name: 'turning', overlapHours: 24 });
  expect(after.keyBase64).not.toBe(before.keyBase64);
  const endsInMs = Date.parse(after.oldKeyEndsAt) - Date.now();
  expect(endsInMs).toBeGreaterThan(23 * 3_600_000);
  expect(endsInMs).toBeLessThanOrEqual(24 * 3_600_000);
  expect(after.integration.keys).toMatchObject([
    { kid: before.kid, endsAt: after.oldKeyEndsAt },
    { kid: after.kid, endsAt: null },
  ]);
  expect(await events()).toContainEqual({
    type: 'integration.rotated',
    data: { integration: 'turning', kid: after.kid, oldKeyEndsAt: after.oldKeyEndsAt, ended: [] },
  });
});

test('a disabled integration makes no tickets, is not rotated, and stays disabled', async () => {
  await change('CreateIntegration', { name: 'leaving', site });
  const { ticket } = await change('CreateTicket', { integration: 'leaving', user: 'jane' });
  const { integration } = await change('DisableIntegration', { name: 'leaving' });
  expect(await change('DisableIntegration', { name: 'leaving' })).toMatchObject({ integration });
  await expect(prove(ticket)).rejects.toMatchObject({ kind: 'unauthenticated' });
  expect(await change('CreateTicket', { integration: 'leaving', user: 'jane' })).toMatchObject({ code: 'NOT_FOUND' });
  expect(await change('RotateIntegration', { name: 'leaving' })).toMatchObject({ code: 'CONFLICT' });
  const told = (await events()).filter(({ type }: { type: string }) => type === 'integration.disabled');
  expect(told).toHaveLength(1);
});

test.each<[string, string, Record<string, unknown>, string]>([
  ['a name out of form', 'CreateIntegration', { name: 'Portal 1', site }, 'name'],
  ['a site that is no host', 'CreateIntegration', { name: 'one-more', site: 'a<b' }, 'site'],
  [
    'a key of 16 bytes',
    'CreateIntegration',
    { name: 'one-more', site, keyBase64: 'AAAA', ivBase64: 'AAAA' },
    'keyBase64',
  ],
  ['an overlap of years', 'RotateIntegration', { name: 'console', overlapHours: 20_000 }, 'overlapHours'],
  ['a user with a control character', 'CreateTicket', { integration: 'console', user: 'ja\nne' }, 'user'],
  ['a user of 300 characters', 'CreateTicket', { integration: 'console', user: 'j'.repeat(300) }, 'user'],
  ['version 3', 'CreateTicket', { integration: 'console', user: 'jane', version: 3 }, 'version'],
])('%s is refused, and the field is named', async (_, mutation, input, field) => {
  expect(await change(mutation, input)).toMatchObject({ code: 'INVALID_INPUT', path: ['input', field] });
});

test('a name is taken once', async () => {
  expect(await change('CreateIntegration', { name: 'console', site })).toMatchObject({ code: 'CONFLICT' });
});

test('who may read integrations may not change them, and who may neither sees none', async () => {
  const { a } = api.database.tenants;
  const reader = await api.key(a, ['integration:read']);
  for (const [mutation, input] of [
    ['CreateIntegration', { name: 'mine', site }],
    ['RotateIntegration', { name: 'console' }],
    ['DisableIntegration', { name: 'console' }],
    ['CreateTicket', { integration: 'console', user: 'owner' }],
    [
      'CreateUploadToken',
      { integration: 'console', folderId: '1', email: 'a@b.example', ip: '192.0.2.1', session: 'wbs_x' },
    ],
  ] as const)
    expect(await change(mutation, input, reader), mutation).toMatchObject({ code: 'FORBIDDEN' });
  const other = await api.key(a, ['run:read']);
  const { body } = await api.graphql(other, '{ integrations { edges { node { name } } } }');
  expect(body.errors[0].extensions.code).toBe('FORBIDDEN');
});

test('nothing of another tenant is seen, made a ticket with, rotated or disabled', async () => {
  const { body } = await api.graphql(api.keys.b, '{ integrations { edges { node { name } } } }');
  expect(body.data.integrations.edges).toEqual([]);
  expect(await change('CreateTicket', { integration: 'console', user: 'jane' }, api.keys.b)).toMatchObject({
    code: 'NOT_FOUND',
  });
  expect(await change('RotateIntegration', { name: 'console' }, api.keys.b)).toMatchObject({ code: 'NOT_FOUND' });
  expect(await change('DisableIntegration', { name: 'console' }, api.keys.b)).toMatchObject({ code: 'NOT_FOUND' });
  const { ticket } = await change('CreateTicket', { integration: 'console', user: 'jane' });
  await expect(prove(ticket, 'b')).rejects.toMatchObject({ kind: 'unauthenticated' });
});
