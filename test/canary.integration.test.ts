import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Partner, startPartner } from '../cli/demo/partner.ts';
import { type Receiver, startReceiver } from '../cli/demo/receiver.ts';
import { removePostgres } from '../cli/embedded/postgres.ts';
import type { DevFacts } from '../cli/supervisor/stateFolder.ts';
import { createMasterKeys } from '../identity/keys/masterKeys.ts';
import { createTenantKeys, selectTenantKeys, unwrapTenantKey } from '../identity/keys/tenantKeys.ts';
import { openStore } from '../prisma/store.ts';
import { findNeedles, type Needle, needleOf } from './canary/needles.ts';
import { type StartedCommand, startWaybill, waybill } from './commandLine.ts';
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
const cmdlines: string[] = [];

let folder: string;
let state: string;
let dev: StartedCommand;
let facts: DevFacts;
let partner: Partner;
let receiver: Receiver;

beforeAll(async () => {
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
  cmdlines.push(readCommandLine(pid));
  command.child.stdin?.end(input);
  const ended = await command.ended;
  // biome-ignore lint/suspicious/noExplicitAny: each answer has a shape of its own
  const answer: any = ended.stdout === '' ? undefined : JSON.parse(ended.stdout);
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

function readCommandLine(pid: number | string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}

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

    const key = await verb(['keys', 'create', '--name', marker], { shows: ['secret'] });
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
      (await ask(`{ pipeline(name: "${marker}", password: 1) { name } }`, {}, session)).text,
    );
    expect((await verb(['endpoints', 'check', 'acme-refuses'])).code).not.toBe(0);
    expect((await verb(['run', marker])).code).toBe(0);
    expect((await verb(['run', `${marker}-refused`])).code).not.toBe(0);
    for (const words of [['runs', 'list'], ['sessions', 'list'], ['keys', 'list'], ['secrets', 'list'], ['users', 'list']])
      expect((await verb(words)).code).toBe(0);
    await verb(['secrets', 'rotate']);
    await verb(['run', `${marker}-nowhere`]);
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) cmdlines.push(readCommandLine(pid));
  });

  test('are in no table', async () => {
    const store = openStore({ applicationUrl: facts.appDatabaseUrl, log: { warn: () => undefined } });
    const owner = new pg.Client({ connectionString: facts.databaseUrl });
    await owner.connect();
    const { rows: tenants } = await owner.query<{ credential: string }>(
      `select distinct tenant_id::text as credential from tenant_key`,
    );
    expect(tenants).toEqual([]);
    const masterKey = readFileSync(join(state, 'master.key'), 'utf8').trim();
    const masterKeys = createMasterKeys(Buffer.from(masterKey, 'base64'));
    const tenantId = (await ask('{ viewer { tenantId: tenant } }', {}, readFileSync(facts.apiKeyFile, 'utf8').trim())).body;
    expect(tenantId).toBeDefined();
    await store.close();
    await owner.end();
    needles.push(needleOf('master key', masterKey));
    void masterKeys;
  });
});
void [Client, Connection, createTenantKeys, selectTenantKeys, unwrapTenantKey, historyText, relative, statSync, findNeedles, places, waybill];
