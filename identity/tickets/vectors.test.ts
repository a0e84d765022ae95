import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { IntegrationKey } from './integrationKeys.ts';
import { sealLegacy } from './legacyCipher.ts';
import { makeTicket, makeUploadToken } from './makeTicket.ts';
import { openTicket, readForm, type TicketKind } from './openTicket.ts';
import { ticketKind } from './proveTicket.ts';
import { openSealed } from './sealedTicket.ts';
import { tokenKind } from './uploadToken.ts';

/** Made and opened by Python's `cryptography`: docs/vectors/make.py. */
interface Vector {
  name: string;
  plaintext?: string | null;
  claims?: Record<string, unknown> | null;
  text: string;
  /** What a ticket proves, or null when it is refused; of tokens `content` says it. */
  userName?: string | null;
  content?: Record<string, string> | null;
}

const read = (file: string) =>
  JSON.parse(readFileSync(new URL(`../../docs/vectors/${file}`, import.meta.url), 'utf8')) as {
    now: string;
    site: string;
    kid: string;
    keyBase64: string;
    ivBase64: string;
    version1: Vector[];
    version2: Vector[];
  };
const [tickets, tokens, ours] = [read('tickets.json'), read('upload-tokens.json'), read('from-waybill.json')];
const now = new Date(tickets.now);
const key: IntegrationKey = {
  key: Buffer.from(tickets.keyBase64, 'base64'),
  iv: Buffer.from(tickets.ivBase64, 'base64'),
  kid: tickets.kid,
  site: tickets.site,
  legacy: true,
  integration: 'vectors',
  integrationId: '00000000-0000-0000-0000-000000000000',
};
const named = (vectors: Vector[]) => vectors.map((vector) => [vector.name, vector] as const);

test.each([...named(tickets.version1), ...named(tickets.version2)])('their ticket: %s', async (_, vector) => {
  expect((await opened(ticketKind, vector.text))?.userName ?? null).toBe(vector.userName);
});

test.each([...named(tokens.version1), ...named(tokens.version2)])('their upload token: %s', async (_, vector) => {
  expect((await opened(tokenKind, vector.text)) ?? null).toEqual(vector.content);
});

test('what we encrypt is what they encrypt, byte for byte', async () => {
  for (const { plaintext, text } of [...tickets.version1, ...tokens.version1])
    if (plaintext) expect(sealLegacy(key, plaintext)).toBe(text);
  expect((await makeTicket(key, { user: 'ACME\\jane', now })).text).toBe(tickets.version1[0]!.text);
  const { folderId, email, ip, session } = tokens.version1[0]!.content!;
  const content = { folderId: folderId!, email: email!, ip: ip!, session: session! };
  expect((await makeUploadToken(key, { content, now })).text).toBe(tokens.version1[0]!.text);
});

test('what they have opened of ours is what we make', async () => {
  expect(ours.version1.map(({ text }) => text)).toEqual([tickets.version1[0]!.text, tokens.version1[0]!.text]);
  for (const { text, claims } of ours.version2) expect(await openSealed(key.key, text)).toEqual(claims);
});

async function opened<Content>(kind: TicketKind<Content>, text: string): Promise<Content | undefined> {
  const form = readForm(text);
  if (form === undefined) return undefined;
  const answer = await openTicket(kind, form, [key], now);
  return answer.refusal === undefined ? answer.content : undefined;
}
