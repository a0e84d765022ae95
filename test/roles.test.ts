import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import type { Command } from 'commander';
import { type GraphQLField, type GraphQLObjectType, parse } from 'graphql';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { routes } from '../api/routes.ts';
import { apiSchema } from '../api/schema/index.ts';
import { buildProgram } from '../cli/program.ts';
import { readCommandEnvironment } from '../cli/settings.ts';
import { allow, permissions, roles } from '../identity/permissions.ts';
import { codeSpans, readPage, tableRows } from './documents.ts';

const page = readPage('docs/roles.md');

describe('the table of roles in docs/roles.md', () => {
  const rows = tableRows(page, 'permission', ...roles, 'what it allows');

  test('names every permission in the order of the code, and says what it allows', () => {
    expect(rows.map(([permission]) => codeSpans(permission!)[0])).toEqual([...permissions]);
    for (const row of rows) expect(row.at(-1)!.length, row[0]).toBeGreaterThan(8);
  });

  // Whoever widens a role changes the page too.
  test.each([...roles])('says what the role %s may do, and nothing else is allowed', (role) => {
    const column = 1 + roles.indexOf(role);
    const shown = rows.filter((row) => row[column] === 'yes').map(([permission]) => codeSpans(permission!)[0]);
    expect(permissions.filter((permission) => allow({ role, scopes: ['*'] }, permission))).toEqual(shown);
    expect(rows.map((row) => row[column]).filter((cell) => cell !== 'yes' && cell !== '-')).toEqual([]);
  });
});

/** Fields of the API that need a credential and no permission: each is about the caller. */
const aboutTheCaller = ['node', 'viewer', 'setPassword', 'enrolAuthenticator', 'confirmAuthenticator'];
/** Those that need none: each proves for itself who comes. */
const waysIn = [
  'open',
  'openWithTicket',
  'openWithTicketEx',
  'openImmutable',
  'openImmutableImpersonate',
  'openImmutableUserString',
  'close',
];
const roots = [apiSchema.getQueryType()!, apiSchema.getMutationType()!, apiSchema.getSubscriptionType()!];
const rootFields = roots.flatMap((root: GraphQLObjectType) => Object.values(root.getFields()));

/** A permission, `signed in`, or `anybody`; undefined when the field has no rule. */
function ruleOf(field: GraphQLField<unknown, unknown>): string | undefined {
  const options = field.extensions.pothosOptions as { authScopes?: Record<string, string | boolean> } | undefined;
  const { may, signedIn, anybody } = options?.authScopes ?? {};
  return may ? String(may) : signedIn === true ? 'signed in' : anybody === true ? 'anybody' : undefined;
}

describe('every way to ask has a rule', () => {
  test.each(rootFields.map((field) => [field.name, field] as const))('the field %s', (name, field) => {
    const expected = waysIn.includes(name) ? 'anybody' : aboutTheCaller.includes(name) ? 'signed in' : 'a permission';
    const rule = ruleOf(field);
    const isPermission = (permissions as readonly (string | undefined)[]).includes(rule);
    expect(isPermission ? 'a permission' : rule).toBe(expected);
  });

  test.each(routes.map((route) => [route.path, route.rule] as const))('the route %s', (path, rule) => {
    const open = ['/health', '/ready'];
    expect(rule === 'anybody').toBe(open.includes(path));
  });
});

describe('the verbs of the command line', () => {
  const rules = new Map(
    tableRows(page, 'verb', 'needs').map(([verb, needs]) => [
      codeSpans(verb!)[0]!,
      needs!.split(', ').map((need) => codeSpans(need)[0] ?? need),
    ]),
  );
  let folder: string;
  let server: Server;
  let asked: string[];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'waybill-roles-'));
    writeFileSync(join(folder, 'secret'), 'something long enough\n');
    writeFileSync(
      join(folder, 'endpoint.yaml'),
      'endpoint: one-place\napiVersion: waybill/v1\nconnector: local\nconfig: { root: /tmp }\n',
    );
    server = createServer(async (request, response) => {
      const { query } = JSON.parse(await text(request)) as { query: string };
      asked.push(...rulesOf(query));
      response.end(JSON.stringify({ errors: [{ message: 'not you', extensions: { code: 'FORBIDDEN' } }] }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  afterAll(() => {
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test('each has a rule in docs/roles.md, and no other has', () => {
    expect([...rules.keys()].sort()).toEqual(
      verbsOf(programOf('http://127.0.0.1:1'))
        .map(({ verb }) => verb)
        .sort(),
    );
    const known: readonly string[] = [...permissions, 'signed in', 'local', 'installation'];
    expect([...rules.values()].flat().filter((need) => !known.includes(need))).toEqual([]);
  });

  test('that are local have no option that names a server, but for those that start or look into one', () => {
    const named = verbsOf(programOf('http://127.0.0.1:1')).filter(({ command }) =>
      command.options.some(({ long }) => long === '--state'),
    );
    const local = named.filter(({ verb }) => rules.get(verb)?.[0] === 'local').map(({ verb }) => verb);
    expect(local.sort()).toEqual(['dev', 'doctor']);
  });

  // Those that ask no server are not tried: `fmt` lays out the folder that it stands in, `dev` starts everything.
  const asking = [...rules].filter(([, [need]]) => need !== 'local' && need !== 'installation');
  test.each(asking)('%s needs %j', async (verb, needs) => {
    asked = [];
    const program = programOf(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    const { command } = verbsOf(program).find((candidate) => candidate.verb === verb)!;
    const words = [...verb.split(' '), ...wordsFor(verb, command)];
    await program.parseAsync(words, { from: 'user' }).catch((error: Error) => {
      // The server refuses everything.
      if (error.name !== 'WaybillError') throw error;
    });
    expect(asked).toEqual([needs[0]]);
  });

  function wordsFor(verb: string, command: Command): string[] {
    const secret = join(folder, 'secret');
    const special: Record<string, string[]> = {
      apply: [join(folder, 'endpoint.yaml'), '--yes'],
      'service-accounts grant': ['x', '--use', 'x'],
      'service-accounts revoke': ['x', '--use', 'x'],
      'secrets set': ['x', '--file', secret],
      'users set-role': ['x', 'operator'],
      'apps disable': ['1001'],
    };
    const samples: Record<string, string> = {
      '--password-file': secret,
      '--session-file': secret,
      '--id': '1001',
      '--fingerprint': `SHA256:${'A'.repeat(43)}`,
    };
    const required = command.options.filter(({ mandatory }) => mandatory);
    return [
      ...(special[verb] ?? command.registeredArguments.filter((argument) => argument.required).map(() => 'x')),
      ...required.flatMap(({ long }) => [long!, samples[long!] ?? 'x']),
    ];
  }
});

/** The rules of the fields that a document asks for at its root. */
function rulesOf(query: string): string[] {
  return parse(query).definitions.flatMap((definition) => {
    if (definition.kind !== 'OperationDefinition') return [];
    const root = apiSchema.getRootType(definition.operation)!;
    return definition.selectionSet.selections.map((selection) =>
      selection.kind === 'Field' ? (ruleOf(root.getFields()[selection.name.value]!) ?? 'none') : 'none',
    );
  });
}

function programOf(url: string): Command {
  const stream = () => new PassThrough().resume() as unknown as NodeJS.WriteStream;
  const stdin = new PassThrough().end() as unknown as NodeJS.ReadStream;
  const environment = { WAYBILL_URL: url, WAYBILL_API_KEY: 'wb_live_none' };
  return buildProgram({
    streams: { stdout: stream(), stderr: stream(), stdin },
    environment,
    command: readCommandEnvironment(environment),
    setExitCode: () => undefined,
  });
}

function verbsOf(command: Command, prefix = ''): { verb: string; command: Command }[] {
  return command.commands.flatMap((child) => {
    const verb = `${prefix} ${child.name()}`.trim();
    return child.commands.length > 0 ? verbsOf(child, verb) : [{ verb, command: child }];
  });
}
