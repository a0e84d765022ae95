import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createRegistry } from '../connectors/registry.ts';
import { createHostSecrets } from '../identity/hostSecrets.ts';
import { createDialler } from '../network/dialler.ts';
import { testKeys } from '../test/keys.ts';
import { startTestApi, type TestApi } from '../test/servers/api.ts';
import { type Sshd, startSshd } from '../test/servers/sshd.ts';
import { createEndpointPool, type EndpointPool } from './endpoints.ts';

let api: TestApi;
let partner: Sshd;
let folder: string;
let pool: EndpointPool;
const dialler = createDialler({ loopback: true, allow: [] });
const silent = { debug() {}, info() {}, warn() {}, error() {} };

beforeAll(async () => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'waybill-lent-')));
  for (const name of ['keys', 'partner', 'landing']) mkdirSync(join(folder, name));
  const lent = {
    hostSecrets: createHostSecrets({ files: [`tenant-a=${folder}/keys/*`], variables: [], environment: {} }),
    localRoots: [`tenant-a=${folder}/landing`],
  };
  [api, partner] = await Promise.all([startTestApi(null, lent), startSshd({ root: join(folder, 'partner') })]);
  writeFileSync(join(folder, 'keys/acme'), partner.privateKey, { mode: 0o600 });
  pool = createEndpointPool({
    store: api.database.store,
    registry: createRegistry(),
    secretBox: testKeys(api.database.store).secretBox,
    hostSecrets: lent.hostSecrets,
    connectorContext: { dialler, localRoots: lent.localRoots, log: silent },
    log: silent,
  });
});
afterAll(async () => {
  await pool.close();
  await dialler.close();
  await partner.stop();
  await api.close();
  rmSync(folder, { recursive: true, force: true });
});

const tenantIds = () => [api.database.tenants.a.tenantId, api.database.tenants.b.tenantId] as const;
const check = (tenantId: string, name: string) =>
  pool.use(tenantId, name, (connector) => connector.check(AbortSignal.timeout(20_000)));

async function place(name: string, connector: string, config: object, secretRefs: object): Promise<void> {
  for (const tenantId of tenantIds())
    await api.database.store.sql(tenantId, (sql) =>
      sql.query(
        `insert into connector_endpoint (tenant_id, name, connector, config, limits, secret_refs, content_hash)
         values ($1::uuid, $2::text, $3::text, $4::jsonb, '{}', $5::jsonb, 'hash')`,
        [tenantId, name, connector, JSON.stringify(config), JSON.stringify(secretRefs)],
      ),
    );
}

test("a worker's file opens the endpoint of the tenant that it is lent to, and no other's, whatever is stored", async () => {
  const { host, port, username, hostKeyFingerprint } = partner;
  const config = { host, port, username, root: join(folder, 'partner'), hostKeys: [hostKeyFingerprint] };
  await place('lent', 'sftp', config, { privateKey: `workerFile:${folder}/keys/acme` });
  const [a, b] = tenantIds();
  expect(await check(a, 'lent')).toMatchObject({ roundTripMs: expect.any(Number) });
  await expect(check(b, 'lent')).rejects.toThrow(expect.objectContaining({ kind: 'forbidden' }));
});

test('a local root that is lent to one tenant is refused to the others', async () => {
  await place('landing', 'local', { root: join(folder, 'landing') }, {});
  const [a, b] = tenantIds();
  expect(await check(a, 'landing')).toMatchObject({ server: 'local filesystem' });
  await expect(check(b, 'landing')).rejects.toThrow(expect.objectContaining({ kind: 'forbidden' }));
});

test.each(['lent', 'landing'])(
  'the API checks the endpoint %s of the tenant that it is lent to, and no other’s',
  async (name) => {
    const query = `mutation { checkEndpoint(input: { name: "${name}" }) {
    __typename ... on CheckEndpointPayload { check { ok errorKind } } } }`;
    const answer = (ok: boolean, errorKind: string | null) => ({
      __typename: 'CheckEndpointPayload',
      check: { ok, errorKind },
    });
    const checked = async (key: string) => (await api.graphql(key, query)).body.data.checkEndpoint;
    expect(await checked(api.keys.a)).toEqual(answer(true, null));
    expect(await checked(api.keys.b)).toEqual(answer(false, 'forbidden'));
  },
);

test('a document that names what is not lent is not published', async () => {
  const apply = async (secret: string) => {
    const text = `endpoint: wants-more\napiVersion: waybill/v1\nconnector: sftp\nconfig: { host: x.example, username: u, hostKeys: ["SHA256:${'A'.repeat(43)}"] }\nsecrets: { password: ${secret} }\n`;
    const { body } = await api.graphql(
      api.keys.a,
      `mutation($input: ApplyConfigurationInput!) { applyConfiguration(input: $input) {
         __typename ... on InvalidInputError { diagnostics { code message line } } } }`,
      { input: { documents: [{ file: 'a.yaml', text }] } },
    );
    return body.data.applyConfiguration;
  };
  for (const secret of ['{ workerFile: /etc/shadow }', '{ workerEnv: PATH }'])
    expect(await apply(secret)).toEqual({
      __typename: 'InvalidInputError',
      diagnostics: [{ code: 'SECRET_INVALID', message: expect.stringContaining('WAYBILL_WORKER_'), line: 5 }],
    });
  expect((await apply('{ workerFile: relative }')).__typename).toBe('InvalidInputError');
  expect(await api.database.asOwner(`select name from connector_endpoint where name = 'wants-more'`)).toEqual([]);
});
