import { createCipheriv } from 'node:crypto';
import { request } from 'node:http';
import { Client, Connection } from '@temporalio/client';
import { createApi } from '../api/server.ts';
import { createRegistry } from '../connectors/registry.ts';
import { noHostSecrets } from '../identity/hostSecrets.ts';
import { insertIntegration } from '../identity/tickets/integrations.ts';
import { createDialler } from '../network/dialler.ts';
import { testKeys } from '../test/keys.ts';
import { type Benchmark, type Measurement, median, type Terms } from './benchmark.ts';
import { type Database, withDatabase } from './database.ts';

const triesOfClass = 2_000;
const quickTries = 100;
const warmUps = 200;
/** A ticket that was used is shown again for so long: younger than one that has expired. */
const renewUsedMs = 60_000;
const site = 'files.bench.example';
const silent = { debug() {}, info() {}, warn() {}, error() {} };
const padded = (text: string) => {
  const missing = 16 - (text.length % 16);
  return Buffer.concat([Buffer.from(text), Buffer.alloc(missing, missing)]);
};

/**
 * How long `openWithTicket` takes to refuse, by what is wrong with the ticket: over HTTP, each try from an address of its
 * own, so that no limit answers first, and the classes taking turns, so that whatever else the machine does meets all of
 * them. A class that stands apart from the others would tell whoever sends tickets what theirs decrypts to.
 */
export const paddingOracle: Benchmark = {
  name: 'padding-oracle',
  summary: `${triesOfClass} refused tickets of each kind, beside the median of them all`,
  measure: (terms) =>
    withDatabase(async (database) => {
      const { store, tenant } = database;
      const keys = testKeys(store);
      const { secretBox } = keys;
      const { keyBase64, ivBase64 } = await store.sql(tenant.tenantId, (sql) =>
        insertIntegration(sql, secretBox, tenant.tenantId, { name: 'bench', site, legacy: true }, new Date()),
      );
      const seal = (plain: Buffer) => {
        const [key, iv] = [Buffer.from(keyBase64, 'base64'), Buffer.from(ivBase64, 'base64')];
        const cipher = createCipheriv('aes-256-cbc', key, iv).setAutoPadding(false);
        return Buffer.concat([cipher.update(plain), cipher.final()]).toString('base64');
      };
      return withApi(database, keys, async (port) => {
        const send = sender(port);
        return await Promise.race([compare(classesOf(seal), send, terms), terms.interrupted]);
      });
    }),
};

type Send = (ticket: string) => Promise<number>;

/** Makes the ticket of a class; what it sends itself is not measured. */
type Make = (send: Send) => string | Promise<string>;

/** Of one length, each failing at another wall, and made when it is sent: they are to fail at that one and not by their age. */
function classesOf(seal: (plain: Buffer) => string): Record<string, Make> {
  let used = '';
  let usedAtMs = 0;
  return {
    expired: () => seal(padded(xml({ timestamp: '01/01/2020 00:00:00' }))),
    'bad-padding': () => seal(withByte(padded(xml({})), -2, 0x55)),
    'bad-utf8': () => seal(withByte(padded(xml({})), xml({}).indexOf('bench\\'), 0x80)),
    'bad-xml': () => seal(padded(xml({}).replace('<token ', '<taken '))),
    'wrong-site': () => seal(padded(xml({ at: 'files.other.example' }))),
    replay: async (send) => {
      if (Date.now() - usedAtMs > renewUsedMs) {
        usedAtMs = Date.now();
        used = seal(padded(xml({})));
        // Its user is nobody: it is refused, and used up.
        await send(used);
      }
      return used;
    },
  };
}

/** From the end when `at` is negative. */
function withByte(bytes: Buffer, at: number, difference: number): Buffer {
  bytes[at < 0 ? bytes.length + at : at]! ^= difference;
  return bytes;
}

function xml({ timestamp = nowAsText(), at = site, user = 'bench\\used' }): string {
  return `<token timestamp="${timestamp}"><sitename>${at}</sitename><username>${user}</username></token>`;
}

function nowAsText(): string {
  const [date = '', clock = ''] = new Date().toISOString().slice(0, 19).split('T');
  const [year, month, day] = date.split('-');
  return `${month}/${day}/${year} ${clock}`;
}

async function compare(classes: Record<string, Make>, send: Send, { quick, say }: Terms): Promise<Measurement[]> {
  const names = Object.keys(classes);
  const times = new Map(names.map((name) => [name, [] as number[]]));
  for (let at = 0; at < warmUps; at++) await send(await classes[names[at % names.length]!]!(send));
  const tries = quick ? quickTries : triesOfClass;
  for (let round = 0; round < tries; round++) {
    // Each goes first as often as the others.
    for (const place of names.keys()) {
      const name = names[(place + round) % names.length]!;
      times.get(name)!.push(await send(await classes[name]!(send)));
    }
    if ((round + 1) % 200 === 0) say(`${round + 1} of ${tries} rounds`);
  }
  const all = [...times.values()].flat();
  return names.flatMap((name) => [
    { name: `padding-oracle.${name}`, ours: median(times.get(name)!), peer: median(all), unit: 'ms, median' },
    { name: `padding-oracle.${name}.p95`, ours: p95(times.get(name)!), peer: p95(all), unit: 'ms, p95' },
  ]);
}

function p95(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length * 0.95)]!;
}

/** Sends a ticket from the next address of this machine, and gives the milliseconds until its refusal was read. */
function sender(port: number): Send {
  const query = `mutation($ticket: String!) { openWithTicket(ticket: $ticket, applicationId: 21) { __typename ... on UserError { code } } }`;
  let number = 0;
  return async (ticket) => {
    number++;
    const localAddress = `127.1.${number >> 8}.${number & 255}`;
    const startedAtMs = performance.now();
    const answer = await post({ port, localAddress }, JSON.stringify({ query, variables: { ticket } }));
    const tookMs = performance.now() - startedAtMs;
    if (!answer.includes('"TICKET_REFUSED"')) throw new Error(`another answer than a refusal: ${answer}`);
    return tookMs;
  };
}

function post({ port, localAddress }: { port: number; localAddress: string }, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, localAddress, path: '/graphql', method: 'POST', agent: false };
    const sent = request({ ...options, headers: { 'content-type': 'application/json' } }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.once('end', () => resolve(text));
      response.once('error', reject);
    });
    sent.once('error', reject);
    sent.end(body);
  });
}

/** The API alone: nothing of a sign-in by ticket needs Temporal. */
async function withApi<Result>(
  { store }: Database,
  keys: ReturnType<typeof testKeys>,
  work: (port: number) => Promise<Result>,
): Promise<Result> {
  const connection = Connection.lazy({ address: '127.0.0.1:1' });
  const dialler = createDialler({ loopback: true, allow: [] });
  const api = await createApi({
    ...{
      store,
      ...keys,
      hostSecrets: noHostSecrets,
      log: silent,
      namespace: 'default',
      temporalUiUrl: null,
      codecToken: null,
      version: 'bench',
    },
    temporal: new Client({ connection }),
    registry: createRegistry(),
    connectorContext: { dialler, localRoots: [], log: silent },
  });
  try {
    const { url } = await api.listen({ host: '127.0.0.1', port: 0 });
    return await work(Number(new URL(url).port));
  } finally {
    await api.close();
    await dialler.close();
    await connection.close();
  }
}
