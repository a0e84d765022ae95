import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createDialler } from '../../network/dialler.ts';
import { openLocalFaults } from '../../test/faults/localFaults.ts';
import { withFaults } from '../../test/faults/withFaults.ts';
import { makeFilesBelow, makeSparseBelow } from '../../test/servers/files.ts';
import { describeConnector } from '../conformance.ts';
import type { Connector, ConnectorContext } from '../contract.ts';
import { createRegistry } from '../registry.ts';

const log = { debug() {}, info() {}, warn() {}, error() {} };
/** What was sent makes no difference to a filesystem. */
const sent = { sha256: '' };
const never = new AbortController().signal;

function context(localRoots: readonly string[]): ConnectorContext {
  return { dialler: createDialler({ loopback: false, allow: [] }), localRoots, log };
}

function open(root: string, localRoots: readonly string[] = ['*']) {
  return createRegistry().open('local', { root }, {}, context(localRoots)).endpoint as Connector;
}

describeConnector('local', {
  open: async () => {
    const root = await mkdtemp(join(tmpdir(), 'waybill-local-'));
    const opened = {
      connector: open(root),
      close: () => rm(root, { recursive: true, force: true }),
      reopen: () => open(root),
      openConnections: () => descriptorsBelow(root),
      makeFiles: (paths: readonly string[]) => makeFilesBelow(root, paths),
      makeSparse: (path: string, bytes: number, places: readonly number[]) =>
        makeSparseBelow(root, path, bytes, places),
      makeLink: (path: string, target: string) => symlink(join(root, target), join(root, path)),
      memoryMiB: 48,
    };
    return withFaults(opened, openLocalFaults(context(['*'])));
  },
});

/** Descriptors of this process that are open below a folder; where the system does not tell, none. */
async function descriptorsBelow(folder: string): Promise<number> {
  const numbers = await readdir('/proc/self/fd').catch(() => []);
  const targets = await Promise.all(numbers.map((number) => readlink(`/proc/self/fd/${number}`).catch(() => '')));
  return targets.filter((target) => target.startsWith(folder)).length;
}

describe('the root of a local endpoint', () => {
  let area: string;
  beforeEach(async () => {
    area = await mkdtemp(join(tmpdir(), 'waybill-root-'));
    await mkdir(join(area, 'allowed/root/inner'), { recursive: true });
    await mkdir(join(area, 'allowed-not'), { recursive: true });
    await writeFile(join(area, 'secret.txt'), 'secret');
  });
  afterEach(() => rm(area, { recursive: true, force: true }));

  test('lies within what the operator allows', async () => {
    await expect(open(join(area, 'allowed/root'), [join(area, 'allowed')]).check(never)).resolves.toMatchObject({
      identity: null,
    });
    await expect(open(join(area, 'allowed'), [join(area, 'allowed')]).check(never)).resolves.toBeDefined();
    await expect(open(area, [join(area, 'allowed')]).check(never)).rejects.toMatchObject({ kind: 'forbidden' });
    await expect(open(join(area, 'allowed-not'), [join(area, 'allowed')]).check(never)).rejects.toMatchObject({
      kind: 'forbidden',
    });
    await expect(open(join(area, 'allowed'), []).check(never)).rejects.toMatchObject({ kind: 'forbidden' });
  });

  test('is judged by where it really is, not by its name', async () => {
    await symlink(area, join(area, 'allowed/door'));
    await expect(open(join(area, 'allowed/door'), [join(area, 'allowed')]).check(never)).rejects.toMatchObject({
      kind: 'forbidden',
    });
    await expect(
      open(join(area, 'allowed/../allowed-not'), [join(area, 'allowed')]).check(never),
    ).rejects.toMatchObject({ kind: 'forbidden' });
  });

  test('is absolute and exists', async () => {
    expect(() => open('relative/folder')).toThrow(/absolute/);
    await expect(open(join(area, 'absent')).check(never)).rejects.toMatchObject({ kind: 'not-found' });
    await expect(open(join(area, 'secret.txt')).check(never)).rejects.toMatchObject({ kind: 'invalid' });
  });

  test('is not left through symbolic links, in any operation', async () => {
    const root = join(area, 'allowed/root');
    await symlink(area, join(root, 'out'));
    await symlink(join(area, 'secret.txt'), join(root, 'link.txt'));
    await writeFile(join(root, 'mine.txt'), 'mine');
    const connector = open(root);
    const write = { size: 1, deliveryId: 'd', replace: true, modified: null };
    for (const path of ['/out/secret.txt', '/link.txt', '/out']) {
      await expect(connector.stat(path, never), path).rejects.toMatchObject({ kind: 'forbidden' });
      await expect(connector.open(path, {}, never), path).rejects.toMatchObject({ kind: 'forbidden' });
    }
    await expect(connector.begin('/out/new.txt', write, never)).rejects.toMatchObject({ kind: 'forbidden' });
    await expect(connector.begin('/out/new-folder/new.txt', write, never)).rejects.toMatchObject({ kind: 'forbidden' });
    await expect(connector.remove('/out/secret.txt', never)).rejects.toMatchObject({ kind: 'forbidden' });
    await expect(connector.rename!('/out/secret.txt', '/stolen.txt', { replace: true }, never)).rejects.toMatchObject({
      kind: 'forbidden',
    });
    await expect(connector.rename!('/mine.txt', '/out/planted.txt', { replace: true }, never)).rejects.toMatchObject({
      kind: 'forbidden',
    });
    await expect(connector.sweep!('/out', 0, never)).rejects.toMatchObject({ kind: 'forbidden' });
    const pages = connector.list('/out', { recursive: false }, never)[Symbol.asyncIterator]();
    await expect(pages.next()).rejects.toMatchObject({ kind: 'forbidden' });
    expect((await readdir(area)).sort()).toEqual(['allowed', 'allowed-not', 'secret.txt']);
  });

  test('shows links as links and does not walk them; a link within it can be read', async () => {
    const root = join(area, 'allowed/root');
    await writeFile(join(root, 'inner/file.txt'), 'inner');
    await symlink(area, join(root, 'out'));
    await symlink('inner/file.txt', join(root, 'within.txt'));
    const connector = open(root);
    const kinds: Record<string, string> = {};
    for await (const page of connector.list('/', { recursive: true }, never))
      for (const { path, kind } of page) kinds[path] = kind;
    expect(kinds).toEqual({ '/inner': 'folder', '/inner/file.txt': 'file', '/out': 'link', '/within.txt': 'link' });
    expect(await connector.stat('/within.txt', never)).toMatchObject({ kind: 'file', size: 5 });
  });

  test('a published file replaces a link of that name instead of writing through it', async () => {
    const root = join(area, 'allowed/root');
    await symlink(join(area, 'secret.txt'), join(root, 'link.txt'));
    const sink = await open(root).begin(
      '/link.txt',
      { size: 3, deliveryId: 'd', replace: true, modified: null },
      never,
    );
    await sink.write(Buffer.from('new'), 0, never);
    await sink.seal(sent, never);
    await sink.commit(never);
    expect(await open(area).stat('/secret.txt', never)).toMatchObject({ size: 6 });
    expect(await open(root).stat('/link.txt', never)).toMatchObject({ kind: 'file', size: 3 });
  });

  test('an attempt whose delivery was taken over publishes nothing', async () => {
    const connector = open(join(area, 'allowed/root'));
    const options = { size: 3, deliveryId: 'same', replace: true, modified: null };
    const stale = await connector.begin('/file.txt', options, never);
    await stale.write(Buffer.from('old'), 0, never);
    await stale.seal(sent, never);
    const current = await connector.begin('/file.txt', options, never);
    await expect(stale.commit(never)).rejects.toMatchObject({ kind: 'conflict' });
    await stale.abort();
    await current.write(Buffer.from('new'), 0, never);
    await current.seal(sent, never);
    await current.commit(never);
    expect((await readdir(join(area, 'allowed/root'))).sort()).toEqual(['file.txt', 'inner']);
  });

  test('a named pipe is not a file, and opening it waits for nobody', async () => {
    await promisify(execFile)('mkfifo', [join(area, 'allowed/root/pipe')]);
    const connector = open(join(area, 'allowed/root'));
    await expect(connector.open('/pipe', {}, never)).rejects.toMatchObject({ kind: 'invalid' });
    expect(await connector.stat('/pipe', never)).toMatchObject({ kind: 'other', size: 0 });
  });

  test('modified times in milliseconds come back as they were given', async () => {
    const connector = open(join(area, 'allowed/root'));
    for (const modified of [
      '2024-02-29T12:34:56.789Z',
      '1999-12-31T23:59:59.001Z',
      '2038-01-19T03:14:08.999Z',
      '2020-08-12T07:36:06.031Z',
    ]) {
      const options = { size: 0, deliveryId: 'times', replace: true, modified };
      const sink = await connector.begin('/times.txt', options, never);
      await sink.seal(sent, never);
      expect((await sink.commit(never)).modified).toBe(modified);
    }
  });
});
