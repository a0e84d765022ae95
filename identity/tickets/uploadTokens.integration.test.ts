import { afterAll, beforeAll, expect, test } from 'vitest';
import { refusedTicket, type TestIntegrations, testIntegrations, testSite, withByte } from '../../test/integrations.ts';
import { createTestDatabase, type TestDatabase } from '../../test/servers/database.ts';
import type { IntegrationKey } from './integrationKeys.ts';
import { sealLegacy } from './legacyCipher.ts';
import { makeUploadToken } from './makeTicket.ts';
import { printTime } from './times.ts';
import { verifyUploadToken } from './uploadToken.ts';

const dayMs = 86_400_000;

let database: TestDatabase;
let integrations: TestIntegrations;
let legacy: IntegrationKey;
let modern: IntegrationKey;
beforeAll(async () => {
  database = await createTestDatabase();
  integrations = testIntegrations(database);
  legacy = await integrations.integrate('acme-portal', true);
  modern = await integrations.integrate('acme-console', false);
});
afterAll(() => database.drop());

const tenantId = () => database.tenants.a.tenantId;

const address = '203.0.113.9';
const verify = (token: string, more: { address?: string | undefined; now?: Date } = {}) =>
  verifyUploadToken({ ...database, ...integrations }, tenantId(), token, { address, ...more });

test('an upload token proves folder, e-mail and live session, in both versions', async () => {
  const { session, sessionId } = await integrations.openSession();
  const content = { folderId: '1056', email: 'jane@acme.example', ip: address, session };
  const proof = {
    folderId: '1056',
    email: 'jane@acme.example',
    sessionId,
    principalId: database.tenants.a.principalId,
  };
  for (const [key, version] of [
    [legacy, 1],
    [legacy, 2],
    [modern, 2],
  ] as const) {
    const { text } = await makeUploadToken(key, { content, version, now: new Date() });
    expect(await verify(text)).toEqual({ ...proof, integration: key.integration });
    await expect(verify(text)).rejects.toMatchObject({ ...refusedTicket, context: { reason: 'used' } });
  }
  await expect(makeUploadToken(modern, { content, version: 1, now: new Date() })).rejects.toMatchObject({
    kind: 'conflict',
  });
});

test('an upload token has the key order, number or text, and either time of the document', async () => {
  const { session } = await integrations.openSession();
  const now = new Date('2026-10-04T23:05:40Z');
  const tokens = [
    `{ "Session":"${session}", "TimeStamp":"10/04/2026 11:05 PM", "AllowedIP":"${address}", "Email":"a@b.example", "FolderID":1056, "Version":1 }`,
    `{"Version":"1","FolderID":"1057","Email":"a@b.example","AllowedIP":"${address}","TimeStamp":"10/04/2026 23:05:11","Session":"${session}"}`,
  ];
  expect(await verify(sealLegacy(legacy, tokens[0]!), { now })).toMatchObject({ folderId: '1056' });
  expect(await verify(sealLegacy(legacy, tokens[1]!), { now })).toMatchObject({ folderId: '1057' });
});

test.each([{ folderId: '1057' }, { email: 'b@b.example' }, { ip: '203.0.113.10' }, {}])(
  'of two upload tokens of one second the second is another one when it says %j',
  async (more) => {
    const content = {
      folderId: '1056',
      email: 'a@b.example',
      ip: address,
      session: (await integrations.openSession()).session,
    };
    const now = new Date();
    const [one, other] = [content, { ...content, ...more }];
    await verify((await makeUploadToken(legacy, { content: one, now })).text);
    const { text } = await makeUploadToken(legacy, { content: other, now });
    const answer = verify(text, { address: other.ip });
    if (Object.keys(more).length > 0)
      expect(await answer).toMatchObject({ folderId: other.folderId, email: other.email });
    else await expect(answer).rejects.toMatchObject({ ...refusedTicket, context: { reason: 'used' } });
  },
);

test('an upload token comes from its one address, and is not used up by a try from another', async () => {
  const { session } = await integrations.openSession();
  const content = { folderId: '1', email: 'a@b.example', ip: address, session };
  const { text } = await makeUploadToken(legacy, { content, now: new Date() });
  for (const other of ['203.0.113.10', '::1', 'garbage', undefined])
    await expect(verify(text, { address: other })).rejects.toMatchObject({
      ...refusedTicket,
      context: { reason: 'address' },
    });
  expect(await verify(text, { address: `::ffff:${address}` })).toMatchObject({ folderId: '1' });
});

test.each<[string, string, string]>([
  ['has ended', `update session set ended_at = now(), end_reason = 'closed' where id = $1`, 'select 1'],
  ['is over', `update session set expires_at = now() where id = $1`, 'select 1'],
  [
    'is that of a disabled user',
    'update principal set disabled_at = now() from session s where s.principal_id = principal.id and s.id = $1',
    'update principal set disabled_at = null',
  ],
  [
    'may only set another password',
    `with own as (update session set method = 'open' where id = $1 returning tenant_id, principal_id)
     insert into principal_password (tenant_id, principal_id, hash, one_time) select tenant_id, principal_id, '*', true from own`,
    'delete from principal_password',
  ],
])('an upload token is refused when its session %s', async (_, statement, undo) => {
  const { session, sessionId } = await integrations.openSession();
  const content = { folderId: '1', email: 'a@b.example', ip: address, session };
  const { text } = await makeUploadToken(modern, { content, now: new Date() });
  await database.asOwner(statement, [sessionId]);
  await expect(verify(text)).rejects.toMatchObject({ ...refusedTicket, context: { reason: 'session' } });
  await database.asOwner(undo);
  const another = { ...content, session: (await integrations.openSession()).session };
  const { text: good } = await makeUploadToken(modern, { content: another, now: new Date() });
  expect(await verify(good)).toMatchObject({ folderId: '1' });
});

test.each<[string, (session: string) => string]>([
  ['of another version', (session) => tokenJson({ Version: '2', Session: session })],
  ['with a key more', (session) => tokenJson({ Session: session, Admin: '1' })],
  ['with a key less', (session) => tokenJson({ Session: session, Email: undefined })],
  ['with a key twice', (session) => tokenJson({ Session: session }).replace('{', '{"FolderID":"2",')],
  ['with another key by its case', (session) => tokenJson({ Session: session }).replace('FolderID', 'FolderId')],
  ['with a list', (session) => tokenJson({ Session: session }).replace('"1056"', '["1056"]')],
  ['with two objects', (session) => tokenJson({ Session: session }).repeat(2)],
  ['with a path for a folder', (session) => tokenJson({ Session: session, FolderID: '../1' })],
  ['in ISO time', (session) => tokenJson({ Session: session, TimeStamp: new Date().toISOString() })],
  ['of yesterday', (session) => tokenJson({ Session: session, TimeStamp: printTime(new Date(Date.now() - dayMs)) })],
  [
    'that is a ticket',
    () =>
      `<token timestamp="${printTime(new Date())}"><sitename>${testSite}</sitename><username>jane</username></token>`,
  ],
])('an upload token %s is refused in the one way', async (_, text) => {
  const { session } = await integrations.openSession();
  await expect(verify(sealLegacy(legacy, text(session)))).rejects.toMatchObject(refusedTicket);
});

test('an upload token of which any byte was changed is refused', async () => {
  const { session } = await integrations.openSession();
  const content = { folderId: '1056', email: 'external-download-test@acme.example', ip: address, session };
  const bytes = Buffer.from((await makeUploadToken(legacy, { content, now: new Date() })).text, 'base64');
  const answers = await Promise.allSettled(
    [...bytes.keys()].map((at) => verify(withByte(bytes, at, 0x01).toString('base64'))),
  );
  expect(answers.filter(({ status }) => status === 'fulfilled')).toEqual([]);
  expect(await verify(bytes.toString('base64'))).toMatchObject({ folderId: '1056' });
});

function tokenJson(more: Record<string, unknown> = {}): string {
  const usual = { Version: '1', FolderID: '1056', Email: 'a@b.example', AllowedIP: '203.0.113.9' };
  return JSON.stringify({ ...usual, TimeStamp: printTime(new Date()), Session: 'wbs_x', ...more });
}
