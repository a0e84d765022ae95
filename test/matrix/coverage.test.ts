import { describe, expect, test } from 'vitest';
import type { Caller, Visitor } from '../../identity/caller.ts';
import { allow } from '../../identity/permissions.ts';
import type { ProvenUser } from '../../identity/provenUser.ts';
import { readPage, tableRows } from '../documents.ts';

/** What every scheme is to be tried in, by the words that the tables of the page have for it. */
const inHeader = {
  missing: 'nothing',
  garbled: 'one character changed',
  truncated: 'one character missing',
  expired: 'an expired one',
  revoked: 'one that was revoked or closed',
  'other tenant': 'a good one at the site of another tenant',
  replayed: 'a good one, again',
};
const inSignIn = {
  ...inHeader,
  missing: 'an empty text',
  truncated: 'the end missing',
  revoked: 'one that was closed, or whose integration was disabled',
};
const headerSchemes = ['API key', 'replaceable session', 'concurrent session', 'session for somebody else'];
const signInSchemes = ['password', 'ticket, version 1', 'ticket, version 2', 'service session', 'session of `close`'];
/** A password has no end of its own: what ends it is the end of its user, a row of its own. */
const without = ['password expired', 'password revoked'];

describe.each([
  ['in the header', headerSchemes, inHeader],
  ['in a sign-in', signInSchemes, inSignIn],
])('the matrix of credentials %s', (_, schemes, states) => {
  const rows = tableRows(readPage('docs/wall.md'), 'what is presented', ...schemes);
  test.each(Object.entries(states))('has an answer for each scheme when it is %s', (state, words) => {
    const answers = rows.find(([presented]) => presented === words)?.slice(1) ?? [];
    expect(answers).toHaveLength(schemes.length);
    const empty = schemes.filter((scheme, at) => answers[at] === '-' && !without.includes(`${scheme} ${state}`));
    expect(empty).toEqual([]);
  });
});

test('who has proven nothing, or only who they are, is no caller: not by type, and not to a rule', () => {
  const visitor: Visitor = { tenantId: 'acme', address: '192.0.2.1' };
  // @ts-expect-error A visitor is not a caller.
  const asCaller: Caller = visitor;
  // @ts-expect-error Nor is a user whose password was right and who has no session yet.
  const unopened = (user: ProvenUser): Caller => user;
  expect(unopened).toBeTypeOf('function');
  expect(allow(asCaller, 'run:read')).toBe(false);
});
