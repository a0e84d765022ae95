import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { waybill } from '../../test/commandLine.ts';
import { fingerprintFolder } from './fingerprint.ts';
import { loadPlugins, openRegistry } from './load.ts';

const example = join(import.meta.dirname, '../../test/plugins/shelf');
const nothing = '0'.repeat(64);

let area: string;
let shelf: string;
beforeEach(async () => {
  area = await mkdtemp(join(tmpdir(), 'waybill-plugins-'));
  shelf = join(area, 'shelf');
  await cp(example, shelf, { recursive: true });
});
afterEach(() => rm(area, { recursive: true, force: true }));

describe('the fingerprint of a folder', () => {
  test('depends on paths and contents, and on nothing else', async () => {
    const first = await fingerprintFolder(shelf);
    expect(first).toMatch(/^[0-9a-f]{64}$/);
    await cp(shelf, join(area, 'elsewhere'), { recursive: true });
    expect(await fingerprintFolder(join(area, 'elsewhere'))).toBe(first);
    await mkdir(join(shelf, 'node_modules/inner'), { recursive: true });
    expect(await fingerprintFolder(shelf)).toBe(first);
    await writeFile(join(shelf, 'node_modules/inner/index.js'), '');
    const second = await fingerprintFolder(shelf);
    expect(second).not.toBe(first);
    await writeFile(join(shelf, 'node_modules/inner/index.js'), ' ');
    expect(await fingerprintFolder(shelf)).not.toBe(second);
  });

  test('cannot be had by moving bytes from one file into the next', async () => {
    for (const [name, one, other] of [
      ['left', 'ab', 'c'],
      ['right', 'a', 'bc'],
    ] as const) {
      await mkdir(join(area, name));
      await writeFile(join(area, name, '1'), one);
      await writeFile(join(area, name, '2'), other);
    }
    expect(await fingerprintFolder(join(area, 'left'))).not.toBe(await fingerprintFolder(join(area, 'right')));
  });

  test('is refused for a symbolic link, and for a folder that is not there', async () => {
    await symlink('/etc/hostname', join(shelf, 'link.js'));
    await expect(fingerprintFolder(shelf)).rejects.toMatchObject({ kind: 'invalid', message: /link\.js is a link/ });
    await expect(fingerprintFolder(join(area, 'absent'))).rejects.toMatchObject({ kind: 'not-found' });
  });
});

describe('the plugins of a list', () => {
  test('are found beside it, and their connectors beside ours', async () => {
    const list = await pin('shelf');
    expect(await loadPlugins(list)).toMatchObject([{ name: 'waybill-shelf', version: '1.0.0', folder: shelf }]);
    const { definitions } = await openRegistry(list);
    expect(definitions.map(({ kind }) => kind)).toEqual(expect.arrayContaining(['local', 'sftp', 'shelf']));
    expect((await openRegistry(null)).find('shelf')).toBeUndefined();
  });

  test('are refused with both hashes when a folder is not the one that was pinned, before any of it runs', async () => {
    await writeFile(join(shelf, 'index.js'), 'globalThis.ranUnpinned = true; export default [];');
    const found = await fingerprintFolder(shelf);
    const list = await pin('shelf', nothing);
    await expect(loadPlugins(list)).rejects.toMatchObject({
      kind: 'forbidden',
      message: expect.stringMatching(new RegExp(`expected ${nothing}, found ${found}`)),
    });
    expect('ranUnpinned' in globalThis).toBe(false);
  });

  test('may not take a kind of ours, or of another plugin', async () => {
    await write('index.js', "export default { ...(await import('./made.js')).default, kind: 'sftp' };");
    await write('made.js', definition('other'));
    await expect(loadPlugins(await pin('shelf'))).rejects.toThrow(/connector sftp is already that of Waybill itself/);
    const entries = [];
    for (const name of ['one', 'twin']) {
      await cp(example, join(area, name), { recursive: true });
      entries.push({ path: name, sha256: await fingerprintFolder(join(area, name)) });
    }
    await expect(loadPlugins(await listOf(entries))).rejects.toThrow(/connector shelf is already that of plugin/);
  });

  test.each([
    ['no default export', 'export const x = 1;', /default export must be a connector/],
    ['no open function', definition('x-1').replace('open() {}', ''), /x-1: open must be a function/],
    ['a kind with capitals', definition('Shelf'), /kind must be 2 to 40 small letters/],
    [
      'a config that takes anything',
      definition('x-2').replace('additionalProperties: false', ''),
      /x-2: config must be/,
    ],
    [
      'a config that is no schema',
      definition('x-3').replace('properties: {}', "properties: { a: { type: 'texte' } }"),
      /x-3: config must be a valid/,
    ],
    ['code that throws', "throw new Error('no');", /cannot be loaded: no/],
  ])('say what is wrong with one that has %s', async (_, code, says) => {
    await write('index.js', code);
    await expect(loadPlugins(await pin('shelf'))).rejects.toMatchObject({ kind: 'invalid', message: says });
  });

  test('may have their entry in their own folder only', async () => {
    await write('package.json', '{ "main": "../outside.js" }');
    await writeFile(join(area, 'outside.js'), definition('outside'));
    await expect(loadPlugins(await pin('shelf'))).rejects.toThrow(/not in the folder, so it is not pinned/);
  });

  test.each([
    ['no list', 'path: x'],
    ['a short hash', '[{ path: shelf, sha256: abc }]'],
    ['neither YAML nor JSON', '{ ['],
  ])('are not read from a file with %s', async (_, text) => {
    const list = join(area, 'plugins.yaml');
    await writeFile(list, text);
    await expect(loadPlugins(list)).rejects.toMatchObject({ kind: 'invalid', message: /WAYBILL_PLUGINS/ });
    await expect(loadPlugins(join(area, 'absent.yaml'))).rejects.toThrow(/cannot be read: ENOENT/);
  });
});

describe('as commands', { timeout: 60_000 }, () => {
  test('list, hash, explain and schema know them', async () => {
    const environment = { WAYBILL_PLUGINS: await pin('shelf') };
    const listed = await waybill(['plugins', 'list', '--json'], { environment });
    expect(JSON.parse(listed.stdout)).toMatchObject({ items: [{ name: 'waybill-shelf', connectors: ['shelf'] }] });
    const hashed = await waybill(['plugins', 'hash', shelf]);
    expect(hashed.stdout.trim()).toBe(await fingerprintFolder(shelf));
    expect((await waybill(['explain', 'shelf'], { environment })).stdout).toMatch(/shelf - connector/);
    expect((await waybill(['schema'], { environment })).stdout).toContain('connector-shelf');
  });

  test('a service refuses to start with one that is not the one pinned', async () => {
    const { code, stderr } = await waybill(['worker'], {
      environment: {
        WAYBILL_PLUGINS: await pin('shelf', nothing),
        DATABASE_URL: 'postgresql://nobody:x@127.0.0.1:1/none',
        WAYBILL_MASTER_KEY: Buffer.alloc(32).toString('base64'),
      },
    });
    expect(code).not.toBe(0);
    expect(stderr).toContain(`expected ${nothing}, found ${await fingerprintFolder(shelf)}`);
  });
});

async function pin(name: string, sha256?: string): Promise<string> {
  return listOf([{ path: `./${name}`, sha256: sha256 ?? (await fingerprintFolder(join(area, name))) }]);
}

async function listOf(entries: unknown): Promise<string> {
  const list = join(area, 'plugins.yaml');
  await writeFile(list, JSON.stringify(entries));
  return list;
}

function write(name: string, text: string): Promise<void> {
  return writeFile(join(shelf, name), text);
}

function definition(kind: string): string {
  return `export default { kind: '${kind}', serves: 'files', summary: 'A test.', secrets: {},
    config: { type: 'object', properties: {}, additionalProperties: false }, open() {} };`;
}
