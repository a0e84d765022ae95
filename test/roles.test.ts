import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import type { Command } from 'commander';
import { type GraphQLField, type GraphQLObjectType, getNamedType, isObjectType, isUnionType, parse } from 'graphql';
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

/** A permission, `signed in`, or `anybody`; undefined when the field or type has no rule. */
function ruleOf({ extensions }: GraphQLField<unknown, unknown> | GraphQLObjectType): string | undefined {
  const options = extensions.pothosOptions as { authScopes?: Record<string, string | boolean> } | undefined;
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
    expect(open.includes(path) ? ['anybody'] : ['credential', 'fields', 'token']).toContain(rule);
  });
});

/** Types without a rule that are no payload and no error: parts of others, which are reached through a rule. */
const parts = [
  ...['Change', 'Diagnostic', 'IgnoredFile', 'PageInfo', 'Failure', 'DeliverySource', 'DeliveryTarget', 'RunProgress'],
  ...['EndpointBreaker', 'EndpointPause', 'EndpointRights', 'TransferCounts', 'SessionData', 'User', 'Viewer'],
];
/** What is read without a permission, beside errors: it is about whoever asks. A field more is to be judged here. */
const readWithoutPermission = [
  'ClosePayload: closed',
  'EnrolAuthenticatorPayload: uri',
  'SessionData: expiresAt sessionId user userId',
  'User: createdAt disabledAt email firstName id lastName role userId userName',
  'UserPayload: user',
  'Viewer: apiKeyId principal scopes sessionId tenant',
];

describe('every field below those has a rule too, or stands on a list', () => {
  const types = Object.values(apiSchema.getTypeMap()).filter(
    (type): type is GraphQLObjectType => isObjectType(type) && !type.name.startsWith('__') && !roots.includes(type),
  );
  const isError = (type: GraphQLObjectType) => type.getInterfaces().some(({ name }) => name === 'UserError');

  test('a type has a rule of its own, or is a payload, an error or a part', () => {
    const without = types.filter((type) => ruleOf(type) === undefined && !isError(type));
    const others = without.map(({ name }) => name).filter((name) => !name.endsWith('Payload'));
    expect(others.sort()).toEqual([...parts].sort());
  });

  test('what those reach who have no permission is what is listed', () => {
    const reached = new Set<GraphQLObjectType>();
    const reach = (field: GraphQLField<unknown, unknown>) => {
      const named = getNamedType(field.type);
      const found = isUnionType(named) ? named.getTypes() : isObjectType(named) ? [named] : [];
      for (const type of found) {
        if (reached.has(type) || ruleOf(type) !== undefined || isError(type)) continue;
        reached.add(type);
        for (const below of Object.values(type.getFields())) if (ruleOf(below) === undefined) reach(below);
      }
    };
    for (const field of rootFields) if (['anybody', 'signed in'].includes(ruleOf(field)!)) reach(field);
    const fieldsOf = (type: GraphQLObjectType) =>
      Object.values(type.getFields()).filter((field) => ruleOf(field) === undefined);
    const listed = [...reached].map(
      (type) =>
        `${type.name}: ${fieldsOf(type)
          .map(({ name }) => name)
          .sort()
          .join(' ')}`,
    );
    expect(listed.sort()).toEqual(readWithoutPermission);
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
