import { execFile } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readSystemUrl, removePostgres } from '../cli/embedded/postgres.ts';
import type { DevFacts } from '../cli/supervisor/stateFolder.ts';
import { type Ended, type StartedCommand, startWaybill } from './commandLine.ts';
import { type Block, commandsOf, readPage, readPages, repositoryRoot } from './documents.ts';
import { type Sshd, startSshd } from './servers/sshd.ts';

/** Commands of the pages that this test does not run, and why. */
const notRun: Record<string, string> = {
  'npm run demo': 'cli/demo.integration.test.ts runs it',
  'npm test': 'it is what runs this test',
  'waybill api': 'stays until it is stopped; `waybill dev` starts it here',
  'waybill worker': 'stays until it is stopped; `waybill dev` starts it here',
};
/** Commands that may end with another code than 0. */
const mayFail: Record<string, string> = {
  'waybill doctor --json': 'tells of the machine that the test runs on, where a port may be taken',
};
/** What happens between the commands, in the story that the pages tell. */
const beforeCommand: Record<string, () => Promise<void>> = {
  'waybill runs --status failed --first 5': failOneDelivery,
  'waybill deliveries resend "$DELIVERY" --reason "ACME has lost its disk" --wait': loseOneDelivery,
  'waybill retry "$RUN" --failed --wait': async () => rmSync(join(landing, 'acme/late.csv')),
  'waybill watch "$RUN"': async () => {
    run = await newestRun();
  },
  'waybill pause "$RUN" --reason "ACME restarts its server"': startEndlessRun,
  'tar -czf waybill-state.tgz .waybill': stopDev,
};

let folder: string;
let landing: string;
let partner: Sshd;
let receiver: Server;
let dev: StartedCommand | undefined;
let facts: DevFacts;
let run = '';
let delivery = '';
const webhooks: { headers: IncomingHttpHeaders; body: string }[] = [];

beforeAll(async () => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'waybill-docs-')));
  landing = join(folder, 'landing');
  for (const name of ['bin', 'work', 'landing', 'partner/out', 'partner/done'])
    mkdirSync(join(folder, name), { recursive: true });
  // Not bin/waybill: it may install packages, under the other tests' feet.
  const script = `#!/bin/sh\nexec '${process.execPath}' '${join(repositoryRoot, 'cli/main.ts')}' "$@"\n`;
  writeFileSync(join(folder, 'bin/waybill'), script, { mode: 0o755 });
  partner = await startSshd({ root: join(folder, 'partner') });
  receiver = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => {
      body += chunk;
    });
    request.on('end', () => {
      webhooks.push({ headers: request.headers, body });
      response.writeHead(204).end();
    });
  });
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  // What the pages take for granted: the partner has files, and the engineer has the private key.
  writeFileSync(join(folder, 'partner/out/ORD 1.csv'), 'id;amount\n1;10\n');
  writeFileSync(join(folder, 'partner/out/empty.csv'), '');
  writeFileSync(join(folder, 'work/acme-sftp_ed25519'), partner.privateKey, { mode: 0o600 });
}, 300_000);

afterAll(async () => {
  await stopDev();
  receiver.closeAllConnections();
  receiver.close();
  await partner.stop();
  await removePostgres(join(folder, 'work/.waybill'));
  rmSync(folder, { recursive: true, force: true });
}, 90_000);

describe('the pages, followed from the first command to the last', { timeout: 180_000 }, () => {
  test('README', async () => {
    await follow('README.md');
    expect(readFileSync(join(landing, 'acme/ORD 1.csv'), 'utf8')).toBe('id;amount\n1;10\n');
    expect(readdirSync(join(folder, 'partner/done')).sort()).toEqual(['ORD 1.csv', 'empty.csv']);
    expect(readFileSync(join(folder, 'work/first-key'), 'utf8')).toMatch(/^wb_/);
  });

  test('the YAML that `endpoints add` writes is the one that the README shows', () => {
    const shown = readPage('README.md').blocks.find(({ text }) => text.startsWith('endpoint: acme-sftp'));
    const written = readFileSync(join(folder, 'work/acme-sftp.yaml'), 'utf8');
    const example = { host: 'sftp.acme.example', port: '22', username: 'acme', root: '/' };
    const asShown = Object.entries(example).reduce(
      (text, [key, value]) => text.replace(new RegExp(`^  ${key}: .*$`, 'm'), `  ${key}: ${value}`),
      written.replace(partner.hostKeyFingerprint, exampleFingerprint),
    );
    expect(asShown).toBe(shown!.text);
  });

  test('the receiver of docs/operating.md takes the webhook that the README sends, and nothing else', async () => {
    const code = readPage('docs/operating.md').blocks.find(({ language }) => language === 'js')!.text;
    symlinkSync(join(repositoryRoot, 'node_modules'), join(folder, 'node_modules'));
    writeFileSync(join(folder, 'receive.mjs'), code);
    const { receive } = await import(pathToFileURL(join(folder, 'receive.mjs')).href);
    const secret = readFileSync(join(folder, 'work/whsec'), 'utf8').trim();
    const { headers, body } = await eventually(() => webhooks[0]);
    expect(receive(secret, headers, body)).toMatchObject({ type: 'orders.received', data: { files: 2 } });
    expect(() => receive(secret, headers, body.replace('2', '3'))).toThrow();
  });

  test('docs/pipelines.md', () => follow('docs/pipelines.md'));

  test('docs/authoring.md', () => follow('docs/authoring.md'));

  test('docs/endpoints.md', () => follow('docs/endpoints.md'));

  test('docs/identity.md and docs/signing-in.md lead a newcomer through every way in', async () => {
    await follow('docs/identity.md');
    await follow('docs/signing-in.md');
  });

  test('docs/tickets.md', () => follow('docs/tickets.md'));

  test('docs/tenants.md', () => follow('docs/tenants.md'));

  test('docs/operating.md', async () => {
    await follow('docs/operating.md', async () => {
      for (const { text } of readPages().flatMap((page) =>
        page.blocks.filter(({ language }) => language === 'graphql'),
      )) {
        const { data, errors } = await graphql({ query: text, variables: { run } });
        expect(errors).toBeUndefined();
        expect(JSON.stringify(data)).not.toMatch(/"(run|webhooks)":null/);
      }
      for (const [request, code] of [
        [{ nothing: 1 }, 'BAD_REQUEST'],
        [{ query: '{' }, 'GRAPHQL_PARSE_FAILED'],
        [{ query: '{ nothing }' }, 'GRAPHQL_VALIDATION_FAILED'],
      ] as const)
        expect((await graphql(request)).errors?.[0]?.extensions.code).toBe(code);
    });
    expect(readFileSync(join(landing, 'acme/late.csv'), 'utf8')).toBe('new');
    expect(readdirSync(join(folder, 'work'))).toContain('waybill-state.tgz');
  });

  test('no other page has commands', () => {
    // test/plugins follows docs/connectors.md.
    const followed = [
      'README.md',
      'docs/connectors.md',
      'docs/pipelines.md',
      'docs/authoring.md',
      'docs/endpoints.md',
      'docs/operating.md',
      'docs/identity.md',
      'docs/signing-in.md',
      'docs/tickets.md',
      'docs/tenants.md',
    ];
    const others = readPages().filter(({ file, blocks }) => !followed.includes(file) && blocks.some(isCommands));
    expect(others.map(({ file }) => file)).toEqual([]);
  });

  test('the lists of commands that are special name commands of the pages', () => {
    const all = readPages().flatMap(({ blocks }) => blocks.filter(isCommands).flatMap(commandsOf));
    const special = [notRun, mayFail, beforeCommand].flatMap((list) => Object.keys(list));
    expect(special.filter((command) => !all.includes(command))).toEqual([]);
  });
});

const exampleFingerprint = 'SHA256:uNiVztksCsDhcc0u9e8BrwxRRkm+zbGqtBlJ5Tbm6a8';

/** Writes the files of the page, then runs its commands in order; `beforeLast` comes before the state is packed. */
async function follow(file: string, beforeLast?: () => Promise<void>): Promise<void> {
  const page = readPage(file);
  for (const { info, text } of page.blocks)
    if (info.startsWith('file=')) writeFileSync(join(folder, 'work', info.slice('file='.length)), standIn(text));
  const commands = page.blocks.filter(isCommands).flatMap(commandsOf);
  for (const command of commands) {
    if (notRun[command] !== undefined) continue;
    if (command === 'waybill dev') await startDev();
    else {
      if (command === commands.at(-1)) await beforeLast?.();
      await beforeCommand[command]?.();
      const { code, stdout, stderr } = await shell(standIn(command));
      expect(mayFail[command] !== undefined || code === 0, `${command}\n${stdout}${stderr}`).toBe(true);
      // GraphQL answers 200 to a mistake too.
      expect(stdout).not.toContain('"errors"');
    }
  }
}

function isCommands({ language }: Block): boolean {
  return language === 'sh';
}

/** The example with what this test has in place of it. */
function standIn(text: string): string {
  const { username, host, port, root } = partner;
  return text
    .replaceAll('sftp://acme@sftp.acme.example/', `sftp://${username}@${host}:${port}${root}`)
    .replaceAll(exampleFingerprint, partner.hostKeyFingerprint)
    .replaceAll('https://partner.example/hook', `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`)
    .replaceAll('/srv/in', landing)
    .replaceAll('http://127.0.0.1:4000/graphql', facts?.graphql ?? '');
}

async function shell(command: string): Promise<Omit<Ended, 'signal'>> {
  const environment = {
    PATH: `${join(folder, 'bin')}:${process.env.PATH}`,
    RUN: run,
    DELIVERY: delivery,
    ...(facts && { SERVER: new URL(facts.graphql).origin, ...(await databaseUrls()) }),
  };
  const options = { cwd: join(folder, 'work'), env: environment, timeout: 90_000 };
  return new Promise((resolve) => {
    const child = execFile('/bin/sh', ['-euc', command], options, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr }),
    );
    child.stdin?.end();
  });
}

/** The three roles of the database of `dev`, and its Temporal, as an operator would give them. */
async function databaseUrls(): Promise<Record<string, string>> {
  const systemUrl = await readSystemUrl(join(folder, 'work/.waybill'), facts.appDatabaseUrl);
  return {
    DATABASE_OWNER_URL: facts.databaseUrl,
    DATABASE_URL: facts.appDatabaseUrl,
    DATABASE_SYSTEM_URL: systemUrl!,
    TEMPORAL_ADDRESS: facts.temporal,
  };
}

async function startDev(): Promise<void> {
  const ports = ['--port', '0', '--temporal-port', '0', '--ui-port', '0'];
  dev = startWaybill(['dev', ...ports, '--json'], { cwd: join(folder, 'work') });
  facts = JSON.parse(await dev.firstLine) as DevFacts;
}

async function stopDev(): Promise<void> {
  dev?.child.kill('SIGTERM');
  await dev?.ended;
  dev = undefined;
}

/** A file arrives at the partner whose name is taken at the target by another one. */
async function failOneDelivery(): Promise<void> {
  writeFileSync(join(landing, 'acme/late.csv'), 'other');
  writeFileSync(join(folder, 'partner/out/late.csv'), 'new');
  const { stdout, code } = await shell('waybill run acme-orders-inbound --wait --json');
  expect(code).toBe(1);
  run = JSON.parse(stdout).run.id;
}

/** A file that was delivered is lost at the target. */
async function loseOneDelivery(): Promise<void> {
  rmSync(join(landing, 'acme/ORD 1.csv'));
  const { items } = JSON.parse((await shell("waybill find '/out/ORD 1.csv' --json")).stdout);
  delivery = items.find(({ state }: { state: string }) => state === 'settled').id;
}

/** A run whose partner does not answer, so that it tries again and again. */
async function startEndlessRun(): Promise<void> {
  const documents = readFileSync(join(folder, 'work/acme-sftp.yaml'), 'utf8')
    .replace('endpoint: acme-sftp', 'endpoint: acme-away')
    .replace(/port: \d+/, 'port: 1');
  const pipeline = readFileSync(join(folder, 'work/orders.yaml'), 'utf8')
    .replace('acme-orders-inbound', 'acme-orders-away')
    .replace('acme-sftp', 'acme-away');
  writeFileSync(join(folder, 'work/away.yaml'), `${documents}---\n${pipeline}`);
  const { stdout } = await shell('waybill apply away.yaml --yes >/dev/null && waybill run acme-orders-away --json');
  run = JSON.parse(stdout).run.id;
}

async function newestRun(): Promise<string> {
  return JSON.parse((await shell('waybill runs --first 1 --json')).stdout).items[0].id;
}

async function graphql(
  request: object,
): Promise<{ data?: object; errors?: { message: string; extensions: { code: string } }[] }> {
  const authorization = `Bearer ${readFileSync(facts.apiKeyFile, 'utf8').trim()}`;
  const headers = { authorization, 'content-type': 'application/json' };
  const answer = await fetch(facts.graphql, { method: 'POST', headers, body: JSON.stringify(request) });
  return (await answer.json()) as { data?: object };
}

async function eventually<Value>(look: () => Value | undefined): Promise<Value> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const found = look();
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error('it did not come within 30 s');
    await pause(50);
  }
}
