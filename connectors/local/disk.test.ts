import { createHook } from 'node:async_hooks';
import { constants } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createDialler } from '../../network/dialler.ts';
import type { Connector } from '../contract.ts';
import { openLocal } from './connector.ts';
import { Disk } from './disk.ts';
import { OpenFile } from './openFile.ts';

const never = new AbortController().signal;
const context = {
  dialler: createDialler({ loopback: false, allow: [] }),
  localRoots: ['*'],
  log: { debug() {}, info() {}, warn() {}, error() {} },
};
const mount = (point: string, type: string) => `36 35 98:0 / ${point} rw,noatime master:1 - ${type} source rw`;
const onThisMachine = () => mount('/', 'ext4');

let area: string;
beforeEach(async () => {
  area = await mkdtemp(join(tmpdir(), 'waybill-disk-'));
  await mkdir(join(area, 'root/inner'), { recursive: true });
  await mkdir(join(area, 'outside'));
});
afterEach(() => rm(area, { recursive: true, force: true }));

const open = (mounts: () => string) => openLocal(join(area, 'root'), context, {}, new Disk(mounts));

async function read(connector: Connector, path: string): Promise<string> {
  const source = await connector.open(path, {}, never);
  try {
    const buffer = Buffer.alloc(source.size);
    await source.read(buffer, 0, never);
    return buffer.toString();
  } finally {
    await source.close();
  }
}

async function write(connector: Connector, path: string, content: string): Promise<void> {
  const modified = '2024-02-29T12:34:56.789Z';
  const options = { size: content.length, deliveryId: 'one', replace: true, modified };
  const sink = await connector.begin(path, options, never);
  await sink.write(Buffer.from(content), 0, never);
  await sink.seal({ sha256: '' }, never);
  expect((await sink.commit(never)).modified).toBe(modified);
}

describe.each([
  ['of this machine', onThisMachine],
  ['that may not answer', () => mount('/', 'nfs4')],
])('a filesystem %s', (_kind, mounts) => {
  it('gives what was written, with its time', async () => {
    const connector = open(mounts);
    await write(connector, '/inner/file.txt', 'content');
    expect(await read(connector, '/inner/file.txt')).toBe('content');
  });

  it('has a folder refused that became a link between two files', async () => {
    const connector = open(mounts);
    await writeFile(join(area, 'outside/secret.txt'), 'secret');
    await write(connector, '/inner/one.txt', 'one');
    expect(await read(connector, '/inner/one.txt')).toBe('one');
    await rename(join(area, 'root/inner'), join(area, 'root/before'));
    await symlink(join(area, 'outside'), join(area, 'root/inner'));
    const refused = { kind: 'forbidden' };
    await expect(read(connector, '/inner/secret.txt')).rejects.toMatchObject(refused);
    await expect(connector.stat('/inner/secret.txt', never)).rejects.toMatchObject(refused);
    await expect(write(connector, '/inner/two.txt', 'two')).rejects.toMatchObject(refused);
    await expect(connector.remove('/inner/secret.txt', never)).rejects.toMatchObject(refused);
    expect(await readdir(join(area, 'outside'))).toEqual(['secret.txt']);
  });

  it('has a file refused that became a link out of the root, and gives one that leads to a place within', async () => {
    const connector = open(mounts);
    await writeFile(join(area, 'outside/secret.txt'), 'secret');
    await write(connector, '/inner/one.txt', 'one');
    expect(await read(connector, '/inner/one.txt')).toBe('one');
    await rename(join(area, 'root/inner/one.txt'), join(area, 'root/inner/moved.txt'));
    await symlink('moved.txt', join(area, 'root/inner/one.txt'));
    expect(await read(connector, '/inner/one.txt')).toBe('one');
    await rm(join(area, 'root/inner/one.txt'));
    await symlink(join(area, 'outside/secret.txt'), join(area, 'root/inner/one.txt'));
    await expect(read(connector, '/inner/one.txt')).rejects.toMatchObject({ kind: 'forbidden' });
  });

  it('has a root refused that became a link to somewhere else', async () => {
    const connector = open(mounts);
    await write(connector, '/inner/one.txt', 'one');
    await rename(join(area, 'root'), join(area, 'before'));
    await mkdir(join(area, 'outside/inner'));
    await writeFile(join(area, 'outside/inner/one.txt'), 'secret');
    await symlink(join(area, 'outside'), join(area, 'root'));
    await expect(read(connector, '/inner/one.txt')).rejects.toMatchObject({ kind: 'forbidden' });
    await expect(write(connector, '/inner/two.txt', 'two')).rejects.toMatchObject({ kind: 'forbidden' });
    expect(await readdir(join(area, 'outside/inner'))).toEqual(['one.txt']);
  });
});

describe('whether a filesystem is asked on the thread of JavaScript', () => {
  function answers(root: string, ...mounts: string[]): boolean {
    const disk = new Disk(() => mounts.join('\n'));
    expect(disk.answersAtOnce()).toBe(false);
    disk.isAt(root);
    return disk.answersAtOnce();
  }

  it.each([
    ['its own disk', '/srv/in', [mount('/', 'ext4'), mount('/srv', 'xfs'), mount('/mnt', 'nfs4')], true],
    ['a network filesystem', '/srv/in', [mount('/', 'ext4'), mount('/srv', 'nfs4')], false],
    ['a filesystem in user space', '/srv/in', [mount('/', 'ext4'), mount('/srv/in', 'fuse.sshfs')], false],
    ['its own disk, with a network filesystem below', '/srv', [mount('/', 'ext4'), mount('/srv/a/b', 'cifs')], false],
    ['its own disk, beside one that begins alike', '/srv', [mount('/', 'ext4'), mount('/srv2', 'nfs')], true],
    [
      'a network filesystem that hides a disk',
      '/srv',
      [mount('/', 'ext4'), mount('/srv', 'ext4'), mount('/srv', 'nfs')],
      false,
    ],
    ['a name with a blank', '/srv/my in', [mount('/', 'ext4'), mount('/srv/my\\040in', 'nfs')], false],
    ['a system that tells nothing', '/srv', ['', 'nonsense'], false],
  ])('%s', (_what, root, mounts, expected) => {
    expect(answers(root, ...mounts)).toBe(expected);
  });

  it('never where mounts cannot be read', () => {
    const disk = new Disk(() => {
      throw new Error('no /proc');
    });
    disk.isAt('/srv');
    expect(disk.answersAtOnce()).toBe(false);
  });

  it('not for a while once one call was very slow, or many were slow', () => {
    for (const durations of [[60], Array.from({ length: 10 }, () => 8)]) {
      const disk = new Disk(onThisMachine);
      disk.isAt('/srv');
      for (const duration of durations) disk.took(duration);
      expect(disk.answersAtOnce(), `${durations}`).toBe(false);
    }
  });

  it('still when a busy machine takes the processor away now and then', () => {
    const disk = new Disk(onThisMachine);
    disk.isAt('/srv');
    for (let call = 0; call < 10_000; call++) disk.took(call % 100 === 0 ? 20 : 0.01);
    expect(disk.answersAtOnce()).toBe(true);
  });
});

it('a small file waits for other threads only to be made, synced and renamed, and for the sync of its folder', async () => {
  const connector = open(onThisMachine);
  await writeFile(join(area, 'root/from.txt'), 'content');
  await connector.check(never);
  const trips = await tripsOf(async () => {
    const content = await read(connector, '/from.txt');
    await connector.stat('/from.txt', never);
    await write(connector, '/inner/to.txt', content);
  });
  expect(trips).toBe(4);
  expect(await readFile(join(area, 'root/inner/to.txt'), 'utf8')).toBe('content');
});

/** Requests to the filesystem that were handed to other threads meanwhile. */
async function tripsOf(work: () => Promise<void>): Promise<number> {
  let trips = 0;
  const hook = createHook({
    init(_id, type) {
      if (type === 'FSREQCALLBACK' || type === 'FSREQPROMISE') trips++;
    },
  }).enable();
  try {
    await work();
  } finally {
    hook.disable();
  }
  return trips;
}

describe('an open file', () => {
  it('is closed when what is under way has ended, and refuses what comes later', async () => {
    const path = join(area, 'root/large.bin');
    const large = Buffer.alloc(8 * 1024 * 1024, 7);
    await writeFile(path, large);
    const disk = new Disk(onThisMachine);
    disk.isAt(area);
    const file = await OpenFile.open(disk, path, constants.O_RDONLY);
    const buffer = Buffer.alloc(large.length);
    const order: string[] = [];
    const reading = file.read(buffer, 0, buffer.length, 0).then((bytes) => order.push(`read ${bytes}`));
    const closing = [file.close(), file.close()].map((closed) => closed.then(() => order.push('closed')));
    await expect(file.read(buffer, 0, 1, 0)).rejects.toMatchObject({ code: 'EBADF' });
    await expect(file.facts()).rejects.toMatchObject({ code: 'EBADF' });
    await Promise.all([reading, ...closing]);
    expect(order).toEqual([`read ${large.length}`, 'closed', 'closed']);
    expect(buffer.equals(large)).toBe(true);
  });
});
