import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestApi, type TestApi } from '../test/servers/api.ts';
import { type History, writeHistory } from '../test/servers/history.ts';
import { apiSchema } from './schema/index.ts';

let api: TestApi;
let ofA: History;
beforeAll(async () => {
  api = await startTestApi(null);
  ofA = await writeHistory(api.database.store, api.database.tenants.a);
  await api.graphql(
    api.keys.a,
    `mutation {
      createServiceAccount(input: { name: "svc-of-a" }) { __typename }
      grantAccount(input: { account: "svc-of-a", action: use, target: "acme-sftp" }) { __typename } }`,
  );
});
afterAll(async () => {
  await api.close();
});

const everything = `{
  pipelines { edges { node { name } } } endpoints { edges { node { name } } } webhooks { edges { node { name } } }
  runs { edges { node { id } } } transfers { edges { node { id } } } deliveries { edges { node { id } } }
  auditEvents { edges { node { id data } } } sessions { edges { node { id } } } secrets { edges { node { name } } }
  apiKeys { edges { node { name } } } serviceAccounts { edges { node { name grants { target } } } }
}`;

describe('the other tenant', () => {
  test('sees no row of ours in any list, and its own lists are not empty for us', async () => {
    const lists = (await api.graphql(api.keys.a, everything)).body.data as Record<string, { edges: unknown[] }>;
    for (const [name, { edges }] of Object.entries(lists)) expect(edges, name).not.toHaveLength(0);
    const { body } = await api.graphql(api.keys.b, everything);
    expect(body.errors).toBeUndefined();
    for (const [name, { edges }] of Object.entries(body.data as typeof lists))
      expect(edges, name).toHaveLength(name === 'apiKeys' ? 1 : 0);
    expect(JSON.stringify(body)).not.toContain('of one tenant');
  });

  test('finds nothing by any of our ids or names', async () => {
    for (const [kind, id] of Object.entries(ofA)) {
      const query = 'query($id: ID!) { node(id: $id) { __typename id } }';
      const own = await api.graphql(api.keys.a, query, { id });
      expect(own.body.data.node?.id, kind).toBe(id);
      const other = await api.graphql(api.keys.b, query, { id });
      expect(other.body, kind).toMatchObject({ data: { node: null } });
    }
    const query = `query($run: ID!, $transfer: ID!, $delivery: ID!) {
      run(id: $run) { id } transfer(id: $transfer) { id } delivery(id: $delivery) { id }
      pipeline(name: "orders") { id } endpoint(name: "acme-sftp") { id }
      transfers(run: $run) { edges { node { id } } } auditEvents(run: $run) { edges { node { id } } }
      deliveries(filter: { run: $run, transfer: $transfer }) { edges { node { id } } } }`;
    const empty = { edges: [] };
    const { body } = await api.graphql(api.keys.b, query, ofA);
    expect(body.data).toEqual({
      run: null,
      transfer: null,
      delivery: null,
      pipeline: null,
      endpoint: null,
      transfers: empty,
      auditEvents: empty,
      deliveries: empty,
    });
  });

  test('changes nothing of ours by any mutation: what it names is not there', async () => {
    const { body: keys } = await api.graphql(api.keys.a, '{ apiKeys { edges { node { id } } } }');
    const variables = { ...ofA, apiKey: keys.data.apiKeys.edges[0].node.id };
    const attempts: Record<string, string> = {
      startRun: 'startRun(input: { pipeline: "orders", idempotencyKey: "k" })',
      cancelRun: 'cancelRun(input: { id: $run })',
      pauseRun: 'pauseRun(input: { id: $run })',
      resumeRun: 'resumeRun(input: { id: $run })',
      retryRun: 'retryRun(input: { id: $run, failedOnly: true, idempotencyKey: "k" })',
      retryDelivery: 'retryDelivery(input: { id: $delivery, idempotencyKey: "k" })',
      resendDelivery: 'resendDelivery(input: { id: $delivery, reason: "r", idempotencyKey: "k" })',
      revokeApiKey: 'revokeApiKey(input: { id: $apiKey })',
      checkEndpoint: 'checkEndpoint(input: { name: "acme-sftp" })',
      pauseEndpoint: 'pauseEndpoint(input: { name: "acme-sftp", reason: "r" })',
      resumeEndpoint: 'resumeEndpoint(input: { name: "acme-sftp" })',
      acceptHostKey: 'acceptHostKey(input: { name: "acme-sftp", fingerprint: "SHA256:x", reason: "r" })',
      sweepEndpoint: 'sweepEndpoint(input: { name: "acme-sftp", path: "/", olderThan: "24h" })',
      removeEndpoint: 'removeEndpoint(input: { name: "acme-sftp" })',
      grantAccount: 'grantAccount(input: { account: "svc-of-a", action: use, target: "acme-sftp" })',
      revokeGrant: 'revokeGrant(input: { account: "svc-of-a", action: use, target: "acme-sftp" })',
      removeSecret: 'removeSecret(input: { name: "shared-password" })',
    };
    const others = ['applyConfiguration', 'createApiKey', 'createServiceAccount', 'setSecret'];
    expect([...Object.keys(attempts), ...others].sort()).toEqual(
      Object.keys(apiSchema.getMutationType()!.getFields()).sort(),
    );

    const before = await stateOf(api.database.tenants.a.tenantId);
    for (const [name, call] of Object.entries(attempts)) {
      const declared = Object.keys(variables).filter((variable) => call.includes(`$${variable}`));
      const head = declared.length === 0 ? '' : `(${declared.map((variable) => `$${variable}: ID!`).join()})`;
      const { body } = await api.graphql(api.keys.b, `mutation${head} { ${call} { __typename } }`, variables);
      expect(body.data?.[name]?.__typename, name).toBe('NotFoundError');
    }
    // The four that name nothing write into the caller's own tenant.
    const { body } = await api.graphql(
      api.keys.b,
      `mutation {
      applyConfiguration(input: { documents: [], prune: true }) { __typename }
      createApiKey(input: { name: "own" }) { __typename }
      createServiceAccount(input: { name: "svc-of-a" }) { __typename }
      setSecret(input: { name: "shared-password", value: "of b" }) { __typename } }`,
    );
    expect(body.errors).toBeUndefined();
    expect(await stateOf(api.database.tenants.a.tenantId)).toEqual(before);
  });

  test('cannot watch our run', async () => {
    const response = await fetch(api.url, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${api.keys.b}`,
        'content-type': 'application/json',
        accept: 'text/event-stream',
      },
      body: JSON.stringify({
        query: 'subscription($id: ID!) { runUpdated(id: $id) { id } }',
        variables: { id: ofA.run },
      }),
    });
    const text = await response.text();
    expect(text).toContain('NOT_FOUND');
    expect(text).not.toContain('"data":{');
  });
});

async function stateOf(tenantId: string) {
  const tables = [
    'pipeline',
    'pipeline_version',
    'run',
    'transfer',
    'delivery',
    'connector_endpoint',
    'webhook',
    'webhook_delivery',
    'audit_event',
    'secret',
    'session',
    'api_key',
    'principal',
  ];
  const state: Record<string, unknown> = {};
  for (const table of tables) {
    // Its own key was used meanwhile.
    const columns = table === 'api_key' ? `to_jsonb(t) - 'last_used_at'` : 'to_jsonb(t)';
    state[table] = await api.database.asOwner(
      `select ${columns} as row from ${table} t where tenant_id = $1 order by id`,
      [tenantId],
    );
  }
  state.principal_grant = await api.database.asOwner(
    'select * from principal_grant where tenant_id = $1 order by 2, 3, 4',
    [tenantId],
  );
  return state;
}
