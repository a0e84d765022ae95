import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { routes } from '../../api/routes.ts';
import { createApiKey, revokeApiKey } from '../../identity/apiKeys.ts';
import { newApiKeyText } from '../../identity/apiKeyText.ts';
import { newSessionText } from '../../identity/sessions/sessionText.ts';
import { codeSpans, readPage, tableRows } from '../documents.ts';
import { hashOf, password, type SignIns, startSignIns } from '../servers/signIns.ts';
import { type Asked, type Asking, ask } from './asking.ts';

const page = readPage('docs/wall.md');
const schemes = ['API key', 'replaceable session', 'concurrent session', 'session for somebody else'] as const;
type Scheme = (typeof schemes)[number];
/** The cells of the page: what is presented, by which scheme, and the answer. */
const rows = tableRows(page, 'what is presented', ...schemes);
const cells = rows.flatMap(([state, ...answers]) =>
  schemes
    .map((scheme, at) => [state!, scheme, codeSpans(answers[at]!)[0] ?? '-'] as const)
    .filter(([, , answer]) => answer !== '-'),
);

interface Entry extends Asking {
  path: string;
  /** Open to who presents nothing. */
  signsIn?: true;
}
const query = '{ viewer { tenant } }';
const subscription = `subscription { runUpdated(id: "run_${'0'.repeat(32)}") { id } }`;
const signIn = 'mutation { close(sessionId: "x") { __typename } }';
const entries: Record<string, Entry> = {
  'a query': { path: '/graphql', query },
  'a subscription': { path: '/graphql', query: subscription, accept: 'text/event-stream' },
  'a sign-in': { path: '/graphql', query: signIn, signsIn: true },
  validate: { path: '/auth/validate', method: 'GET' },
  decode: { path: '/codec/decode', json: { payloads: [] } },
  encode: { path: '/codec/encode', json: { payloads: [] } },
};

let signIns: SignIns;
let origin: string;
let users = 0;
beforeAll(async () => {
  signIns = await startSignIns();
  origin = new URL(signIns.api.url).origin;
});
afterEach(() => signIns.suspend(false));
afterAll(() => signIns?.api.close());

test('every route that needs a credential is an entry point of the matrix', () => {
  const closed = routes.filter(({ rule }) => rule !== 'anybody' && rule !== 'token').map(({ path }) => path);
  expect([...new Set(Object.values(entries).map(({ path }) => path))].sort()).toEqual([...closed].sort());
});

describe.each(cells)('%s: %s', (state, scheme, answer) => {
  test(`is answered ${answer} at every entry point`, async () => {
    const { text, site = 'tenant-a' } = await presented(state, scheme);
    for (const [name, entry] of Object.entries(entries)) {
      // The default site is that of tenant A: a good credential of A is at home there.
      const places = site === 'tenant-a' ? ['', '/t/tenant-a'] : [`/t/${site}`];
      for (const place of places) {
        const asked = await ask(`${origin}${place}${entry.path}`, { ...entry, credential: text });
        const expected = text === null && entry.signsIn ? '200' : answer;
        expect(shown(asked, expected), `${name} at ${place}${entry.path}`).toBe(expected);
      }
    }
  });
});

/** The subscription of a good credential is answered 200, and says in its stream that there is no such run. */
function shown({ status, code }: Asked, expected: string): string {
  return expected === '200' ? String(status) : `${status} ${code}`;
}

interface Presented {
  text: string | null;
  site?: string;
}

/** A credential of the scheme in the state that a row of the page names. */
async function presented(state: string, scheme: Scheme): Promise<Presented> {
  if (state === 'nothing') return { text: null };
  if (state === 'one of the right form that nobody was given')
    return { text: scheme === 'API key' ? newApiKeyText('live').text : newSessionText() };
  const made = await make(scheme, state === 'a good one from an address that it is not for' ? ['192.0.2.0/24'] : []);
  const { text } = made;
  const middle = Math.floor(text.length / 2);
  switch (state) {
    case 'a good one':
    case 'a good one from an address that it is not for':
      return { text };
    case 'a good one, again':
      await ask(`${origin}/graphql`, { query, credential: text });
      return { text };
    case 'one character changed':
      return { text: `${text.slice(0, middle)}${text[middle] === 'x' ? 'y' : 'x'}${text.slice(middle + 1)}` };
    case 'one character missing':
      return { text: text.slice(0, -1) };
    case 'a good one at the site of another tenant':
      return { text, site: 'tenant-b' };
    case 'an expired one':
      await made.expire();
      return { text };
    case 'one that was revoked or closed':
      await made.end();
      return { text };
    case 'one before the next sign-in':
      await made.signInAgain();
      return { text };
    case 'one whose service session was closed':
      await signIns.close(made.serviceSession!);
      return { text };
    case 'that of a suspended tenant':
      await signIns.suspend(true);
      return { text };
    case 'that of a disabled user':
      await signIns.disable(made.user);
      return { text };
    default:
      throw new Error(`docs/wall.md has a row ${state} that the test does not know`);
  }
}

interface Made {
  text: string;
  user: string;
  serviceSession?: string;
  expire(): Promise<unknown>;
  end(): Promise<unknown>;
  signInAgain(): Promise<unknown>;
}

/** A good credential of a user of its own. */
async function make(scheme: Scheme, allowedCidrs: string[]): Promise<Made> {
  const { asOwner, store, tenants } = signIns.api.database;
  const user = `matrix-${++users}`;
  const userId = await signIns.createUser(user, 'operator');
  if (scheme === 'API key') {
    const [{ id: principalId }] = (await asOwner<{ id: string }>('select id from principal where name = $1', [
      user,
    ])) as [{ id: string }];
    const { tenantId } = tenants.a;
    const { id, secret } = await createApiKey(store, { tenantId, principalId, name: 'k', scopes: ['*'], allowedCidrs });
    return {
      ...{ text: secret, user },
      expire: () => asOwner("update api_key set expires_at = now() - interval '1 second' where id = $1", [id]),
      end: () => revokeApiKey(store, { tenantId, id }),
      signInAgain: () => Promise.reject(new Error('nobody signs in for a key')),
    };
  }
  const proof = { userName: user, password, applicationId: 1001 };
  let serviceSession: string | undefined;
  const open = async (): Promise<string> => {
    if (scheme === 'replaceable session') return (await signIns.call('open', proof)).sessionId;
    if (scheme === 'concurrent session') return (await signIns.call('openImmutable', proof)).sessionId;
    serviceSession ??= (await signIns.openImmutable({ userName: 'olga' })).sessionId as string;
    const given = { serviceSessionId: serviceSession, userId, applicationId: 1001 };
    return (await signIns.call('openImmutableImpersonate', given)).sessionId;
  };
  const text = await open();
  return {
    ...{ text, user },
    ...(serviceSession === undefined ? {} : { serviceSession }),
    expire: () =>
      asOwner("update session set expires_at = now() - interval '1 second' where token_hash = $1", [hashOf(text)]),
    end: () => signIns.close(text),
    signInAgain: open,
  };
}
