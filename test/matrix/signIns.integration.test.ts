import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { IntegrationKey } from '../../identity/tickets/integrationKeys.ts';
import { makeTicket } from '../../identity/tickets/makeTicket.ts';
import { codeSpans, readPage, tableRows } from '../documents.ts';
import { hashOf, password, type SignIns, startSignIns } from '../servers/signIns.ts';
import { ask } from './asking.ts';

const schemes = [
  'password',
  'ticket, version 1',
  'ticket, version 2',
  'service session',
  'session of `close`',
] as const;
type Scheme = (typeof schemes)[number];
const mutationsOf: Record<Scheme, readonly string[]> = {
  password: ['open', 'openImmutable', 'openImmutableUserString'],
  'ticket, version 1': ['openWithTicket', 'openWithTicketEx'],
  'ticket, version 2': ['openWithTicket', 'openWithTicketEx'],
  'service session': ['openImmutableImpersonate', 'openImmutableUserString'],
  'session of `close`': ['close'],
};
/** The cells of the page: what is presented, by which scheme, the answer and the reason that the audit log keeps. */
const rows = tableRows(readPage('docs/wall.md'), 'what is presented', ...schemes);
const cells = rows.flatMap(([state, ...answers]) =>
  schemes.flatMap((scheme, at) => {
    const [answer] = codeSpans(answers[at]!);
    const reason = answers[at]!.replace(/^`[^`]*`/, '').trim();
    return answer === undefined
      ? []
      : mutationsOf[scheme].map((mutation) => [state!, scheme, mutation, answer, reason] as const);
  }),
);

let signIns: SignIns;
let origin: string;
let integration: IntegrationKey;
/** Disabled once its tickets have been made. */
let disabled: IntegrationKey;
let users = 0;
let moments = 0;

beforeAll(async () => {
  signIns = await startSignIns();
  origin = new URL(signIns.api.url).origin;
  [integration, disabled] = [await createIntegration('portal'), await createIntegration('gone')];
  const query = 'mutation { disableIntegration(input: { name: "gone" }) { __typename } }';
  expect((await signIns.api.graphql(signIns.api.keys.a, query)).body.data.disableIntegration.__typename).toBe(
    'IntegrationPayload',
  );
});
afterEach(() => signIns.suspend(false));
afterAll(() => signIns?.api.close());

test.each(cells)(
  '%s: %s by %s is answered %s, and the log keeps why: %s',
  async (state, scheme, mutation, answer, reason) => {
    const { args, site = 'tenant-a' } = await presented(state, scheme, mutation);
    const tenant = site === 'tenant-a' ? signIns.api.database.tenants.a : signIns.api.database.tenants.b;
    const before = await denialsOf(tenant.tenantId);
    const asked = await send(site, mutation, args);
    expect(asked.code ?? asked.__typename, JSON.stringify(asked)).toBe(answer);
    const denials = (await denialsOf(tenant.tenantId)).slice(before.length);
    expect(denials.map(({ method, reason }) => [method, reason])).toEqual(reason === '' ? [] : [[mutation, reason]]);
  },
);

describe('what the log keeps of a refused sign-in', () => {
  test('is never what was presented', async () => {
    const kept = JSON.stringify(await denialsOf(signIns.api.database.tenants.a.tenantId));
    expect(kept).not.toContain(password.slice(0, -3));
    expect(kept).not.toContain('wbs_');
    expect(kept).not.toContain('eyJ');
  });
});

async function send(site: string, mutation: string, args: Record<string, unknown>) {
  const given = Object.entries(args).map(([name, value]) => `${name}: ${JSON.stringify(value)}`);
  const query = `mutation { ${mutation}(${given.join(', ')}) { __typename ... on UserError { code } } }`;
  const { status, body } = await ask(`${origin}/t/${site}/graphql`, { query });
  expect(status, JSON.stringify(body)).toBe(200);
  expect(body.errors).toBeUndefined();
  return body.data[mutation] as { __typename: string; code?: string };
}

async function denialsOf(tenantId: string) {
  const rows = await signIns.api.database.asOwner<{ data: Record<string, unknown> }>(
    `select data from audit_event where type = 'session.denied' and tenant_id = $1 order by created_at, id`,
    [tenantId],
  );
  return rows.map(({ data }) => data);
}

interface Presented {
  args: Record<string, unknown>;
  site?: string;
}

/** The arguments of a mutation with a credential of the scheme in the state that a row of the page names. */
async function presented(state: string, scheme: Scheme, mutation: string): Promise<Presented> {
  const made = await make(scheme, mutation, state);
  const withText = (text: string): Presented => ({ args: made.withText(text) });
  const { text } = made;
  const middle = Math.floor(text.length / 2);
  switch (state) {
    case 'a good one':
    case 'an expired one':
    case 'one that was closed, or whose integration was disabled':
      return withText(text);
    case 'a good one, again':
      await send('tenant-a', mutation, made.withText(text));
      return withText(text);
    case 'an empty text':
      return withText('');
    case 'one character changed':
      return withText(`${text.slice(0, middle)}${text[middle] === 'x' ? 'y' : 'x'}${text.slice(middle + 1)}`);
    case 'the end missing':
      return withText(text.slice(0, -4));
    case 'a good one of a suspended tenant':
      await signIns.suspend(true);
      return withText(text);
    case 'that of a disabled user':
      await signIns.disable(made.user);
      return withText(text);
    case 'a good one at the site of another tenant':
      return { ...withText(text), site: 'tenant-b' };
    default:
      throw new Error(`docs/wall.md has a row ${state} that the test does not know`);
  }
}

interface Made {
  text: string;
  /** Whose it is. */
  user: string;
  withText(text: string): Record<string, unknown>;
}

/** A credential of a user of its own, as old or as closed as the state wants it. */
async function make(scheme: Scheme, mutation: string, state: string): Promise<Made> {
  const user = `matrix-${++users}`;
  const userId = await signIns.createUser(user, 'owner');
  const applicationId = 20;
  if (scheme === 'password')
    return { text: password, user, withText: (text) => ({ userName: user, password: text, applicationId }) };
  if (scheme.startsWith('ticket')) {
    const isEx = mutation === 'openWithTicketEx';
    const extra = isEx ? { emailAddress: `${user}@example.com` } : {};
    return {
      ...{ text: await ticketFor(user, scheme.endsWith('1') ? 1 : 2, state), user },
      withText: (ticket) => ({ ticket, applicationId, ...extra }),
    };
  }
  const text = (await signIns.openImmutable({ userName: user })).sessionId as string;
  if (state === 'an expired one')
    await signIns.api.database.asOwner(
      "update session set expires_at = now() - interval '1 second' where token_hash = $1",
      [hashOf(text)],
    );
  if (state.startsWith('one that was closed')) await signIns.close(text);
  if (scheme === 'session of `close`') return { text, user, withText: (sessionId) => ({ sessionId }) };
  const actsAs = state === 'that of a disabled user' ? signIns.userIds.ben : userId - 1;
  return { text, user, withText: (serviceSessionId) => ({ serviceSessionId, userId: actsAs, applicationId }) };
}

/** No two at one second: two tickets of one user and one time are one ticket. */
async function ticketFor(user: string, version: 1 | 2, state: string): Promise<string> {
  const age = state === 'an expired one' ? 11 * 60_000 : 0;
  const key = state.startsWith('one that was closed') ? disabled : integration;
  const now = new Date(Date.now() - age - (++moments % 200) * 1_000);
  return (await makeTicket(key, { user: `ACME\\${user}`, version, now })).text;
}

async function createIntegration(name: string): Promise<IntegrationKey> {
  const site = `${name}.acme.example`;
  const query = `mutation { createIntegration(input: { name: "${name}", site: "${site}", legacy: true }) {
    __typename ... on IntegrationSecretPayload { kid keyBase64 ivBase64 integration { id } } } }`;
  const { body } = await signIns.api.graphql(signIns.api.keys.a, query);
  const { kid, keyBase64, ivBase64, integration } = body.data.createIntegration;
  const [key, iv] = [Buffer.from(keyBase64, 'base64'), Buffer.from(ivBase64, 'base64')];
  return { kid, key, iv, site, legacy: true, integration: name, integrationId: integration.id };
}
