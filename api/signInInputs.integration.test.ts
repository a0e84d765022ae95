import { getNamedType } from 'graphql';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sealLegacy } from '../identity/tickets/legacyCipher.ts';
import { printTime } from '../identity/tickets/times.ts';
import { facts, password, type SignIns, startSignIns } from '../test/servers/signIns.ts';
import { apiSchema } from './schema/index.ts';
import { type SignInMutation, signInMutations } from './visitors.ts';

let signIns: SignIns;
let portal: { key: Buffer; iv: Buffer };
let serviceSessionId: string;
const site = 'files.acme.example';

beforeAll(async () => {
  signIns = await startSignIns();
  const { api } = signIns;
  const { body } = await api.graphql(
    api.keys.a,
    `mutation { createIntegration(input: { name: "portal", site: "${site}", legacy: true }) {
       ... on IntegrationSecretPayload { keyBase64 ivBase64 } } }`,
  );
  const { keyBase64, ivBase64 } = body.data.createIntegration;
  portal = { key: Buffer.from(keyBase64, 'base64'), iv: Buffer.from(ivBase64, 'base64') };
  serviceSessionId = (await signIns.openImmutable({ userName: 'olga' })).sessionId;
});
afterAll(() => signIns?.api.close());

const xml = (more: Partial<{ timestamp: string; site: string; user: string }> = {}) => {
  const given = { timestamp: printTime(new Date()), site, user: 'ACME\\anna', ...more };
  return `<token timestamp="${given.timestamp}"><sitename>${given.site}</sitename><username>${given.user}</username></token>`;
};
let tickets = 0;
/** A ticket of version 1: of nobody, so that each is another one. */
const newTicket = () => sealLegacy(portal, xml({ user: `ACME\\nobody-${++tickets}` }));

const ofService = () => ({ serviceSessionId, userId: signIns.userIds.ben, ...facts });
const serviceFields = ['serviceSessionId', 'reason', 'ipAddress'];
/** What each takes when all of it is in order. */
const good: Record<SignInMutation, () => Record<string, unknown>> = {
  open: () => ({ userName: 'anna', password, ...facts }),
  openImmutable: () => ({ userName: 'anna', password, ...facts }),
  openWithTicket: () => ({ ticket: sealLegacy(portal, xml()), ...facts }),
  openWithTicketEx: () => ({ ticket: newTicket(), emailAddress: `new-${++tickets}@new.example`, ...facts }),
  openImmutableImpersonate: () => ofService(),
  openImmutableUserString: () => ({ userName: 'anna', password, ...facts }),
  close: () => ({ sessionId: serviceSessionId }),
};
/** Arguments of which all that cannot be right is answered alike. */
const secret: Record<string, string> = {
  ticket: 'TICKET_REFUSED',
  serviceSessionId: 'IMPERSONATION_REFUSED',
  sessionId: 'NOT_FOUND',
};
const texts = signInMutations.flatMap((mutation) =>
  apiSchema
    .getMutationType()!
    .getFields()
    [mutation]!.args.filter(({ type }) => getNamedType(type).name === 'String')
    .map(({ name }) => [mutation, name] as const),
);

describe('2.3.1 FTHSessionData', () => {
  test.each(signInMutations.filter((mutation) => mutation !== 'close'))(
    '"Each call returns FTHSessionData data structure which contains Session ID and User ID of the user who logged in": %s',
    async (mutation) => {
      const { sessionId, userId, user, expiresAt } = await signIns.call(mutation, good[mutation]());
      const { body } = await signIns.api.graphql(sessionId, '{ viewer { principal { name } } }');
      expect(body.data.viewer.principal.name).toBe(user.userName);
      const { body: listed } = await signIns.api.graphql(
        signIns.api.keys.a,
        '{ users(first: 100) { edges { node { userId userName } } } }',
      );
      const nodes = listed.data.users.edges.map(({ node }: { node: unknown }) => node);
      expect(nodes).toContainEqual({ userId, userName: user.userName });
      expect(Date.parse(expiresAt)).toBeGreaterThan(Date.now());
    },
  );
});

describe('NUL and control characters', () => {
  test.each(texts)('in %s(%s) get their answer, and an event that holds none of them', async (mutation, field) => {
    for (const character of ['\u0000', '\u001b']) {
      const before = (await signIns.denials()).length;
      const usual: Record<string, unknown> = serviceFields.includes(field) ? ofService() : good[mutation]();
      const presented = { ...usual, [field]: `${usual[field] ?? 'text'}${character}` };
      // Of a password but NUL any character counts.
      const isWrong = field === 'password' && character !== '\u0000';
      const code = isWrong ? 'SIGN_IN_REFUSED' : (secret[field] ?? 'INVALID_INPUT');
      const path = code === 'INVALID_INPUT' || field === 'sessionId' ? [field] : null;
      expect(await signIns.call(mutation, presented), JSON.stringify(character)).toMatchObject({ code, path });
      const told = (await signIns.denials()).slice(before);
      const reason = code === 'INVALID_INPUT' ? `invalid ${field}` : expect.any(String);
      expect(told).toMatchObject(mutation === 'close' ? [] : [{ method: mutation, reason }]);
      expect(JSON.stringify(told)).not.toContain('\\u0000');
    }
  });
});

test('the names of a user who is there are not read: a ticket for them is as good as any', async () => {
  const more = { emailAddress: 'ben@example.com', firstName: 'a\u0000b', lastName: 'x'.repeat(200) };
  expect(await signIns.call('openWithTicketEx', { ...good.openWithTicketEx(), ...more })).toMatchObject({
    user: { userName: 'ben', firstName: null },
  });
});

describe('a ticket that is wrong', () => {
  const day = 86_400_000;
  const wrong: Record<string, [make: () => string, reason: string]> = {
    'with a document type': [() => `<!DOCTYPE token [<!ENTITY a "anna">]>${xml({ user: '&a;' })}`, 'content'],
    'with an entity of its own': [() => xml({ user: '&a;' }), 'content'],
    'with two roots': [() => xml() + xml(), 'content'],
    'in ISO time': [() => xml({ timestamp: new Date().toISOString() }), 'content'],
    'with the day first': [() => xml({ timestamp: '31/12/2026 10:00:00' }), 'content'],
    'of tomorrow': [() => xml({ timestamp: printTime(new Date(Date.now() + day)) }), 'time'],
    'of yesterday': [() => xml({ timestamp: printTime(new Date(Date.now() - day)) }), 'time'],
    'of another site': [() => xml({ site: 'files.other.example' }), 'site'],
  };

  test.each(Object.entries(wrong))('%s gets the one answer; the event says why', async (_, [make, reason]) => {
    const url = await signIns.api.startAnother();
    const answers = [];
    for (const ticket of ['garbage', sealLegacy(portal, make())])
      answers.push(await signIns.call('openWithTicket', { ticket, ...facts }, url));
    expect(answers[0]).toMatchObject({ __typename: 'SignInRefusedError', code: 'TICKET_REFUSED' });
    expect(answers[1]).toEqual(answers[0]);
    expect((await signIns.denials()).at(-1)).toMatchObject({ method: 'openWithTicket', user: null, reason });
  });
});
