import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Partner, startPartner } from '../cli/demo/partner.ts';
import { startReceiver, type WebhookReceiver } from '../cli/demo/receiver.ts';
import { removePostgres } from '../cli/embedded/postgres.ts';
import type { DevFacts } from '../cli/supervisor/stateFolder.ts';
import { createMasterKeys } from '../identity/keys/masterKeys.ts';
import { createTenantKeys, selectTenantKeys, unwrapTenantKey } from '../identity/keys/tenantKeys.ts';
import { openStore } from '../prisma/store.ts';
import { findNeedles, type Needle, needleOf } from './canary/needles.ts';
import { type StartedCommand, startWaybill } from './commandLine.ts';
import { historyText } from './historyText.ts';

/**
 * Secrets of every kind go through a real installation, each of them unlike anything else; then they are looked for wherever
 * it writes. The marker is no secret and goes the same ways: where it is not found, the search does not look.
 */
const marker = `canary-visible-${randomBytes(6).toString('hex')}`;
const secretText = (kind: string) => `Canary-${kind}-${randomBytes(12).toString('hex')}`;
const userPassword = secretText('user-password');
const wrongPassword = secretText('wrong-password');
const endpointPassword = secretText('endpoint-password');
const storedSecret = secretText('stored-secret');
const webhookSecret = `whsec_${randomBytes(24).toString('base64')}`;

const needles: Needle[] = [];
const places = new Map<string, Buffer>();
const outputs: string[] = [];
const answers: string[] = [];
const cmdlines = new Set<string>();

let folder: string;
let state: string;
let dev: StartedCommand;
let facts: DevFacts;
let partner: Partner;
let receiver: WebhookReceiver;
/** Some processes live for a moment only. */
let looking: NodeJS.Timeout;
const lookEveryMs = 100;

beforeAll(async () => {
  looking = setInterval(readCommandLines, lookEveryMs);
  folder = mkdtempSync(join(tmpdir(), `${marker}-`));
  state = join(folder, 'state');
  for (const name of ['partner/out', 'landing', 'etc']) mkdirSync(join(folder, name), { recursive: true });
  writeFileSync(join(folder, 'partner/out/orders.csv'), 'id;amount\n1;10\n');
  partner = await startPartner({ folder: join(folder, 'partner') });
  receiver = await startReceiver(webhookSecret);
  const words = ['dev', '--state', state, '--port', '0', '--temporal-port', '0', '--ui-port', '0', '--json'];
  dev = startWaybill(words, { environment: { WAYBILL_LOG_LEVEL: 'debug' } });
  facts = JSON.parse(await dev.firstLine);
}, 180_000);

afterAll(async () => {
  clearInterval(looking);
  dev.child.kill('SIGTERM');
  await dev.ended;
  await receiver.close();
  await partner.stop();
  await removePostgres(state);
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

/** A verb; what it says is searched, but for what it is there to show once. */
async function verb(words: string[], { input = '', shows = [] as string[] } = {}) {
  const command = startWaybill([...words, '--state', state, '--json'], { cwd: join(folder, 'etc') });
  const pid = command.child.pid!;
  cmdlines.add(readCommandLine(pid));
  command.child.stdin?.end(input);
  const ended = await command.ended;
  // biome-ignore lint/suspicious/noExplicitAny: each answer has a shape of its own
  const answer: any = ended.stdout === '' ? undefined : JSON.parse(ended.stdout);
  if (answer === undefined && shows.length > 0) throw new Error(ended.stderr);
  const shown = shows.map((name) => answer[name] as string);
  outputs.push(shown.reduce((text, secret) => text.replaceAll(secret, ''), ended.stdout + ended.stderr));
  return { ...ended, answer };
}

async function ask(query: string, variables: object = {}, credential?: string) {
  const response = await fetch(facts.graphql, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(credential !== undefined && { authorization: `Bearer ${credential}` }),
    },
    body: JSON.stringify({ query, variables }),
  });
  const text = await response.text();
  return { text, body: JSON.parse(text) };
}

function readCommandLines(): void {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) cmdlines.add(readCommandLine(pid));
}

function readCommandLine(pid: number | string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}

const startUnknown = `mutation { startRun(input: { pipeline: "${marker}-nowhere", inputs: {}, idempotencyKey: "${marker}" }) {
  __typename ... on UserError { code message } } }`;
const openWithPassword = `mutation($password: String!, $version: String) {
  openImmutable(userName: "canary", password: $password, applicationId: 1001, clientVersion: $version) {
    ... on SessionData { sessionId } ... on UserError { code message } } }`;

describe('secrets that went through an installation', { timeout: 120_000 }, () => {
  test('come in by every way', async () => {
    const write = (name: string, text: string) => writeFileSync(join(folder, 'etc', name), text, { mode: 0o600 });
    write('password', userPassword);
    write('endpoint-password', endpointPassword);
    write('key', partner.privateKey);
    write('whsec', webhookSecret);
    const place = `host: 127.0.0.1, port: ${partner.port}, username: ${partner.username}, root: "${partner.root}", hostKeys: ["${partner.hostKeyFingerprint}"]`;
    write(
      'all.yaml',
      `endpoint: acme-sftp
apiVersion: waybill/v1
connector: sftp
config: { ${place} }
secrets: { privateKey: { file: ./key } }
---
endpoint: acme-refuses
apiVersion: waybill/v1
connector: sftp
config: { ${place} }
secrets: { password: { file: ./endpoint-password } }
---
endpoint: landing-zone
apiVersion: waybill/v1
connector: local
config: { root: "${join(folder, 'landing')}" }
---
webhook: canary-hook
apiVersion: waybill/v1
url: ${receiver.url}
events: ["run.*"]
secrets: { signing: { file: ./whsec } }
---
pipeline: ${marker}
apiVersion: waybill/v1
endpoints: { partner: acme-sftp, landing: landing-zone }
steps: [ { id: copy, use: transfer.copy@1, with: { from: "partner:/out/*.csv", to: "landing:/${marker}/" } } ]
---
pipeline: ${marker}-refused
apiVersion: waybill/v1
endpoints: { partner: acme-refuses, landing: landing-zone }
steps: [ { id: copy, use: transfer.copy@1, with: { from: "partner:/out/${marker}.csv", to: "landing:/" } } ]
`,
    );
    const user = ['users', 'create', 'canary', '--email', 'canary@example.com', '--role', 'owner'];
    expect((await verb([...user, '--password-file', 'password'])).code).toBe(0);
    expect((await verb(['apps', 'register', '--id', '1001', '--name', marker])).code).toBe(0);
    expect((await verb(['secrets', 'set', 'shared-one'], { input: storedSecret })).code).toBe(0);
    const applied = await verb(['apply', '.']);
    expect(applied.code, applied.stderr).toBe(0);

    const key = await verb(['keys', 'create', marker], { shows: ['secret'] });
    expect(key.code, key.stderr).toBe(0);
    const integration = await verb(['integrations', 'create', 'portal', '--site', 'default', '--legacy'], {
      shows: ['keyBase64', 'ivBase64'],
    });
    expect(integration.code, integration.stderr).toBe(0);
    const ticket = await verb(['ticket', 'create', '--integration', 'portal', '--user', 'ACME\\canary'], {
      shows: ['ticket'],
    });
    expect(ticket.code, ticket.stderr).toBe(0);

    const opened = await ask(openWithPassword, { password: userPassword, version: marker });
    const session = opened.body.data.openImmutable.sessionId as string;
    const query = `mutation($ticket: String!) { openWithTicket(ticket: $ticket, applicationId: 1001) {
      ... on SessionData { sessionId } ... on UserError { code message } } }`;
    const byTicket = (await ask(query, { ticket: ticket.answer.ticket })).body.data.openWithTicket;
    expect([session, byTicket.sessionId]).toEqual([expect.stringMatching(/^wbs_/), expect.stringMatching(/^wbs_/)]);

    needles.push(
      needleOf('password of a user', userPassword),
      needleOf('wrong password', wrongPassword),
      needleOf('password of an endpoint', endpointPassword),
      needleOf('stored secret', storedSecret),
      needleOf('signing secret', webhookSecret.slice('whsec_'.length)),
      needleOf('signing secret, its bytes', Buffer.from(webhookSecret.slice('whsec_'.length), 'base64')),
      needleOf('API key', key.answer.secret),
      needleOf('session', session),
      needleOf('session of a ticket', byTicket.sessionId),
      needleOf('ticket', ticket.answer.ticket),
      needleOf('ticket key', Buffer.from(integration.answer.keyBase64, 'base64')),
      ...partner.privateKey
        .split('\n')
        .filter((line) => line.length === 70)
        .slice(1, 4)
        .map((line, index) => needleOf(`private key, line ${index + 2}`, line)),
    );
    expect(needles.length).toBeGreaterThanOrEqual(13);

    // Errors, of which each could repeat what it was given.
    const wrongKey = `${key.answer.secret.slice(0, -1)}x`;
    answers.push(
      (await ask(openWithPassword, { password: wrongPassword, version: marker })).text,
      (await ask('{ viewer { principal { name } } }', {}, wrongKey)).text,
      (await ask(`mutation { open(userName: "canary", password: "${wrongPassword}") { __typename } }`)).text,
      (await ask(query, { ticket: `${ticket.answer.ticket}x` })).text,
      (await ask('{ run(id: "nothing") { id } }', { password: wrongPassword }, session)).text,
      (await ask(`{ pipeline(name: "${marker}", password: "${wrongPassword}") { name } }`, {}, session)).text,
      (await ask(startUnknown, {}, session)).text,
    );
    expect((await verb(['endpoints', 'check', 'acme-refuses'])).code).not.toBe(0);
    expect((await verb(['run', marker, '--wait'])).code).toBe(0);
    expect((await verb(['run', `${marker}-refused`, '--wait'])).code).not.toBe(0);
    for (const words of [
      ['runs', 'list'],
      ['sessions', 'list'],
      ['keys', 'list'],
      ['secrets', 'list'],
      ['users', 'list'],
    ])
      expect((await verb(words)).code).toBe(0);
    await verb(['secrets', 'rotate']);
    await verb(['run', `${marker}-nowhere`]);
  });

  test('are in no table, history, log, file, answer, output or process list, where the marker is found', async () => {
    const masterKey = Buffer.from(readFileSync(join(state, 'master.key'), 'utf8').trim(), 'base64');
    const codecToken = readFileSync(join(state, 'codec-token'), 'utf8').trim();
    needles.push(needleOf('master key', masterKey), needleOf('codec token', codecToken));
    needles.push(...(await tenantKeysOf(masterKey)), ...databasePasswords());
    await readTables();
    await readHistories(masterKey);
    places.set('answers', Buffer.from(answers.join('\n')));
    places.set('outputs of verbs', Buffer.from(outputs.join('\n')));
    await readMetrics();
    readCommandLines();
    places.set('process arguments', Buffer.from([...cmdlines].join('\n')));
    dev.child.kill('SIGTERM');
    const { stdout, stderr } = await dev.ended;
    places.set('output of dev', Buffer.from(stdout + stderr));
    readFiles();

    const seen = findNeedles([needleOf('marker', marker)], places).map((found) => found.replace(/: marker$/, ''));
    // The API's log names nothing of a tenant; its own address is there.
    const [address] = findNeedles([needleOf('address', facts.graphql)], places).filter((found) =>
      found.includes('api.log'),
    );
    expect(address).toBe('file logs/api.log: address');
    const kinds = [
      ...['table session', 'table audit_event', 'table run', 'history stored', 'history decrypted', 'answers'],
      ...['outputs of verbs', 'process arguments', 'metrics', 'output of dev', 'file logs/worker.log'],
      ...['file postgres/', 'file temporal'],
    ];
    expect(kinds.filter((kind) => !seen.some((place) => place.startsWith(kind)))).toEqual([]);
    // What a failed run says of its endpoint is told to nobody who has Temporal alone, not even as the message of a failure.
    const refusal = findNeedles([needleOf('endpoint', 'acme-refuses')], places);
    expect(refusal.filter((place) => /^(history|file temporal)/.test(place))).toEqual(['history decrypted: endpoint']);
    // Whoever starts `dev` is told how to reach its database; nothing else of it is.
    const told = ['owner', 'application'].map((role) => `output of dev: password of the database's ${role}`);
    expect(findNeedles(needles, places)).toEqual(told);
  });
});

/** What an operator alone may read is where the keys are meant to be. */
const keyFiles = ['master.key', 'api-key', 'codec-token', 'postgres.json', 'temporal/.config/temporalio/temporal.yaml'];

function databasePasswords(): Needle[] {
  const { passwords } = JSON.parse(readFileSync(join(state, 'postgres.json'), 'utf8')) as {
    passwords: Record<string, string>;
  };
  expect(Object.keys(passwords).sort()).toEqual(['application', 'owner', 'system']);
  return Object.entries(passwords).map(([role, password]) => needleOf(`password of the database's ${role}`, password));
}

/** Waybill itself has none yet; Temporal's name workflow types, task queues and activities. */
async function readMetrics(): Promise<void> {
  const port = /--metrics-port (\d+)/.exec(readCommandLine(facts.pids.temporal!))?.[1];
  const response = await fetch(`http://127.0.0.1:${port}/metrics`);
  places.set('metrics', Buffer.from(await response.text()));
}

/** Every file of the installation: logs, and what PostgreSQL and Temporal have on the disk. */
function readFiles(): void {
  const { folder: postgres } = JSON.parse(readFileSync(join(state, 'postgres.json'), 'utf8')) as { folder: string };
  for (const [root, prefix] of [
    [state, ''],
    [postgres, 'postgres/'],
  ] as const)
    for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      const name = relative(root, path);
      if (entry.isFile() && !keyFiles.includes(name)) places.set(`file ${prefix}${name}`, readFileSync(path));
    }
}

async function readTables(): Promise<void> {
  const client = new pg.Client({ connectionString: facts.databaseUrl });
  await client.connect();
  try {
    const { rows: tables } = await client.query<{ name: string }>(
      `select table_name as name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'`,
    );
    for (const { name } of tables) {
      // Bytes come in hex.
      const { rows } = await client.query<{ text: string }>(`select t::text as text from "${name}" t`);
      places.set(`table ${name}`, Buffer.from(rows.map(({ text }) => text).join('\n')));
    }
  } finally {
    await client.end();
  }
}

async function readHistories(masterKey: Buffer): Promise<void> {
  const store = openStore({ applicationUrl: facts.appDatabaseUrl, log: { warn: () => undefined } });
  const connection = await Connection.connect({ address: facts.temporal });
  const temporal = new Client({ connection });
  const tenantKeys = createTenantKeys(store, createMasterKeys(masterKey));
  const found: Array<{ stored: string; decrypted: string }> = [];
  try {
    for await (const { workflowId } of temporal.workflow.list())
      found.push(await historyText({ temporal, tenantKeys }, workflowId));
  } finally {
    await connection.close();
    await store.close();
  }
  places.set('history stored', Buffer.from(found.map(({ stored }) => stored).join('\n')));
  places.set('history decrypted', Buffer.from(found.map(({ decrypted }) => decrypted).join('\n')));
}

async function tenantKeysOf(masterKey: Buffer): Promise<Needle[]> {
  const store = openStore({ applicationUrl: facts.appDatabaseUrl, log: { warn: () => undefined } });
  try {
    const tenantId = await findTenantId();
    const stored = await store.sql(tenantId, (sql) => selectTenantKeys(sql, tenantId));
    expect(stored.map(({ version }) => version)).toEqual([1, 2]);
    return stored.map((row) =>
      needleOf(`tenant key ${row.version}`, unwrapTenantKey(createMasterKeys(masterKey), tenantId, row)),
    );
  } finally {
    await store.close();
  }
}

async function findTenantId(): Promise<string> {
  const client = new pg.Client({ connectionString: facts.databaseUrl });
  await client.connect();
  try {
    return (await client.query<{ id: string }>('select id from tenant')).rows[0]!.id;
  } finally {
    await client.end();
  }
}
