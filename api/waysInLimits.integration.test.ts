import { afterAll, beforeAll, expect, test } from 'vitest';
import { ticketFailures } from '../identity/tickets/ticketLimit.ts';
import { type SignIns, startSignIns } from '../test/servers/signIns.ts';
import { limits } from './limits.ts';
import { signInMutations } from './visitors.ts';

let signIns: SignIns;
beforeAll(async () => {
  signIns = await startSignIns();
});
afterAll(() => signIns?.api.close());

const application = { applicationId: 20 };
/** What each is refused with, when nothing of it is good. */
const bad: Record<(typeof signInMutations)[number], (index: number) => Record<string, unknown>> = {
  open: (index) => ({ userName: `nobody-${index}`, password: 'wrong', ...application }),
  openImmutable: (index) => ({ userName: `nobody-${index}`, password: 'wrong', ...application }),
  openImmutableUserString: (index) => ({ userName: `nobody-${index}`, password: 'wrong', ...application }),
  openWithTicket: () => ({ ticket: 'garbage', ...application }),
  openWithTicketEx: (index) => ({ ticket: 'garbage', emailAddress: `${index}@new.example`, ...application }),
  openImmutableImpersonate: (index) => ({ serviceSessionId: 'garbage', userId: index, ...application }),
  close: () => ({ sessionId: 'garbage' }),
};

test.each([...signInMutations])('%s has a limit of its own on what fails of one address', async (mutation) => {
  const codeOf = async (index: number) => (await signIns.call(mutation, bad[mutation](index))).code as string;
  const codes = [];
  for (let index = 0; index <= limits.failedSignIns; index++) codes.push(await codeOf(index));
  expect(codes.at(-1)).toBe('RATE_LIMITED');
  // Tickets have a limit besides, which both of their mutations share.
  if (mutation !== 'openWithTicketEx') expect(codes.indexOf('RATE_LIMITED')).toBe(limits.failedSignIns);
});

test('tickets of an address that are refused too often are told of once, and then none of it is looked at, in either mutation', async () => {
  for (let failure = 0; failure < ticketFailures.ofAddress; failure++)
    await signIns.call('openWithTicket', bad.openWithTicket(failure));
  expect(await signIns.call('openWithTicketEx', bad.openWithTicketEx(0))).toMatchObject({ code: 'RATE_LIMITED' });
  const told = await signIns.api.database.asOwner(
    `select data->>'of' as of, data->>'address' as address, (data->>'failures')::int as failures, outcome
       from audit_event where type = 'ticket.refused-often'`,
  );
  const { ofAddress: failures } = ticketFailures;
  expect(told).toEqual([{ of: 'address', address: '127.0.0.1', failures, outcome: 'failure' }]);
});
