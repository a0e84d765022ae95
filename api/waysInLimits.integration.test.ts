import { afterAll, beforeAll, expect, test } from 'vitest';
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
