import { createCipheriv, randomBytes } from 'node:crypto';
import { EncryptJWT } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openStore } from '../../prisma/store.ts';
import { refusedTicket, type TestIntegrations, testIntegrations, testSite, withByte } from '../../test/integrations.ts';
import { createTestDatabase, silentLog, type TestDatabase } from '../../test/servers/database.ts';
import type { IntegrationKey } from './integrationKeys.ts';
import { disableIntegration } from './integrations.ts';
import { sealLegacy } from './legacyCipher.ts';
import { makeTicket } from './makeTicket.ts';
import { proveTicket } from './proveTicket.ts';
import { printTime } from './times.ts';
import { forgetUsedTickets } from './upkeep.ts';

const minuteMs = 60_000;
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
const prove = (ticket: string, now?: Date) => proveTicket({ ...database, ...integrations }, tenantId(), ticket, now);
const ticketFor = async (key: IntegrationKey, user = 'ACME\\Jane', now = new Date()) =>
  (await makeTicket(key, { user, now })).text;
const xml = (more: Partial<{ timestamp: string; site: string; user: string }> = {}) => {
  const { timestamp = printTime(new Date()), site = testSite, user = 'ACME\\jane' } = more;
  return `<token timestamp="${timestamp}"><sitename>${site}</sitename><username>${user}</username></token>`;
};

test('a ticket proves the user behind the backslash and the integration, in both versions', async () => {
  expect(await prove(await ticketFor(legacy))).toEqual({ userName: 'Jane', integration: 'acme-portal' });
  expect(await prove(await ticketFor(modern))).toEqual({ userName: 'Jane', integration: 'acme-console' });
  expect(await prove(await ticketFor(modern, 'jane.doe@acme.example'))).toMatchObject({
    userName: 'jane.doe@acme.example',
  });
});

test('a ticket is taken as a URL damages it: + turned into a space, and broken lines', async () => {
  let ticket = '';
  for (let at = 0; !ticket.includes('+'); at++) ticket = await ticketFor(legacy, `ACME\\plus${at}`);
  expect(await prove(ticket.replaceAll('+', ' '))).toMatchObject({ userName: expect.stringMatching(/^plus/) });
  const lines = (await ticketFor(legacy, 'ACME\\lines')).replace(/.{64}/g, '$&\r\n');
  expect(await prove(lines)).toMatchObject({ userName: 'lines' });
});

test('a ticket is taken in the white space of the document, with entities of its five, and for a site in any case', async () => {
  const spaced = `<token timestamp="${printTime(new Date())}">\r\n  <sitename>${testSite.toUpperCase()}</sitename>\n\t<username> A&amp;B\\o&apos;hara </username>\n</token>\n`;
  expect(await prove(sealLegacy(legacy, spaced))).toMatchObject({ userName: "o'hara" });
  const declared = `<?xml version="1.0" encoding="utf-8"?>\n${xml({ user: 'ACME\\declared' })}`;
  expect(await prove(sealLegacy(legacy, declared))).toMatchObject({ userName: 'declared' });
});

test('a ticket is good once, and once only for two processes at the same instant', async () => {
  const ticket = await ticketFor(legacy, 'ACME\\once');
  const other = openStore({ ...database, log: silentLog });
  const tries = await Promise.allSettled(
    Array.from({ length: 20 }, (_, at) =>
      proveTicket(
        { store: at % 2 === 0 ? database.store : other, secretBox: integrations.secretBox },
        tenantId(),
        ticket,
      ),
    ),
  );
  await other.close();
  expect(tries.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  for (const one of tries.filter((result) => result.status === 'rejected'))
    expect(one.reason).toMatchObject({ ...refusedTicket, context: { reason: 'used' } });
  await expect(prove(await ticketFor(modern, 'x').then(twice))).rejects.toMatchObject(refusedTicket);
});

test('a user gets another ticket in the next second', async () => {
  const now = Date.now();
  for (const offsetMs of [0, 1_000, 2_000])
    expect(await prove(await ticketFor(legacy, 'ACME\\often', new Date(now + offsetMs)))).toMatchObject({
      userName: 'often',
    });
});

test('a ticket is the same one in other white space, another case of the name and another domain', async () => {
  const timestamp = printTime(new Date());
  await prove(sealLegacy(legacy, xml({ timestamp, user: 'ACME\\same' })));
  for (const text of [
    `\n${xml({ timestamp, user: 'ACME\\same' })}\n`,
    xml({ timestamp, user: 'ACME\\SAME' }),
    xml({ timestamp, user: 'OTHER\\same' }),
  ])
    await expect(prove(sealLegacy(legacy, text))).rejects.toMatchObject({
      ...refusedTicket,
      context: { reason: 'used' },
    });
});

test('a ticket is good five minutes before and after its time, and no second longer', async () => {
  const now = new Date('2026-03-04T05:06:07Z');
  const at = (offsetMs: number, user: string) => ticketFor(legacy, user, new Date(now.getTime() + offsetMs));
  expect(await prove(await at(-5 * minuteMs, 'old'), now)).toMatchObject({ userName: 'old' });
  expect(await prove(await at(5 * minuteMs, 'new'), now)).toMatchObject({ userName: 'new' });
  for (const offsetMs of [-5 * minuteMs - 1_000, 5 * minuteMs + 1_000, 24 * 60 * minuteMs])
    await expect(prove(await at(offsetMs, 'late'), now)).rejects.toMatchObject({
      ...refusedTicket,
      context: { reason: 'time' },
    });
  const sealed = await ticketFor(modern, 'sealed', now);
  await expect(prove(sealed, new Date(now.getTime() + 5 * minuteMs))).rejects.toMatchObject(refusedTicket);
  await expect(prove(sealed, new Date(now.getTime() - 5 * minuteMs - 1_000))).rejects.toMatchObject(refusedTicket);
  expect(await prove(sealed, new Date(now.getTime() + 5 * minuteMs - 1_000))).toMatchObject({ userName: 'sealed' });
});

test.each<[string, () => string]>([
  ['of 1 MB', () => 'A'.repeat(2 ** 20)],
  ['of nothing', () => ''],
  ['of other characters', () => `${sealLegacy(legacy, xml())}\u0000`],
  ['of half a block', () => Buffer.alloc(24, 7).toString('base64')],
  ['of noise', () => randomBytes(160).toString('base64')],
  ['with a document type', () => sealLegacy(legacy, `<!DOCTYPE token [<!ENTITY a "b">]>${xml()}`)],
  ['with an entity of its own', () => sealLegacy(legacy, xml({ user: 'ACME\\&a;' }))],
  ['with a numeric entity', () => sealLegacy(legacy, xml({ user: 'ACME\\&#106;ane' }))],
  ['with two roots', () => sealLegacy(legacy, xml() + xml())],
  ['with an element more', () => sealLegacy(legacy, xml().replace('</token>', '<admin/></token>'))],
  ['with a comment', () => sealLegacy(legacy, xml({ user: 'ja<!-- -->ne' }))],
  ['with CDATA', () => sealLegacy(legacy, xml({ user: '<![CDATA[jane]]>' }))],
  ['with NUL in the name', () => sealLegacy(legacy, xml({ user: 'ACME\\ja\u0000ne' }))],
  ['with a line break in the name', () => sealLegacy(legacy, xml({ user: 'ACME\\ja\nne' }))],
  ['in bad UTF-8', () => sealBytes(Buffer.from(xml({ user: 'ja\u00ffne' }), 'latin1'))],
  ['of another site', () => sealLegacy(legacy, xml({ site: 'files.other.example' }))],
  ['under the key of an integration that is not legacy', () => sealLegacy(modern, xml())],
  ['under nobody’s key', () => sealLegacy({ key: randomBytes(32), iv: randomBytes(16) }, xml())],
  ['in ISO time', () => sealLegacy(legacy, xml({ timestamp: new Date().toISOString() }))],
  ['with the day before the month', () => sealLegacy(legacy, xml({ timestamp: '31/12/2026 10:00:00' }))],
  ['of the 30th of February', () => sealLegacy(legacy, xml({ timestamp: '02/30/2026 10:00:00' }))],
  ['in twelve hours', () => sealLegacy(legacy, xml({ timestamp: '11/22/2026 5:00 PM' }))],
  ['in time without seconds', () => sealLegacy(legacy, xml({ timestamp: '11/22/2026 17:00' }))],
  ['of tomorrow', () => sealLegacy(legacy, xml({ timestamp: printTime(new Date(Date.now() + dayMs)) }))],
  ['that is an upload token', () => sealLegacy(legacy, '{"Version":"1","FolderID":"1"}')],
])('a ticket %s is refused in the one way', async (_, make) => {
  await expect(prove(make())).rejects.toMatchObject(refusedTicket);
});

test('what cannot be a ticket is refused before the database or a key is asked', async () => {
  const nowhere = openStore({
    applicationUrl: 'postgresql://x@127.0.0.1:1/x',
    systemUrl: 'postgresql://x@127.0.0.1:1/x',
    log: silentLog,
  });
  const proveThere = (ticket: string) =>
    proveTicket({ store: nowhere, secretBox: integrations.secretBox }, tenantId(), ticket);
  const sealed = await ticketFor(modern);
  for (const text of [
    '',
    'A'.repeat(2 ** 20),
    `${sealLegacy(legacy, xml())}\u0000`,
    `${sealLegacy(legacy, xml())}é`,
    Buffer.alloc(24, 7).toString('base64'),
    `${sealed}.`,
    sealed.replace('..', '.AAAA.'),
    `${sealed.split('.')[0]}..${'A'.repeat(16)}.${'A'.repeat(4_096)}.${'A'.repeat(22)}`,
  ])
    await expect(proveThere(text), text.slice(0, 80)).rejects.toMatchObject({
      ...refusedTicket,
      context: { reason: 'form' },
    });
  for (const text of [sealLegacy(legacy, 'anything'), sealed])
    await expect(proveThere(text)).rejects.toMatchObject({ kind: 'unavailable' });
  await nowhere.close();
});

test('a ticket of which any byte was changed, added or cut is refused, in both versions', async () => {
  const first = Buffer.from(await ticketFor(legacy, 'ACME-HEADQUARTERS\\bytes'), 'base64');
  const changed = [...first.keys()].flatMap((at) => [0x01, 0x80].map((bit) => withByte(first, at, bit)));
  const sized = [first.subarray(0, -1), first.subarray(0, -16), Buffer.concat([first, first.subarray(-16)])];
  const texts = [...changed, ...sized].map((bytes) => bytes.toString('base64'));
  const second = await ticketFor(modern, 'ACME\\bytes');
  texts.push(
    // The next character of the alphabet: it differs in the last bit, which at the end of a part nothing reads.
    ...[...second].map((character, at) => second.slice(0, at) + afterInAlphabet(character) + second.slice(at + 1)),
    second.slice(0, -1),
    `${second}A`,
  );
  expect(await acceptedOf(texts.filter((text) => text !== second))).toEqual([]);
  expect(await prove(first.toString('base64'))).toMatchObject({ userName: 'bytes' });
  expect(await prove(second)).toMatchObject({ userName: 'bytes' });
});

test.each<[string, (key: IntegrationKey) => Promise<string>]>([
  ['for another site', (key) => jwe(key, { aud: 'waybill/other.example' })],
  ['without an audience', (key) => jwe(key, { aud: undefined })],
  ['without an end', (key) => jwe(key, { exp: undefined })],
  ['of an hour', (key) => jwe(key, { exp: Math.floor(Date.now() / 1_000) + 3_600 })],
  ['without an identifier', (key) => jwe(key, { jti: undefined })],
  ['with a claim more', (key) => jwe(key, { admin: true })],
  ['without a user', (key) => jwe(key, { sub: undefined })],
  ['under a key of another name', (key) => jwe(key, {}, { kid: 'itk_000000000000000000' })],
  ['without the name of a key', (key) => jwe(key, {}, { kid: undefined })],
  ['in another algorithm', (key) => jwe(key, {}, { enc: 'A128CBC-HS256' })],
  ['with a header more', (key) => jwe(key, {}, { cty: 'JWT' })],
])('a ticket of version 2 %s is refused in the one way', async (_, make) => {
  await expect(prove(await make(modern))).rejects.toMatchObject(refusedTicket);
  expect(await prove(await jwe(modern, {}))).toMatchObject({ userName: 'jane' });
});

test('a ticket of another tenant is refused, and is that tenant’s still', async () => {
  const theirs = await integrations.integrate('acme-portal', true, database.tenants.b);
  const ticket = await ticketFor(theirs, 'jane');
  await expect(prove(ticket)).rejects.toMatchObject(refusedTicket);
  const { tenantId } = database.tenants.b;
  expect(await proveTicket({ ...database, ...integrations }, tenantId, ticket)).toMatchObject({
    userName: 'jane',
  });
});

test('a ticket of a disabled integration is refused', async () => {
  const key = await integrations.integrate('soon-gone', true);
  await prove(await ticketFor(key, 'before'));
  await database.store.sql(tenantId(), (sql) => disableIntegration(sql, tenantId(), 'soon-gone', new Date()));
  await expect(prove(await ticketFor(key, 'after'))).rejects.toMatchObject(refusedTicket);
});

test('a ticket that was used is forgotten when it can be shown no more, and not before', async () => {
  await prove(await ticketFor(legacy, 'remembered'));
  const now = new Date(Date.now() - 60 * minuteMs);
  await prove(await ticketFor(legacy, 'forgotten', now), now);
  const uses = async () =>
    (
      await database.asOwner<{ past: string; all: string }>(
        'select count(*) filter (where expires_at < now()) as past, count(*) as all from ticket_use',
      )
    )[0]!;
  const before = await uses();
  expect(Number(before.past)).toBeGreaterThan(0);
  await forgetUsedTickets(database.store);
  expect(await uses()).toEqual({ past: '0', all: String(Number(before.all) - Number(before.past)) });
});

function afterInAlphabet(character: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  return alphabet[alphabet.indexOf(character) ^ 1] ?? 'A';
}

/** The ticket, used. */
async function twice(ticket: string): Promise<string> {
  await prove(ticket);
  return ticket;
}

async function acceptedOf(texts: string[]): Promise<string[]> {
  const answers = await Promise.all(
    texts.map((text) =>
      prove(text).then(
        () => text,
        () => null,
      ),
    ),
  );
  return answers.filter((answer) => answer !== null);
}

/** The bytes as a ticket's plaintext, whether they are a text or not. */
function sealBytes(plain: Buffer): string {
  const cipher = createCipheriv('aes-256-cbc', legacy.key, legacy.iv);
  return Buffer.concat([cipher.update(plain), cipher.final()]).toString('base64');
}

async function jwe(
  key: IntegrationKey,
  claims: Record<string, unknown>,
  header: Record<string, unknown> = {},
): Promise<string> {
  const usual = { sub: 'ACME\\jane', jti: randomBytes(8).toString('hex'), aud: `waybill/${testSite}` };
  return new EncryptJWT({ ...usual, exp: Math.floor(Date.now() / 1_000) + 60, ...claims })
    .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid: key.kid, ...header })
    .encrypt(key.key);
}
