import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createRegistry } from '../../connectors/registry.ts';
import { printSchemaFile } from '../../language/schemaFile.ts';
import { actions } from '../../schema/actions.ts';
import { type LanguageServer, type Position, startLanguageServer } from '../servers/languageServer.ts';
import { corpus } from './corpusFiles.ts';

const { definitions: connectors } = createRegistry();
const header = 'pipeline: acme-orders\napiVersion: waybill/v1\n';
const timeoutMs = 60_000;

let folder: string;
let server: LanguageServer;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'waybill-editor-'));
  // Where the first line of the examples says that it is.
  const schema = join(folder, 'schema', 'pipeline.v1.json');
  mkdirSync(dirname(schema));
  writeFileSync(schema, printSchemaFile(connectors));
  server = await startLanguageServer(pathToFileURL(schema).href);
}, timeoutMs);
afterAll(async () => {
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

describe('an editor completes', { timeout: timeoutMs }, () => {
  test('the first key of a document and of a step', async () => {
    expect(await completions('|\n')).toEqual(expect.arrayContaining(['pipeline', 'endpoint', 'webhook']));
    const first = await completions(`${header}steps:\n  - |\n`);
    expect(first).toEqual(expect.arrayContaining(['use', 'forEach', 'parallel', 'wait', 'steps', 'id', 'if']));
  });

  test('the keys of a step by what it is', async () => {
    const action = await completions(`${header}steps:\n  - use: transfer.copy@1\n    |\n`);
    expect(action).toEqual(expect.arrayContaining(['with', 'retry', 'timeout', 'onError', 'tolerate', 'compensate']));
    expect(action).not.toContain('forEach');
    const branches = await completions(`${header}steps:\n  - parallel: [ { wait: 1s } ]\n    |\n`);
    expect(branches).toEqual(expect.arrayContaining(['maxParallel', 'failFast']));
    expect(branches).not.toContain('with');
    expect(await completions(`${header}steps:\n  - wait:\n      |\n`)).toEqual(
      expect.arrayContaining(['until', 'every', 'deadline', 'steps']),
    );
  });

  test('the names of all actions', async () => {
    const names = await completions(`${header}steps:\n  - use: |\n`);
    expect(names).toEqual(expect.arrayContaining(actions.map(({ use }) => use)));
  });

  test('the input of an action, and the choices of one value', async () => {
    const fields = await completions(`${header}steps:\n  - id: a\n    use: transfer.copy@1\n    with:\n      |\n`);
    expect(fields).toEqual(expect.arrayContaining(['from', 'to', 'then', 'verify', 'onConflict', 'once']));
    const choices = await completions(`${header}steps:\n  - use: transfer.copy@1\n    with:\n      verify: |\n`);
    expect(choices).toEqual(['hash', 'readback', 'size']);
  });

  test.each(connectors.map((connector) => [connector.kind, connector] as const))(
    'the settings and secrets of the connector %s',
    async (kind, { config, secrets }) => {
      const endpoint = `endpoint: acme\napiVersion: waybill/v1\nconnector: ${kind}\n`;
      const settings = await completions(`${endpoint}config:\n  |\n`);
      expect(settings).toEqual(expect.arrayContaining(Object.keys(config.properties)));
      expect(await completions(`${endpoint}secrets:\n  |\n`)).toEqual(Object.keys(secrets));
    },
  );
});

describe('an editor tells on hover', { timeout: timeoutMs }, () => {
  const text = `${header}steps:\n  - use: transfer.copy@1\n    with: { from: "a:/b", to: "c:/d/", verify: hash }\n  - parallel: [ { wait: 30s } ]\n    failFast: true\n`;

  test.each([
    ['verify', 'readback: read the target again'],
    ['verify', 'default `hash`'],
    ['transfer.copy@1', 'Copies a file, or every file of a glob'],
    ['failFast', 'the other branches are cancelled'],
    ['wait', 'How long, or until when'],
    ['parallel', '*list of steps*'],
  ])('of %s: %s', async (word, told) => {
    const uri = await opened(text);
    expect(await server.hover(uri, positionOf(text, text.indexOf(word) + 1))).toContain(told);
  });
});

describe('an editor underlines', { timeout: timeoutMs }, () => {
  test.each([
    ['a wrong key of the pipeline', 'lables', `${header}lables: {}\nsteps: [ { wait: 1s } ]\n`],
    [
      'a wrong key of a step',
      'wth',
      `${header}steps:\n  - use: files.delete@1\n    wth: 1\n    with: { at: "a:/b" }\n`,
    ],
    [
      'a wrong key of an input',
      'verfy',
      `${header}steps:\n  - use: transfer.copy@1\n    with: { from: "a:/b", to: "b:/c", verfy: hash }\n`,
    ],
    ['a wrong key of a wait', 'untl', `${header}steps:\n  - wait: { until: "true", untl: 1 }\n`],
    ['an action that does not exist', 'files.lst@1', `${header}steps:\n  - use: files.lst@1\n`],
    [
      'a wrong setting of a connector',
      'hst',
      'endpoint: acme\napiVersion: waybill/v1\nconnector: sftp\nconfig: { host: a, username: b, hst: c }\n',
    ],
  ])('%s', async (_, wrong, text) => {
    const start = positionOf(text, text.indexOf(wrong));
    const ranges = (await server.open(freshUri(), text)).map(({ range }) => range);
    expect(ranges).toEqual([{ start, end: { ...start, character: start.character + wrong.length } }]);
  });

  test('nothing in the good files of the corpus', async () => {
    const wrong: unknown[] = [];
    for (const { file, text } of corpus('good'))
      for (const { message, range } of await server.open(freshUri(), text)) wrong.push([file, range.start, message]);
    expect(wrong).toEqual([]);
  });
});

let opens = 0;

function freshUri(): string {
  opens++;
  return pathToFileURL(join(folder, 'documents', `${opens}.yaml`)).href;
}

async function opened(text: string): Promise<string> {
  const uri = freshUri();
  await server.open(uri, text);
  return uri;
}

/** What is offered at the `|` of a text. */
async function completions(marked: string): Promise<string[]> {
  const at = marked.indexOf('|');
  const text = marked.slice(0, at) + marked.slice(at + 1);
  const uri = await opened(text);
  return (await server.complete(uri, positionOf(text, at))).map(({ label }) => label);
}

function positionOf(text: string, offset: number): Position {
  const before = text.slice(0, offset).split('\n');
  return { line: before.length - 1, character: before.at(-1)!.length };
}
