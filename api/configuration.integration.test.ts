import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { newSigningSecret } from '../audit/webhookSigning.ts';
import { startTestApi, type TestApi } from '../test/servers/api.ts';
import type { TestTenant } from '../test/servers/database.ts';

let api: TestApi;
let tenant: TestTenant;
const folder = mkdtempSync(join(tmpdir(), 'waybill-api-'));
beforeAll(async () => {
  api = await startTestApi(null);
  tenant = api.database.tenants.a;
});
afterAll(async () => {
  await api.close();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(async () => {
  await api.database.asOwner(
    'truncate pipeline, pipeline_version, connector_endpoint, webhook, webhook_delivery, secret, audit_event, run, transfer, delivery cascade',
  );
});

const endpoint = (name: string, extra = '') => `endpoint: ${name}
apiVersion: waybill/v1
connector: local
config: { root: ${folder} }
${extra}`;
const sftp = `endpoint: acme-sftp
apiVersion: waybill/v1
connector: sftp
config: { host: 127.0.0.1, port: 1, username: acme, root: /, hostKeys: ["SHA256:uNiVztksCsDhcc0u9e8BrYR7yhoWD0aWHvXSF3J3cSk"] }
secrets:
  password: { env: ACME_PASSWORD }
`;
const webhook = `webhook: orders
apiVersion: waybill/v1
url: https://partner.example/hook
events: ["orders.*", "pipeline.published"]
secrets: { signing: { file: ./whsec } }
`;
const pipeline = (text = '') =>
  `pipeline: orders
apiVersion: waybill/v1
description: Orders in${text}
endpoints: { from: landing-zone, to: archive }
steps:
  - id: copy
    use: transfer.copy
    with: { from: "from:/in/*.csv", to: "to:/orders/" }
`.replace('use: transfer.copy\n', 'use: transfer.copy@1\n');

const both = [endpoint('landing-zone'), endpoint('archive')].join('---\n');

async function apply(text: string | string[], input: Record<string, unknown> = {}, key = api.keys.a) {
  const documents = [text].flat().map((one, index) => ({ file: `configuration/${index}.yaml`, text: one }));
  const { body } = await api.graphql(
    key,
    `mutation($input: ApplyConfigurationInput!) { applyConfiguration(input: $input) { __typename
      ... on ApplyConfigurationPayload { changes { kind name change version } diagnostics { code message } ignored { file reason } }
      ... on UserError { code message path docsUrl retryable }
      ... on InvalidInputError { diagnostics { code severity message file line column endLine endColumn suggestion docsUrl } } } }`,
    { input: { documents, ...input } },
  );
  expect(body.errors, JSON.stringify(body.errors)).toBeUndefined();
  return body.data.applyConfiguration;
}

const words = (result: { changes: Array<{ kind: string; name: string; change: string }> }) =>
  result.changes?.map(({ kind, name, change }) => `${kind} ${name} ${change}`) ?? JSON.stringify(result);
const events = async () => {
  const rows = await api.database.asOwner<{ type: string }>('select type from audit_event order by id');
  return rows.map(({ type }) => type);
};
const storedSecrets = async () => {
  const rows = await api.database.asOwner<{ name: string }>('select name from secret order by name');
  return rows.map(({ name }) => name);
};
const acmePassword = { kind: 'endpoint', name: 'acme-sftp', secret: 'password', value: 'hunter2-canary' };

describe('applyConfiguration', () => {
  test('publishes in document order, says what changed, and the second time that nothing did', async () => {
    const first = await apply([pipeline(), both]);
    expect(words(first)).toEqual([
      'pipeline orders created',
      'endpoint landing-zone created',
      'endpoint archive created',
    ]);
    expect(first.changes[0].version).toMatch(/^[0-9a-f]{12}$/);
    expect(first.changes[1].version).toBe('1');
    expect(await events()).toEqual(['pipeline.published', 'endpoint.created', 'endpoint.created']);

    const second = await apply([pipeline(), both]);
    expect(words(second)).toEqual([
      'pipeline orders unchanged',
      'endpoint landing-zone unchanged',
      'endpoint archive unchanged',
    ]);
    expect(await events()).toHaveLength(3);

    const third = await apply([pipeline(' again'), endpoint('archive', 'limits: { concurrency: 3 }\n')]);
    expect(words(third)).toEqual(['pipeline orders changed', 'endpoint archive changed']);
    expect(third.changes[1].version).toBe('2');
    const back = await apply([pipeline()]);
    expect(back.changes[0]).toMatchObject({ change: 'changed', version: first.changes[0].version });
    const { body } = await api.graphql(
      api.keys.a,
      '{ pipeline(name: "orders") { description liveVersion { hash source } versions { edges { node { hash } } } } }',
    );
    expect(body.data.pipeline.versions.edges).toHaveLength(2);
    expect(body.data.pipeline).toMatchObject({ description: 'Orders in', liveVersion: { source: pipeline() } });
  });

  test('publishes no pipeline under an application that is not registered, and says where and what to do', async () => {
    const under = (id: number) => pipeline(`\nsession: { application: ${id} }`);
    const found = async (id: number) => (await apply([both, under(id)])).diagnostics;
    const { tenantId } = tenant;
    expect(await found(1001)).toMatchObject([
      {
        code: 'UNKNOWN_APPLICATION',
        message: 'the application 1001 is not registered, or is disabled',
        suggestion: 'register it first: waybill apps register --id 1001 --name NAME',
        ...{ file: 'configuration/1.yaml', line: 4, column: 25 },
      },
    ]);
    expect(await found(12)).toMatchObject([{ message: 'the application 12 is reserved', line: 4 }]);
    const register = `insert into application (tenant_id, id, name) values ($1::uuid, 1001, 'portal')`;
    // That of another tenant is none.
    await api.database.asOwner(register, [api.database.tenants.b.tenantId]);
    expect(await found(1001)).toHaveLength(1);
    await api.database.asOwner(register, [tenantId]);
    expect(words(await apply([both, under(1001)]))).toContain('pipeline orders created');
    await api.database.asOwner('update application set disabled_at = now()');
    expect(await found(1001)).toHaveLength(1);
  });

  test('publishes nothing when one document is wrong, and says where', async () => {
    const result = await apply([both, pipeline().replace('landing-zone', 'nowhere-zone')]);
    expect(result).toMatchObject({ __typename: 'InvalidInputError', code: 'INVALID_INPUT', retryable: false });
    expect(result.diagnostics[0]).toMatchObject({ file: 'configuration/1.yaml', line: 4, severity: 'error' });
    expect(await events()).toEqual([]);
    expect(await api.database.asOwner('select name from connector_endpoint')).toEqual([]);
  });

  test('knows the endpoints that were published before, but not those of another tenant', async () => {
    await apply(both);
    expect(words(await apply(pipeline()))).toEqual(['pipeline orders created']);
    expect((await apply(pipeline(), {}, api.keys.b)).__typename).toBe('InvalidInputError');
  });

  test('with dryRun says the same and changes nothing', async () => {
    expect(words(await apply([both, sftp], { dryRun: true, secrets: [acmePassword] }))).toHaveLength(3);
    expect(await events()).toEqual([]);
    expect(await storedSecrets()).toEqual([]);
  });

  test('ignores YAML that is not ours and says so', async () => {
    const result = await apply(['image: nginx\n', both]);
    expect(result.ignored).toEqual([{ file: 'configuration/0.yaml', reason: expect.any(String) }]);
  });

  test('removes only when asked, what the documents do not hold, pipelines first', async () => {
    await apply([both, pipeline(), sftp], { secrets: [acmePassword] });
    expect(words(await apply(endpoint('archive')))).toEqual(['endpoint archive unchanged']);
    const pruned = await apply(endpoint('archive'), { prune: true });
    expect(words(pruned)).toEqual([
      'endpoint archive unchanged',
      'pipeline orders removed',
      'endpoint acme-sftp removed',
      'endpoint landing-zone removed',
    ]);
    expect(await storedSecrets()).toEqual([]);
    expect(
      (await api.graphql(api.keys.a, '{ pipelines { edges { node { name } } } }')).body.data.pipelines.edges,
    ).toEqual([]);
    expect(words(await apply([both, pipeline()]))).toContain('pipeline orders created');
  });

  test('with prune takes no endpoint for known that it would remove', async () => {
    await apply(both);
    expect((await apply(pipeline(), { prune: true })).__typename).toBe('InvalidInputError');
    expect(await events()).toHaveLength(2);
  });

  test('of many at once leaves one outcome', async () => {
    const results = await Promise.all(Array.from({ length: 6 }, () => apply([both, pipeline()])));
    expect(results.map(({ __typename }) => __typename)).toEqual(Array(6).fill('ApplyConfigurationPayload'));
    expect(results.flatMap(words).filter((change) => change === 'pipeline orders created')).toHaveLength(1);
    expect(await events()).toHaveLength(3);
  });

  test('needs the permission of each kind that changes', async () => {
    const publisher = await api.key(tenant, ['pipeline:publish']);
    expect((await apply(both, {}, publisher)).__typename).toBe('ForbiddenError');
    await apply(both);
    expect(words(await apply([both, pipeline()], {}, publisher))).toContain('pipeline orders created');
  });
});

describe('secrets of documents', () => {
  test('that were neither sent nor stored are a diagnostic at their place, and nothing is published', async () => {
    const result = await apply([both, `# a comment\n${sftp}`]);
    expect(result.diagnostics).toEqual([
      expect.objectContaining({
        code: 'SECRET_MISSING',
        file: 'configuration/1.yaml',
        line: 7,
        column: 13,
        endLine: 7,
      }),
    ]);
    expect(await events()).toEqual([]);
  });

  test('are sealed, unchanged when sent again or not at all, and changed when they differ', async () => {
    expect(words(await apply(sftp, { secrets: [acmePassword] }))).toEqual(['endpoint acme-sftp created']);
    const [row] = await api.database.asOwner<{ ciphertext: Buffer }>('select ciphertext from secret');
    expect(row!.ciphertext.includes('hunter2-canary')).toBe(false);
    expect(await api.secretBox.open(tenant.tenantId, 'endpoint/acme-sftp/password', row!.ciphertext)).toBe(
      'hunter2-canary',
    );
    expect(words(await apply(sftp, { secrets: [acmePassword] }))).toEqual(['endpoint acme-sftp unchanged']);
    expect(words(await apply(sftp))).toEqual(['endpoint acme-sftp unchanged']);
    expect(words(await apply(sftp, { secrets: [{ ...acmePassword, value: 'another' }] }))).toEqual([
      'endpoint acme-sftp changed',
    ]);
    const dump = JSON.stringify(await api.database.asOwner('select * from audit_event'));
    expect(dump).not.toContain('hunter2-canary');
  });

  test('that no document names are refused', async () => {
    const result = await apply(both, { secrets: [acmePassword] });
    expect(result).toMatchObject({ __typename: 'InvalidInputError', path: ['input', 'secrets'] });
    expect(JSON.stringify(result)).not.toContain('hunter2-canary');
  });

  test('shared by name must be stored, make their endpoints open again when set, and cannot be removed while used', async () => {
    const shared = sftp.replace('{ env: ACME_PASSWORD }', '{ secret: acme-password }');
    expect((await apply(shared)).diagnostics[0]).toMatchObject({
      code: 'SECRET_MISSING',
      suggestion: 'waybill secrets set acme-password',
    });
    const set = (value: string) =>
      api.graphql(
        api.keys.a,
        'mutation($value: String!) { setSecret(input: { name: "acme-password", value: $value }) { __typename } }',
        { value },
      );
    await set('one');
    expect(words(await apply(shared))).toEqual(['endpoint acme-sftp created']);
    await set('two');
    await set('two');
    const { body } = await api.graphql(api.keys.a, '{ endpoint(name: "acme-sftp") { version secretNames } }');
    expect(body.data.endpoint).toEqual({ version: 2, secretNames: ['password'] });
    const removed = await api.graphql(
      api.keys.a,
      'mutation { removeSecret(input: { name: "acme-password" }) { __typename ... on UserError { message } } }',
    );
    expect(removed.body.data.removeSecret).toMatchObject({
      __typename: 'ConflictError',
      message: expect.stringContaining('acme-sftp'),
    });
  });

  test('of a webhook must be able to sign; its messages are written with the change that they tell of', async () => {
    const signing = (value: string) => [{ kind: 'webhook', name: 'orders', secret: 'signing', value }];
    expect((await apply(webhook, { secrets: signing('not a secret') })).diagnostics[0].code).toBe('SECRET_INVALID');
    expect(words(await apply(webhook, { secrets: signing(newSigningSecret()) }))).toEqual(['webhook orders created']);
    await apply([both, pipeline()]);
    const { body } = await api.graphql(
      api.keys.a,
      '{ webhooks { edges { node { name events version deliveries { edges { node { type state } } } } } } }',
    );
    expect(body.data.webhooks.edges[0].node).toMatchObject({ events: ['orders.*', 'pipeline.published'], version: 1 });
    expect(body.data.webhooks.edges[0].node.deliveries.edges).toEqual([
      { node: { type: 'pipeline.published', state: 'pending' } },
    ]);
  });
});

describe('an endpoint', () => {
  const remove = async (name: string) =>
    (
      await api.graphql(
        api.keys.a,
        'mutation($name: String!) { removeEndpoint(input: { name: $name }) { __typename ... on UserError { code message } } }',
        { name },
      )
    ).body.data.removeEndpoint;
  const check = async (name: string) =>
    (
      await api.graphql(
        api.keys.a,
        'mutation($name: String!) { checkEndpoint(input: { name: $name }) { __typename ... on CheckEndpointPayload { check { ok checkedAt server identity errorKind errorMessage } endpoint { check { ok } } } } }',
        { name },
      )
    ).body.data.checkEndpoint;

  test('that a live pipeline uses is not removed, and the answer names it', async () => {
    await apply([both, pipeline()]);
    expect(await remove('archive')).toMatchObject({
      __typename: 'ConflictError',
      code: 'IN_USE',
      message: expect.stringContaining('orders'),
    });
    await apply(both, { prune: true });
    expect((await remove('archive')).__typename).toBe('RemoveEndpointPayload');
    expect((await remove('archive')).__typename).toBe('NotFoundError');
  });

  test('that can be reached is reported so', async () => {
    await apply(both);
    expect(await check('archive')).toMatchObject({
      check: { ok: true, errorKind: null },
      endpoint: { check: { ok: true } },
    });
    expect((await check('unknown')).__typename).toBe('NotFoundError');
    expect(await events()).toContain('endpoint.checked');
  });

  test('that cannot be reached is reported as data, without its secret', async () => {
    await apply(sftp, { secrets: [acmePassword] });
    const report = await check('acme-sftp');
    expect(report.check).toMatchObject({ ok: false, errorKind: 'unavailable' });
    const [event] = await api.database.asOwner<{ outcome: string }>(
      "select * from audit_event where type = 'endpoint.checked'",
    );
    expect(event!.outcome).toBe('failure');
    expect(JSON.stringify([report, event])).not.toContain('hunter2-canary');
  });
});
