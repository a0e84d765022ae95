import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { createPasswordHashing } from '../identity/passwordHashing.ts';
import type { ApiTerms } from './apiProcess.ts';
import { type Group, type Measurement, median, type Terms, timed } from './benchmark.ts';
import { type Database, withDatabase } from './database.ts';

const requestsPerSecond = 200;
const overheadLimitMs = 3;
const signInsTogether = 50;
const othersPerSecond = 50;
const othersLimitMs = 100;
const apiProcess = fileURLToPath(new URL('apiProcess.ts', import.meta.url));
const password = 'correct horse bench';
const viewer = JSON.stringify({ query: '{ viewer { tenant scopes } }' });

/** What authentication costs a request, and what sign-ins cost those who are signed in. The APIs have processes of their own, as has whoever asks. */
export const signIn: Group = {
  benchmarks: [
    {
      name: 'auth-overhead',
      summary: `median of a request at ${requestsPerSecond}/s over one whose credential is not looked up, beside ${overheadLimitMs} ms`,
    },
    {
      name: 'sign-in-load',
      summary: `p99 of other requests while ${signInsTogether} passwords are checked at once, beside ${othersLimitMs} ms`,
    },
  ],
  measure: (chosen, terms) =>
    withDatabase(async (database) => {
      const { applicationUrl } = database.urls;
      await createUsers(database);
      const looking = await startApi({ applicationUrl, remembers: false });
      const remembering = await startApi({ applicationUrl, remembers: true });
      try {
        const work = async () => {
          const session = await open(looking.url, 0);
          if (chosen.has('auth-overhead')) {
            const lines = await overhead(looking.url, remembering.url, session, terms);
            for (const line of lines) terms.report(line);
          }
          if (chosen.has('sign-in-load'))
            for (const line of await load(looking.url, session, terms)) terms.report(line);
        };
        await Promise.race([work(), terms.interrupted]);
      } finally {
        await remembering.close();
        await looking.close();
      }
    }),
};

/** The same requests to two APIs in turns, of which one remembers what the credential leads to. */
async function overhead(
  looking: string,
  remembering: string,
  session: string,
  { quick, say }: Terms,
): Promise<Measurement[]> {
  const seconds = quick ? 2 : 5;
  const rounds = quick ? 1 : 5;
  const [ours, peers]: [number[], number[]] = [[], []];
  for (let round = 0; round <= rounds; round++) {
    const one = await atRate(requestsPerSecond, seconds, () => ask(looking, session, viewer));
    const other = await atRate(requestsPerSecond, seconds, () => ask(remembering, session, viewer));
    say(`round ${round}: ${median(one).toFixed(2)} ms, without ${median(other).toFixed(2)} ms`);
    // The first one compiles.
    if (round > 0) ours.push(...one);
    if (round > 0) peers.push(...other);
  }
  return [
    { name: 'auth-overhead', ours: median(ours) - median(peers), peer: overheadLimitMs, unit: 'ms more, median' },
    { name: 'auth-overhead.request', ours: median(ours), peer: median(peers), unit: 'ms, median' },
  ];
}

async function load(url: string, session: string, { quick, say }: Terms): Promise<Measurement[]> {
  const bursts = quick ? 3 : 10;
  const [others, alone, signIns]: [number[], number[], number[]] = [[], [], []];
  const other = () => ask(url, session, viewer);
  for (let burst = 0; burst <= bursts; burst++) {
    const before = await atRate(othersPerSecond, 2, other);
    let isOver = false;
    const signedIn = timed(() => Promise.all(Array.from({ length: signInsTogether }, (_, user) => open(url, user))));
    const during = atRate(othersPerSecond, Number.POSITIVE_INFINITY, other, () => isOver);
    const tookMs = await signedIn.finally(() => {
      isOver = true;
    });
    const times = await during;
    say(
      `burst ${burst}: ${signInsTogether} sign-ins in ${tookMs.toFixed(0)} ms, others ${median(times).toFixed(0)} ms, at most ${Math.max(...times).toFixed(0)}`,
    );
    // The first one opens connections.
    if (burst === 0) continue;
    others.push(...times);
    alone.push(...before);
    signIns.push(tookMs);
  }
  return [
    { name: 'sign-in-load', ours: p99(others), peer: othersLimitMs, unit: 'ms, p99 of others' },
    { name: 'sign-in-load.alone', ours: p99(others), peer: p99(alone), unit: 'ms, p99 of others' },
    {
      name: 'sign-in-load.each',
      ours: median(signIns) / signInsTogether,
      peer: median(alone),
      unit: 'ms, beside a request',
    },
  ];
}

/** Begins so many requests a second, whether those before have been answered or not; gives the milliseconds of each. */
async function atRate(
  perSecond: number,
  seconds: number,
  work: () => Promise<unknown>,
  isOver = () => false,
): Promise<number[]> {
  const times: number[] = [];
  const underWay: Array<Promise<void>> = [];
  const startedAtMs = performance.now();
  for (let sent = 0; sent < seconds * perSecond && !isOver(); sent++) {
    const dueAtMs = startedAtMs + (sent * 1_000) / perSecond;
    const waitMs = dueAtMs - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    // Counted from when it was due: a process that is busy does not hide what it kept waiting.
    underWay.push(work().then(() => void times.push(performance.now() - dueAtMs)));
  }
  await Promise.all(underWay);
  return times;
}

function p99(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length * 0.99)]!;
}

async function ask(url: string, session: string | null, body: string): Promise<string> {
  const authorization = session === null ? {} : { authorization: `Bearer ${session}` };
  const headers = { 'content-type': 'application/json', ...authorization };
  const response = await fetch(url, { method: 'POST', headers, body });
  const text = await response.text();
  if (!response.ok || text.includes('"errors"')) throw new Error(`refused: ${text}`);
  return text;
}

async function open(url: string, user: number): Promise<string> {
  const query = `mutation { openImmutable(userName: "user-${user}", password: "${password}", applicationId: 21) { ... on SessionData { sessionId } } }`;
  const { data } = JSON.parse(await ask(url, null, JSON.stringify({ query }))) as {
    data: { openImmutable: { sessionId?: string } };
  };
  if (data.openImmutable.sessionId === undefined) throw new Error('a sign-in was refused');
  return data.openImmutable.sessionId;
}

async function createUsers({ store, tenant: { tenantId } }: Database): Promise<void> {
  const hash = await createPasswordHashing().hash(password);
  await store.sql(tenantId, (sql) =>
    sql.query(
      `with made as (insert into principal (tenant_id, kind, name, role)
         select $1::uuid, 'user', 'user-' || number, 'operator' from generate_series(0, $2::int - 1) number returning id)
       insert into principal_password (tenant_id, principal_id, hash) select $1::uuid, id, $3::text from made`,
      [tenantId, signInsTogether, hash],
    ),
  );
}

/** An API in a process of its own. Throws with how it ended when it does not come up. */
async function startApi(terms: ApiTerms): Promise<{ url: string; close(): Promise<void> }> {
  const child = fork(apiProcess, [JSON.stringify(terms)]);
  const ended = once(child, 'exit');
  const [url] = (await Promise.race([
    once(child, 'message'),
    ended.then(([code]) => Promise.reject(new Error(`the API has ended with ${code}`))),
  ])) as [string];
  return {
    url,
    close: async () => {
      // It ends when it hears nothing of us any more, however that comes.
      child.disconnect();
      await ended;
    },
  };
}
