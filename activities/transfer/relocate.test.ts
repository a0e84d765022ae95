import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Connector, ConnectorContext } from '../../connectors/contract.ts';
import { openLocal } from '../../connectors/local/connector.ts';
import { createDialler } from '../../network/dialler.ts';
import { createBuffers } from './buffers.ts';
import type { ConflictRule } from './options.ts';
import { relocate } from './relocate.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'waybill-relocate-'));
  await writeFile(join(root, 'a.csv'), 'new');
});
afterEach(() => rm(root, { recursive: true, force: true }));

const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const context: ConnectorContext = { dialler: createDialler({ loopback: true, allow: [] }), localRoots: ['*'], log };

/** As object stores are that plugins reach: they copy, and rename nothing. */
function withoutRename(without: 'rename' | 'rename and copy' = 'rename'): Connector {
  const { rename: _, copy, ...connector } = openLocal(root, context);
  return { ...connector, ...(without === 'rename' && { copy }) };
}

const move = (connector: Connector, rule: ConflictRule) =>
  relocate('/a.csv', '/done/a.csv', rule, {
    connector,
    buffers: createBuffers({ ceilingBytes: 8 * 1024 * 1024 }),
    signal: new AbortController().signal,
    intend: async () => {},
  });

async function left(): Promise<Record<string, string>> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const contents = await Promise.all(
    files.map(async (file) => [file.slice(root.length), await readFile(file, 'utf8')]),
  );
  return Object.fromEntries(contents.sort());
}

describe('where a connector cannot rename, a file is moved by a copy in the server and a removal', () => {
  test('whole, into a folder that is made', async () => {
    expect(await move(withoutRename(), 'fail')).toBe('/done/a.csv');
    expect(await left()).toEqual({ '/done/a.csv': 'new' });
  });

  test.each([
    ['overwrite', '/done/a.csv', { '/done/a.csv': 'new' }],
    ['version', '/done/a.v2.csv', { '/done/a.csv': 'old', '/done/a.v2.csv': 'new' }],
  ] as const)('with %s when the name is taken', async (rule, path, files) => {
    await openLocal(root, context).makeFolder!('/done', new AbortController().signal);
    await writeFile(join(root, 'done/a.csv'), 'old');
    expect(await move(withoutRename(), rule)).toBe(path);
    expect(await left()).toEqual(files);
  });

  test('not over another file, which stays as it is', async () => {
    await openLocal(root, context).makeFolder!('/done', new AbortController().signal);
    await writeFile(join(root, 'done/a.csv'), 'old');
    await expect(move(withoutRename(), 'fail')).rejects.toMatchObject({ kind: 'exists' });
    expect(await left()).toEqual({ '/a.csv': 'new', '/done/a.csv': 'old' });
  });

  test.each(['fail', 'version'] as const)('with %s goes on when an attempt died after its copy', async (rule) => {
    const connector = withoutRename();
    const dying = { ...connector, remove: () => Promise.reject(new Error('killed')) };
    await expect(move(dying, rule)).rejects.toThrow('killed');
    expect(await left()).toEqual({ '/a.csv': 'new', '/done/a.csv': 'new' });
    expect(await move(connector, rule)).toBe('/done/a.csv');
    expect(await left()).toEqual({ '/done/a.csv': 'new' });
  });

  test('and where it cannot copy either, that is unsupported', async () => {
    await expect(move(withoutRename('rename and copy'), 'fail')).rejects.toMatchObject({ kind: 'unsupported' });
    expect(await left()).toEqual({ '/a.csv': 'new' });
  });
});
