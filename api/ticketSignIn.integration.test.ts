import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { facts, type SignIns, startSignIns } from '../test/servers/signIns.ts';

let signIns: SignIns;
beforeAll(async () => {
  signIns = await startSignIns();
  const { api } = signIns;
  const create = 'mutation($input: CreateIntegrationInput!) { createIntegration(input: $input) { __typename } }';
  const input = { name: 'portal', site: 'files.acme.example', legacy: true };
  const { body } = await api.graphql(api.keys.a, create, { input });
  expect(body.data?.createIntegration.__typename, JSON.stringify(body)).toBe('IntegrationSecretPayload');
});
afterAll(() => signIns?.api.close());

async function ticketFor(user: string, version = 1): Promise<string> {
  const { api } = signIns;
  const { body } = await api.graphql(
    api.keys.a,
    'mutation($input: CreateTicketInput!) { createTicket(input: $input) { __typename ... on TicketPayload { ticket } } }',
    { input: { integration: 'portal', user, version } },
  );
  return body.data.createTicket.ticket;
}

const withTicket = (ticket: string, more: Record<string, unknown> = {}) =>
  signIns.call('openWithTicket', { ticket, ...facts, ...more });
const withTicketEx = (ticket: string, emailAddress: string, more: Record<string, unknown> = {}) =>
  signIns.call('openWithTicketEx', { ticket, emailAddress, firstName: 'Nina', lastName: 'Neu', ...facts, ...more });
const refused = { __typename: 'SignInRefusedError', code: 'TICKET_REFUSED' };

describe('2.3.2.2 OpenWithTicket', () => {
  test.each([1, 2])(
    '"Accepts the ticket that contains user identity encrypted" by who has "the same password since encryption is symmetrical": version %i',
    async (version) => {
      const session = await withTicket(await ticketFor('ACME\\ANNA', version));
      expect(session).toMatchObject({ userId: signIns.userIds.anna, user: { userName: 'anna' } });
      expect(await signIns.eventsOf(session.sessionId)).toMatchObject([
        { type: 'session.opened', clientVersion: 'test 1.0', data: { method: 'openWithTicket' } },
      ]);
    },
  );

  test('"until the next sign-in is done using Open or OpenWithTicket": each replaces the session of the other', async () => {
    const first = await signIns.open();
    // Of version 2: one of version 1 for the same user is taken once a second.
    const second = await withTicket(await ticketFor('ACME\\anna', 2));
    expect(await signIns.codeOf(first.sessionId)).toBe('401 SESSION_REPLACED');
    await signIns.open({ applicationId: 1002 });
    expect(await signIns.codeOf(second.sessionId)).toBe('alive');
    await signIns.open();
    expect(await signIns.codeOf(second.sessionId)).toBe('401 SESSION_REPLACED');
  });

  test('"a user whose identity is contained in the ticket had to be previously created": a ticket of nobody, of who is disabled and of a service account is refused as a bad and a used one is', async () => {
    const { database } = signIns.api;
    await signIns.createUser('carl', 'operator');
    await database.asOwner(`update principal set disabled_at = now() where name = 'carl'`);
    await database.asOwner(
      `insert into principal (tenant_id, kind, name, role) values ($1, 'service', 'svc-robot', 'service')`,
      [database.tenants.a.tenantId],
    );
    const used = await ticketFor('ACME\\ben');
    expect(await withTicket(used)).toHaveProperty('sessionId');
    const good = await Promise.all(['nobody', 'carl', 'svc-robot'].map((name) => ticketFor(`ACME\\${name}`)));
    const answers = [];
    for (const ticket of [used, 'garbage', ...good, 'x'.repeat(50_000)]) answers.push(await withTicket(ticket));
    for (const answer of answers) expect(answer).toEqual(answers[0]);
    expect(answers[0]).toMatchObject(refused);
    const reasons = ['used', 'form', 'unknown', 'disabled', 'unknown', 'form'];
    expect((await signIns.denials()).map(({ reason }) => reason)).toEqual(reasons);
    expect(JSON.stringify(await signIns.denials())).not.toContain(used.slice(0, 20));
  });

  test('a ticket of 1 MB is refused before it is read', async () => {
    const query = JSON.stringify({
      query: 'mutation($t: String!) { openWithTicket(ticket: $t, applicationId: 1001) { __typename } }',
      variables: { t: 'A'.repeat(2 ** 20) },
    });
    const headers = { 'content-type': 'application/json' };
    expect((await fetch(signIns.api.url, { method: 'POST', headers, body: query })).status).toBe(413);
  });
});

describe('2.3.2.3 OpenWithTicketEx', () => {
  test('"the username string in the ticket is ignored. User is identified by EmailAddress string and session is created under the user with this email address"', async () => {
    const { user } = await withTicketEx(await ticketFor('ACME\\olga'), 'BEN@example.com');
    expect(user).toMatchObject({ userName: 'ben', role: 'operator' });
  });

  test('"If a user with the EmailAddress does not exist, user is created with FirstName, LastName and EmailAddress"', async () => {
    const first = await withTicketEx(await ticketFor('ACME\\x'), 'nina@new.example');
    expect(first.user).toMatchObject({
      email: 'nina@new.example',
      firstName: 'Nina',
      lastName: 'Neu',
      role: 'uploader',
    });
    const again = await withTicketEx(await ticketFor('ACME\\y'), 'Nina@New.example', { firstName: 'Other' });
    expect(again.userId).toBe(first.userId);
    expect(again.user.firstName).toBe('Nina');
    expect(await signIns.codeOf(first.sessionId)).toBe('401 SESSION_REPLACED');
  });

  test('nobody is made by what is refused, and who is disabled stays outside', async () => {
    const users = () =>
      signIns.api.database.asOwner<{ email: string }>(`select email from principal where kind = 'user' order by email`);
    const before = await users();
    const bad: Array<[string, Record<string, unknown>, string]> = [
      ['applicationId', { applicationId: 4711 }, 'APPLICATION_REFUSED'],
      ['emailAddress', { emailAddress: `${'x'.repeat(250)}@new.example` }, 'INVALID_INPUT'],
      ['emailAddress', { emailAddress: 'a\u0000b@new.example' }, 'INVALID_INPUT'],
      ['emailAddress', { emailAddress: 'a\u001b[2J@new.example' }, 'INVALID_INPUT'],
      ['firstName', { firstName: 'x'.repeat(101) }, 'INVALID_INPUT'],
      ['lastName', { lastName: 'Ne\u0007u' }, 'INVALID_INPUT'],
    ];
    for (const [index, [field, more, code]] of bad.entries())
      expect(await withTicketEx(await ticketFor(`ACME\\bad-${index}`), 'late@new.example', more), field).toMatchObject({
        code,
        path: [field],
      });
    expect(await users()).toEqual(before);
    await signIns.createUser('dora', 'operator');
    await signIns.api.database.asOwner(`update principal set disabled_at = now() where name = 'dora'`);
    expect(await withTicketEx(await ticketFor('ACME\\for-dora'), 'DORA@example.com')).toMatchObject(refused);
    expect((await signIns.denials()).at(-1)).toMatchObject({ reason: 'disabled', user: 'DORA@example.com' });
  });

  test('"Ticket is used for validation of the decrypting password and expiration purpose": one is needed all the same, and an address that can be one', async () => {
    expect(await withTicketEx('garbage', 'olga@example.com')).toMatchObject(refused);
    expect(await withTicketEx(await ticketFor('ACME\\z'), 'no address')).toMatchObject({
      __typename: 'InvalidInputError',
      path: ['emailAddress'],
    });
  });
});
