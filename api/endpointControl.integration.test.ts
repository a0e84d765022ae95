import { mkdir, mkdtemp, readdir, realpath, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { scanHostKey } from '../connectors/sftp/hostKeys.ts';
import { createDialler } from '../network/dialler.ts';
import { startTestApi, type TestApi } from '../test/servers/api.ts';
import type { ListeningServer } from '../test/servers/listening.ts';
import { startRclone } from '../test/servers/rclone.ts';
import { type Sshd, startSshd } from '../test/servers/sshd.ts';

let api: TestApi;
let folder: string;
let partner: Sshd;
let readOnly: ListeningServer;
const wrongKey = `SHA256:${'A'.repeat(43)}`;

beforeAll(async () => {
  folder = await realpath(await mkdtemp(path.join(tmpdir(), 'waybill-control-')));
  await mkdir(path.join(folder, 'out'));
  await writeFile(path.join(folder, 'out/a.csv'), 'one');
  [api, partner, readOnly] = await Promise.all([
    startTestApi(null),
    startSshd({ root: folder }),
    startRclone('sftp', folder, ['--read-only', '--user', 'acme', '--pass', 'reading']),
  ]);
});
afterAll(async () => {
  await api?.close();
  await partner?.stop();
  await readOnly?.stop();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

const document = (name: string, hostKey: string) => `endpoint: ${name}
apiVersion: waybill/v1
connector: sftp
config: { host: ${partner.host}, port: ${partner.port}, username: ${partner.username}, root: ${folder}, hostKeys: ["${hostKey}"] }
secrets: { privateKey: { file: ./key } }
`;

async function apply(text: string, secrets: Array<Record<string, string>>) {
  const { body } = await api.graphql(
    api.keys.a,
    'mutation($input: ApplyConfigurationInput!) { applyConfiguration(input: $input) { __typename ... on UserError { message } ... on ApplyConfigurationPayload { changes { name change } } } }',
    { input: { documents: [{ file: 'a.yaml', text }], secrets: secrets.map((one) => ({ kind: 'endpoint', ...one })) } },
  );
  expect(body.data.applyConfiguration.__typename, JSON.stringify(body)).toBe('ApplyConfigurationPayload');
  return body.data.applyConfiguration.changes;
}
const addSftp = (name: string, hostKey = partner.hostKeyFingerprint) =>
  apply(document(name, hostKey), [{ name, secret: 'privateKey', value: partner.privateKey }]);

async function ask(mutation: string, type: string, input: Record<string, unknown>, fields: string) {
  const { body } = await api.graphql(
    api.keys.a,
    `mutation($input: ${type}!) { answer: ${mutation}(input: $input) { __typename ... on UserError { message path } ${fields} } }`,
    { input },
  );
  expect(body.errors, JSON.stringify(body.errors)).toBeUndefined();
  return body.data.answer;
}
const checkFields =
  'ok server roundTripMs clockSkewMs identity rights { list read write rename delete } capabilities left errorKind errorMessage';
const check = async (name: string, more: Record<string, unknown> = {}) =>
  (
    await ask(
      'checkEndpoint',
      'CheckEndpointInput',
      { name, ...more },
      `... on CheckEndpointPayload { check { ${checkFields} } }`,
    )
  ).check;
const eventsOf = async (type: string) =>
  (
    await api.graphql(
      api.keys.a,
      'query($type: String!) { auditEvents(first: 50, type: $type) { edges { node { data } } } }',
      { type },
    )
  ).body.data.auditEvents.edges.map(({ node }: { node: { data: unknown } }) => node.data);

describe('the check of an endpoint', () => {
  test('tells rights, clock and capabilities, and leaves nothing behind', async () => {
    await addSftp('checked');
    const found = await check('checked', { path: '/out' });
    expect(found).toMatchObject({
      ok: true,
      identity: partner.hostKeyFingerprint,
      rights: { list: true, read: true, write: true, rename: true, delete: true },
      capabilities: { rename: true, atomicNoReplace: true },
      left: null,
      errorKind: null,
    });
    expect(Math.abs(found.clockSkewMs)).toBeLessThan(5_000);
    expect(await readdir(path.join(folder, 'out'))).toEqual(['a.csv']);
    expect(await eventsOf('endpoint.checked')).toMatchObject([{ endpoint: 'checked', rights: { write: true } }]);
  });

  test('of an account that may only read says which rights are missing, and succeeds', async () => {
    const dialler = createDialler({ loopback: true, allow: [] });
    const keys = await scanHostKey(dialler, '127.0.0.1', readOnly.port).finally(() => dialler.close());
    const text = `endpoint: reading
apiVersion: waybill/v1
connector: sftp
config: { host: 127.0.0.1, port: ${readOnly.port}, username: acme, hostKeys: ["${keys[0]!.fingerprint}"] }
secrets: { password: { file: ./password } }
`;
    await apply(text, [{ name: 'reading', secret: 'password', value: 'reading' }]);
    expect(await check('reading', { path: '/out' })).toMatchObject({
      ok: true,
      rights: { list: true, read: true, write: false, rename: null, delete: null },
      clockSkewMs: null,
    });
  });

  test('of a folder that is not there fails, and the last hundred checks are kept', async () => {
    await addSftp('history');
    expect(await check('history', { path: '/absent' })).toMatchObject({ ok: false, errorKind: 'not-found' });
    await api.database.store.sql(api.database.tenants.a.tenantId, (sql) =>
      sql.query(
        `insert into endpoint_check (tenant_id, endpoint_id, created_at, ok, report)
         select tenant_id, id, now() - interval '1 day' * n, false, '{"errorKind":"timeout"}'
           from connector_endpoint, generate_series(1, 120) n where name = 'history'`,
      ),
    );
    await check('history');
    const { body } = await api.graphql(
      api.keys.a,
      '{ endpoint(name: "history") { checks(first: 100) { edges { node { ok errorKind } } pageInfo { hasNextPage } } } }',
    );
    const { edges, pageInfo } = body.data.endpoint.checks;
    expect(edges.slice(0, 3).map(({ node }: { node: unknown }) => node)).toEqual([
      { ok: true, errorKind: null },
      { ok: false, errorKind: 'not-found' },
      { ok: false, errorKind: 'timeout' },
    ]);
    expect([edges.length, pageInfo.hasNextPage]).toEqual([100, false]);
  });
});

describe('a changed host key', () => {
  const accept = (fingerprint: string) =>
    ask(
      'acceptHostKey',
      'AcceptHostKeyInput',
      { name: 'moved', fingerprint, reason: 'ACME has told us by phone' },
      '... on AcceptHostKeyPayload { endpoint { version config } }',
    );

  test('is refused with both fingerprints, and trusted only when it is accepted while the server shows it', async () => {
    await addSftp('moved', wrongKey);
    const refused = await check('moved');
    expect(refused).toMatchObject({ ok: false, errorKind: 'unauthenticated' });
    expect(refused.errorMessage).toContain(wrongKey);
    expect(refused.errorMessage).toContain(partner.hostKeyFingerprint);

    const other = `SHA256:${'B'.repeat(43)}`;
    expect(await accept(other)).toMatchObject({ __typename: 'InvalidInputError', path: ['input', 'fingerprint'] });
    expect(await accept(wrongKey)).toMatchObject({ __typename: 'InvalidInputError' });
    expect(await check('moved')).toMatchObject({ ok: false });

    const accepted = await accept(partner.hostKeyFingerprint);
    expect(accepted.endpoint).toMatchObject({ version: 2, config: { hostKeys: [partner.hostKeyFingerprint] } });
    expect(await check('moved')).toMatchObject({ ok: true });
    expect(await accept(partner.hostKeyFingerprint)).toMatchObject({ endpoint: { version: 2 } });
    expect(await eventsOf('endpoint.host-key-accepted')).toEqual([
      expect.objectContaining({
        before: [wrongKey],
        after: [partner.hostKeyFingerprint],
        reason: 'ACME has told us by phone',
      }),
    ]);
  });

  test('comes back with the old file, and applying says that it changes something', async () => {
    expect(await addSftp('moved', wrongKey)).toMatchObject([{ name: 'moved', change: 'changed' }]);
    expect(await check('moved')).toMatchObject({ ok: false, errorKind: 'unauthenticated' });
  });
});

test('a sweep removes old unfinished writes of one folder, and says how many', async () => {
  await addSftp('swept');
  const at = (name: string) => path.join(folder, 'out', name);
  const old = new Date(Date.now() - 48 * 3_600_000);
  for (const name of ['.waybill-old.part', '.waybill-young.part', '.waybill-notes.txt']) await writeFile(at(name), 'x');
  await utimes(at('.waybill-old.part'), old, old);
  await utimes(at('.waybill-notes.txt'), old, old);
  const sweep = (olderThan: string, where = '/out') =>
    ask(
      'sweepEndpoint',
      'SweepEndpointInput',
      { name: 'swept', path: where, olderThan },
      '... on SweepEndpointPayload { removed }',
    );
  expect(await sweep('30m')).toMatchObject({ __typename: 'InvalidInputError', path: ['input', 'olderThan'] });
  expect(await sweep('24h', '/absent')).toMatchObject({ __typename: 'UnavailableError' });
  expect(await sweep('24h')).toMatchObject({ removed: 1 });
  expect((await readdir(path.join(folder, 'out'))).sort()).toEqual([
    '.waybill-notes.txt',
    '.waybill-young.part',
    'a.csv',
  ]);
  expect(await eventsOf('endpoint.swept')).toEqual([{ endpoint: 'swept', path: '/out', olderThan: '24h', removed: 1 }]);
});

test('a pause with a time that has passed is refused, and one that is over is shown no more', async () => {
  await addSftp('paused');
  const pause = (until: Date) =>
    ask(
      'pauseEndpoint',
      'PauseEndpointInput',
      { name: 'paused', reason: 'x', until: until.toISOString() },
      '... on DecideEndpointPayload { endpoint { pause { reason by { name } } } }',
    );
  expect(await pause(new Date(Date.now() - 1_000))).toMatchObject({
    __typename: 'InvalidInputError',
    path: ['input', 'until'],
  });
  expect(await pause(new Date(Date.now() + 3_600_000))).toMatchObject({ endpoint: { pause: { reason: 'x' } } });
  await api.database.store.sql(api.database.tenants.a.tenantId, (sql) =>
    sql.query(`update connector_endpoint set paused_until = now() - interval '1 second' where name = 'paused'`),
  );
  const { body } = await api.graphql(api.keys.a, '{ endpoint(name: "paused") { pause { reason } } }');
  expect(body.data.endpoint.pause).toBeNull();
});
