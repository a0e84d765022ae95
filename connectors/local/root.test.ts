import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Root } from './root.ts';

describe('syncs of one folder', () => {
  let home: string;
  let root: Root;

  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'waybill-root-'));
    root = new Root(home, ['*']);
  });
  afterEach(() => rm(home, { recursive: true, force: true }));

  it('are shared by those that come while one is under way: none of them by one that had begun before', async () => {
    const [first, ...others] = Array.from({ length: 100 }, () => root.syncFolder(home));
    expect(new Set(others).size).toBe(1);
    expect(others[0]).not.toBe(first);
    await Promise.all([first, ...others]);
  });

  it('begin anew when nothing is under way', async () => {
    const first = root.syncFolder(home);
    await first;
    const second = root.syncFolder(home);
    expect(second).not.toBe(first);
    await second;
  });

  it('fail for all that share one, and not for those that come later', async () => {
    const folder = join(home, 'absent');
    const ended = await Promise.allSettled([root.syncFolder(folder), root.syncFolder(folder), root.syncFolder(folder)]);
    expect(ended.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    await mkdir(folder);
    await root.syncFolder(folder);
  });

  it('do not wait for one another in different folders', async () => {
    await mkdir(join(home, 'a'));
    const [one, other] = [root.syncFolder(home), root.syncFolder(join(home, 'a'))];
    expect(one).not.toBe(other);
    await Promise.all([one, other]);
  });
});
