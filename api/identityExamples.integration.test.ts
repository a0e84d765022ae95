import { execFile, execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readPage } from '../test/documents.ts';
import { password, type SignIns, startSignIns } from '../test/servers/signIns.ts';

const run = promisify(execFile);
let signIns: SignIns;
let folder: string;
beforeAll(async () => {
  signIns = await startSignIns();
  folder = await mkdtemp(path.join(tmpdir(), 'waybill-examples-'));
});
afterAll(async () => {
  await signIns?.api.close();
  await rm(folder, { recursive: true, force: true });
});

/** What the file of a page prints, run as a reader would. */
async function output(page: string, file: string, more: Record<string, string> = {}): Promise<string> {
  const block = readPage(page).blocks.find(({ info }) => info === `file=${file}`);
  const command = commands[path.extname(file)]!;
  const at = path.join(folder, file);
  await writeFile(at, block!.text);
  const environment = { PATH: process.env.PATH, SERVER: new URL(signIns.api.url).origin };
  const { stdout } = await run(command, [at], {
    env: { ...environment, USER_NAME: 'anna', PASSWORD: password, ...more },
    timeout: 30_000,
  });
  return stdout;
}

const commands: Record<string, string> = { '.sh': 'bash', '.mts': process.execPath, '.py': 'python3' };

function isThere(command: string, options: readonly string[] = ['--version']): boolean {
  try {
    execFileSync(command, options, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const hasCurl = isThere('curl') && isThere('bash');

test.skipIf(!hasCurl)('the example of docs/identity.md signs in (skipped where there is no curl)', async () => {
  const printed = await output('docs/identity.md', 'sign-in.sh', { USER_NAME: 'relay' });
  expect(printed).toContain('"sessionId":"wbs_');
  const { data } = JSON.parse(printed);
  const { body } = await signIns.viewer(data.openImmutable.sessionId);
  expect(body.data.viewer.principal.name).toBe('relay');
});

describe('the programs of docs/signing-in.md go every way in, and out again', () => {
  beforeAll(async () => {
    const input = { name: 'acme-portal', site: 'files.acme.example' };
    const query = 'mutation($input: CreateIntegrationInput!) { it: createIntegration(input: $input) { __typename } }';
    const { body } = await signIns.api.graphql(signIns.api.keys.a, query, { input });
    expect(body.data?.it.__typename, JSON.stringify(body)).toBe('IntegrationSecretPayload');
    uma = await signIns.createUser('uma', 'uploader');
  });

  test.skipIf(!hasCurl)('curl (skipped where there is no curl)', () => goEveryWay('signing-in.sh', 'curl'));
  test('TypeScript', () => goEveryWay('signing-in.mts', 'TypeScript'));
  test.skipIf(!isThere('python3'))('Python (skipped where there is no Python)', () =>
    goEveryWay('signing_in.py', 'Python'),
  );

  test('are one in each language, and the page shows what they print', () => {
    const shown = readPage('docs/signing-in.md').blocks.map(({ language }) => language);
    expect(shown).toEqual(['text', 'sh', 'bash', 'ts', 'py']);
  });
});

let uma: number;

/** Each program prints the lines that the page shows, leaves no session behind, and its words arrive unchanged. */
async function goEveryWay(file: string, clientVersion: string): Promise<void> {
  const [shown] = readPage('docs/signing-in.md').blocks;
  const { sessionId: serviceSession } = await signIns.openImmutable({ userName: 'relay' });
  // Characters that mean something to JSON, to GraphQL and to a shell.
  const userString = `${clientVersion} of "ACME\\sales" & $HOME 'Söhne'`;
  const printed = await output('docs/signing-in.md', file, {
    API_KEY: signIns.api.keys.a,
    TICKET: await newTicket('ACME\\anna'),
    TICKET_EX: await newTicket('ACME\\nobody'),
    EMAIL: 'jane@acme.example',
    FIRST_NAME: 'Jane',
    LAST_NAME: 'Doe',
    SERVICE_SESSION: serviceSession,
    USER_ID: `${uma}`,
    USER_STRING: userString,
  });
  expect(printed).toBe(shown!.text);
  const sessions = await signIns.api.database.asOwner<Record<string, unknown>>(
    `select method, user_string as "userString", ended_at is null as open from session where client_version = $1
      order by created_at, id`,
    [clientVersion],
  );
  expect(sessions).toEqual(
    [
      ...['open', 'openWithTicket', 'openWithTicketEx', 'openImmutable', 'openImmutableImpersonate'],
      ...['openImmutableUserString', 'openImmutableUserString', 'open'],
    ].map((method) => ({ method, userString: method.endsWith('String') ? userString : null, open: false })),
  );
  expect(await signIns.codeOf(serviceSession)).toBe('alive');
}

/** Of version 2, since one of version 1 for the same user is taken once a second. */
async function newTicket(user: string): Promise<string> {
  const input = { integration: 'acme-portal', user, version: 2 };
  const query =
    'mutation($input: CreateTicketInput!) { it: createTicket(input: $input) { ... on TicketPayload { ticket } } }';
  const { body } = await signIns.api.graphql(signIns.api.keys.a, query, { input });
  return body.data.it.ticket;
}

/** What the developer's guide has its readers write: one request, and what each status means. */
const client = `
import os, requests

def who(credential):
    try:
        response = requests.get(
            os.environ["SERVER"] + "/auth/validate",
            headers={"Authorization": f"Bearer {credential}"},
            timeout=10,
        )
        if response.status_code == 401:
            return "invalid"
        if response.status_code == 403:
            return "insufficient"
        response.raise_for_status()
        return response.json()["principal"]
    except requests.exceptions.Timeout:
        return "timeout"
    except requests.exceptions.RequestException as error:
        return f"failed: {error}"

print(" ".join(who(credential) for credential in os.environ["CREDENTIALS"].split(",")))
`;

test.skipIf(!isThere('python3', ['-c', 'import requests']))(
  'GET /auth/validate answers a client of the developer’s guide: the key or session, 401 and 403 (skipped where Python has no requests)',
  async () => {
    const { api } = signIns;
    const oneTime =
      'mutation { setPassword(input: { userName: "ben", password: "good for one sign-in", oneTime: true }) { __typename } }';
    await api.graphql(api.keys.a, oneTime);
    const { sessionId } = await signIns.openImmutable();
    const { sessionId: ended } = await signIns.openImmutable();
    await signIns.close(ended);
    const { sessionId: opensNothing } = await signIns.open({ userName: 'ben', password: 'good for one sign-in' });
    const credentials = [api.keys.a, sessionId, 'invented', `${sessionId}x`, ended, opensNothing];
    const at = path.join(folder, 'who.py');
    await writeFile(at, client);
    const environment = { PATH: process.env.PATH, SERVER: new URL(api.url).origin };
    const { stdout } = await run('python3', [at], { env: { ...environment, CREDENTIALS: credentials.join() } });
    expect(stdout.trim()).toBe('owner anna invalid invalid invalid insufficient');
  },
);
