import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createApiKey } from '../identity/apiKeys.ts';
import { startTestApi, type TestApi } from '../test/servers/api.ts';

let api: TestApi;
/** An engineer of tenant A: publishes, and is no owner. */
let engineerKey: string;
beforeAll(async () => {
  api = await startTestApi(null);
  const { tenantId } = api.database.tenants.a;
  const [engineer] = await api.database.store.sql(tenantId, (sql) =>
    sql.query<{ id: string }>(
      `insert into principal (tenant_id, kind, name, role) values ($1::uuid, 'user', 'engineer', 'engineer') returning id`,
      [tenantId],
    ),
  );
  const key = { tenantId, principalId: engineer!.id, name: 'engineer', scopes: ['*'] };
  engineerKey = (await createApiKey(api.database.store, key)).secret;
  expect(
    await apply(engineerKey, 'endpoint: acme-sftp\napiVersion: waybill/v1\nconnector: local\nconfig: { root: /tmp }\n'),
  ).toMatchObject({
    __typename: 'ApplyConfigurationPayload',
  });
});
afterAll(() => api?.close());

async function apply(key: string, text: string, options: { dryRun?: boolean } = {}) {
  const { body } = await api.graphql(
    key,
    'mutation($input: ApplyConfigurationInput!) { applyConfiguration(input: $input) { __typename ... on UserError { code message } } }',
    { input: { documents: [{ file: 'all.yaml', text }], ...options } },
  );
  expect(body.errors, JSON.stringify(body.errors)).toBeUndefined();
  return body.data.applyConfiguration;
}

const pipeline = (as: string, name = 'orders-as') => `pipeline: ${name}
apiVersion: waybill/v1
session: { application: 10, as: ${as} }
endpoints: { partner: acme-sftp }
steps: [ { use: files.list@1, id: all, with: { from: "partner:/*" } } ]
`;

async function change(mutation: string, input: Record<string, unknown>, key = api.keys.a) {
  const type = mutation === 'createServiceAccount' ? 'CreateServiceAccountInput' : 'GrantInput';
  const { body } = await api.graphql(
    key,
    `mutation($input: ${type}!) { ${mutation}(input: $input) { __typename ... on UserError { code message path } ... on AccountPayload { account { name kind role grants { action target } } } } }`,
    { input },
  );
  expect(body.errors, JSON.stringify(body.errors)).toBeUndefined();
  return body.data[mutation];
}
const grant = (account: string, action: 'actAs' | 'use', target: string) =>
  change('grantAccount', { account, action, target });
const accountEvents = async () => {
  const { body } = await api.graphql(
    api.keys.a,
    '{ auditEvents(first: 100) { edges { node { type principal { name } data } } } }',
  );
  const events = body.data.auditEvents.edges.map(({ node }: { node: { type: string } }) => node);
  return events.filter(({ type }: { type: string }) => type.startsWith('account.'));
};

describe('a pipeline that acts as another account', () => {
  test('is published only by who may act as it, with endpoints that both may use; each step is an event', async () => {
    expect(await change('createServiceAccount', { name: 'svc-orders' })).toMatchObject({
      account: { name: 'svc-orders', kind: 'service', role: 'service', grants: [] },
    });
    const text = pipeline('svc-orders');
    expect(await apply(engineerKey, text)).toMatchObject({
      __typename: 'ForbiddenError',
      message: expect.stringContaining('engineer may not act as svc-orders'),
    });
    await grant('engineer', 'actAs', 'svc-orders');
    for (const dryRun of [true, false])
      expect(await apply(engineerKey, text, { dryRun })).toMatchObject({
        __typename: 'ForbiddenError',
        message: expect.stringContaining('svc-orders may not use the endpoint acme-sftp'),
      });
    expect((await grant('svc-orders', 'use', 'acme-sftp')).account.grants).toEqual([
      { action: 'use', target: 'acme-sftp' },
    ]);
    await grant('svc-orders', 'use', 'acme-sftp');
    expect((await apply(engineerKey, text)).__typename).toBe('ApplyConfigurationPayload');
    expect((await apply(api.keys.a, pipeline('svc-orders', 'orders-owner'))).__typename).toBe(
      'ApplyConfigurationPayload',
    );
    expect(await accountEvents()).toEqual([
      { type: 'account.created', principal: { name: 'owner' }, data: { account: 'svc-orders', role: 'service' } },
      {
        type: 'account.granted',
        principal: { name: 'owner' },
        data: { account: 'engineer', action: 'actAs', target: 'svc-orders' },
      },
      {
        type: 'account.granted',
        principal: { name: 'owner' },
        data: { account: 'svc-orders', action: 'use', target: 'acme-sftp' },
      },
    ]);
  });

  test('is refused at its start, and recorded, when a grant was taken away since', async () => {
    await change('createServiceAccount', { name: 'svc-late' });
    await grant('svc-late', 'use', 'acme-sftp');
    await apply(api.keys.a, pipeline('svc-late', 'orders-late'));
    await change('revokeGrant', { account: 'svc-late', action: 'use', target: 'acme-sftp' });
    const { body } = await api.graphql(
      api.keys.a,
      'mutation($input: StartRunInput!) { startRun(input: $input) { __typename ... on UserError { message runId } } }',
      { input: { pipeline: 'orders-late', idempotencyKey: randomUUID() } },
    );
    expect(body.data.startRun).toMatchObject({
      __typename: 'ForbiddenError',
      message: expect.stringContaining('svc-late may not use'),
      runId: expect.stringMatching(/^run_/),
    });
    expect((await accountEvents()).at(-1)).toMatchObject({ type: 'account.revoked' });
  });

  test('of an account that is not there is refused, whoever publishes it', async () => {
    expect(await apply(api.keys.a, pipeline('svc-nobody'))).toMatchObject({
      __typename: 'InvalidInputError',
      message: expect.stringContaining('no account "svc-nobody"'),
    });
    await api.graphql(api.keys.b, 'mutation { createServiceAccount(input: { name: "svc-of-b" }) { __typename } }');
    expect((await apply(api.keys.a, pipeline('svc-of-b'))).__typename).toBe('InvalidInputError');
  });
});

test('only an owner makes accounts and grants; an engineer reads them, another tenant does not', async () => {
  expect((await change('createServiceAccount', { name: 'svc-mine' }, engineerKey)).__typename).toBe('ForbiddenError');
  const input = { account: 'engineer', action: 'actAs', target: 'owner' };
  expect((await change('grantAccount', input, engineerKey)).__typename).toBe('ForbiddenError');
  expect((await change('grantAccount', input, api.keys.b)).__typename).toBe('NotFoundError');
  const list = '{ serviceAccounts { edges { node { name grants { target } } } } }';
  const names = async (key: string) =>
    (await api.graphql(key, list)).body.data.serviceAccounts.edges.map(
      ({ node }: { node: { name: string } }) => node.name,
    );
  expect(await names(engineerKey)).toContain('svc-orders');
  expect(await names(engineerKey)).not.toContain('engineer');
  expect(await names(api.keys.b)).not.toContain('svc-orders');
});

test('what is out of form, taken or not there is said', async () => {
  await change('createServiceAccount', { name: 'svc-taken' });
  expect((await change('createServiceAccount', { name: 'svc-taken' })).__typename).toBe('ConflictError');
  expect((await change('createServiceAccount', { name: 'owner' })).__typename).toBe('ConflictError');
  for (const name of ['', 'Svc', 'x'.repeat(64), 'a b'])
    expect((await change('createServiceAccount', { name })).__typename, name).toBe('InvalidInputError');
  expect(await grant('svc-none', 'use', 'acme-sftp')).toMatchObject({ path: ['input', 'account'] });
  expect(await grant('svc-taken', 'use', 'no-place')).toMatchObject({ path: ['input', 'target'] });
  expect(await grant('svc-taken', 'actAs', 'no-one')).toMatchObject({ path: ['input', 'target'] });
});

test('a grant on an endpoint ends with the endpoint', async () => {
  const text = 'endpoint: short-lived\napiVersion: waybill/v1\nconnector: local\nconfig: { root: /tmp }\n';
  await apply(api.keys.a, text);
  await change('createServiceAccount', { name: 'svc-short' });
  await grant('svc-short', 'use', 'short-lived');
  await api.graphql(api.keys.a, 'mutation { removeEndpoint(input: { name: "short-lived" }) { __typename } }');
  await apply(api.keys.a, text);
  expect((await grant('svc-short', 'use', 'acme-sftp')).account.grants).toEqual([
    { action: 'use', target: 'acme-sftp' },
  ]);
});
