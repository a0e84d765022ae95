import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { Capabilities, Source } from '../../connectors/contract.ts';
import { createBatches } from './batches.ts';
import { createBuffers, type Reservation } from './buffers.ts';
import { contentKey, deliveryKey } from './deliveryKey.ts';
import { createGate, createSharedPlace } from './gate.ts';
import { createGroupCommit } from './groupCommit.ts';
import { placeBelow, relativePath } from './options.ts';
import { chooseFlow, pump } from './pump.ts';
import { versionPath } from './relocate.ts';

const never = new AbortController().signal;
const MiB = 1024 * 1024;

describe('batches', () => {
  test('a large file goes alone, small ones together up to 500 and 256 MiB', () => {
    const batches = createBatches();
    expect([1, 65 * MiB, 2, 64 * MiB, 64 * MiB, 64 * MiB, 64 * MiB, 3].map((size) => batches.place(size))).toEqual([
      0, 1, 0, 0, 0, 0, 2, 2,
    ]);
    expect(batches.count()).toBe(3);
  });
});

describe('delivery keys', () => {
  const identity = {
    tenantId: 't',
    pipeline: 'p',
    sourceEndpoint: 's',
    sourcePath: '/a',
    sourceSize: 1,
    sourceModified: '2026-01-01T00:00:00.000Z',
    sourceEtag: null,
    targetEndpoint: 'l',
    targetPath: '/b',
  };
  test('every part of the identity counts, the target path only with once: target', () => {
    const changes = [
      { tenantId: 'x' },
      { pipeline: 'x' },
      { sourceEndpoint: 'x' },
      { sourcePath: '/x' },
      { sourceSize: 2 },
      { sourceModified: '2026-01-01T00:00:00.001Z' },
      { targetEndpoint: 'x' },
    ];
    for (const once of ['target', 'version'] as const) {
      const keys = [identity, ...changes.map((change) => ({ ...identity, ...change }))].map((each) =>
        deliveryKey(each, once),
      );
      expect(new Set(keys).size).toBe(changes.length + 1);
      expect(deliveryKey({ ...identity }, once)).toBe(keys[0]);
    }
    const elsewhere = { ...identity, targetPath: '/x' };
    expect(deliveryKey(elsewhere, 'target')).not.toBe(deliveryKey(identity, 'target'));
    expect(deliveryKey(elsewhere, 'version')).toBe(deliveryKey(identity, 'version'));
  });
  test('parts cannot run into each other', () => {
    const one = deliveryKey({ ...identity, sourceEndpoint: 'a', sourcePath: '/b","/c' }, 'target');
    expect(one).not.toBe(deliveryKey({ ...identity, sourceEndpoint: 'a","/b', sourcePath: '/c' }, 'target'));
  });
  test('keys without an etag are those of earlier releases; an etag counts, and stands in for a time', () => {
    expect(deliveryKey(identity, 'target')).toBe('8843bc2b93ab612961ac9c8534ccc74eff3440f45e8296d9cfa6f95c17e50293');
    const tagged = { ...identity, sourceEtag: 'e1' };
    const keys = [identity, tagged, { ...tagged, sourceEtag: 'e2' }].map((each) => deliveryKey(each, 'target'));
    expect(new Set(keys).size).toBe(3);
    // An etag that is called like an endpoint is no endpoint.
    const named = { ...identity, sourceEtag: identity.targetEndpoint, targetEndpoint: identity.targetPath };
    expect(deliveryKey(named, 'version')).not.toBe(deliveryKey(identity, 'target'));
    const timeless = { ...tagged, sourceModified: null };
    expect(deliveryKey(timeless, 'target')).toBe(deliveryKey(timeless, 'target'));
  });
  test('keys of a content have its SHA-256 in place of size, time and etag', () => {
    const key = contentKey(identity, 'ab');
    expect(contentKey({ ...identity, sourceSize: 9, sourceModified: null, sourceEtag: 'e' }, 'ab')).toBe(key);
    expect(contentKey(identity, 'cd')).not.toBe(key);
    for (const change of [{ sourcePath: '/x' }, { targetPath: '/x' }, { targetEndpoint: 'x' }, { pipeline: 'x' }])
      expect(contentKey({ ...identity, ...change }, 'ab')).not.toBe(key);
    expect(deliveryKey(identity, 'content')).not.toBe(deliveryKey(identity, 'content'));
  });
  test('once: off and a file without a time give a key of their own to each delivery', () => {
    expect(deliveryKey(identity, 'off')).not.toBe(deliveryKey(identity, 'off'));
    const timeless = { ...identity, sourceModified: null };
    expect(deliveryKey(timeless, 'target')).not.toBe(deliveryKey(timeless, 'target'));
  });
});

describe('places', () => {
  test('a folder keeps the path below the base, a file is itself', () => {
    expect(placeBelow('/in/', '/out/sub/a.csv', '/out')).toBe('/in/sub/a.csv');
    expect(placeBelow('/in/', '/a.csv', '/')).toBe('/in/a.csv');
    expect(placeBelow('/in/b.csv', '/out/a.csv', '/out')).toBe('/in/b.csv');
    expect(relativePath('/other/a.csv', '/out')).toBe('a.csv');
  });
  test('versions keep the extension, and names within 255 bytes', () => {
    expect(versionPath('/in/a.csv', 2)).toBe('/in/a.v2.csv');
    expect(versionPath('/in/a.tar.gz', 3)).toBe('/in/a.tar.v3.gz');
    expect(versionPath('/.profile', 2)).toBe('/.profile.v2');
    const long = versionPath(`/${'世'.repeat(83)}.csv`, 12);
    expect(Buffer.byteLength(long) - 1).toBeLessThanOrEqual(255);
    expect(long).toMatch(/世\.v12\.csv$/);
  });
});

describe('the pump', () => {
  const capabilities: Capabilities = {
    rename: true,
    atomicNoReplace: true,
    readsInFlight: 5,
    writesInFlight: 3,
    blockBytes: 1000,
    filesInFlight: 1,
    modifiedTimeKept: true,
    parts: null,
    resume: false,
    serverCopy: false,
    caseSensitive: true,
    listAfter: false,
  };
  test('a block is the larger of both ends, in whole pieces of the smaller', () => {
    const [disk, server] = [MiB, 255 * 1024].map((blockBytes) => ({ ...capabilities, blockBytes }));
    const blocks = [chooseFlow(MiB * 64, disk!, server!), chooseFlow(MiB * 64, server!, disk!)];
    expect(blocks.map(({ blockBytes }) => blockBytes)).toEqual([4 * 255 * 1024, 4 * 255 * 1024]);
    expect(chooseFlow(1_000, disk!, server!).blockBytes).toBe(1_000);
    expect(chooseFlow(MiB * 64, disk!, null).blockBytes).toBe(MiB);
  });

  /** Answers in any order, as servers do. */
  const sourceOf = (bytes: Buffer): Source => ({
    size: bytes.length,
    version: { size: bytes.length, modified: null },
    async read(buffer, at) {
      for (let turn = Math.floor(Math.random() * 6); turn > 0; turn--)
        await new Promise((resolve) => setImmediate(resolve));
      return bytes.subarray(at).copy(buffer);
    },
    close: async () => {},
  });
  async function carry(bytes: Buffer, size: number, fail?: (at: number) => void) {
    const flow = chooseFlow(size, capabilities, capabilities);
    const written = Buffer.alloc(size);
    let pending = 0;
    let most = 0;
    const sha256 = await pump(sourceOf(bytes), {
      size,
      flow,
      buffers: Array.from({ length: flow.blocks }, () => Buffer.alloc(flow.blockBytes)),
      async write(block, at) {
        most = Math.max(most, ++pending);
        await new Promise((resolve) => setImmediate(resolve));
        fail?.(at);
        written.set(block, at);
        pending--;
      },
      onBytes: () => {},
      signal: never,
    }).finally(() => expect(pending).toBeLessThanOrEqual(fail ? 1 : 0));
    return { sha256, written, most };
  }

  test.each([0, 1, 999, 1000, 1001, 123_456])(
    'hashes and writes %i bytes in order, with several in flight',
    async (size) => {
      const bytes = randomBytes(size);
      const { sha256, written, most } = await carry(bytes, size);
      expect(written.equals(bytes)).toBe(true);
      expect(sha256).toBe(createHash('sha256').update(bytes).digest('hex'));
      expect(most).toBeLessThanOrEqual(3);
    },
  );
  test('a source that ends early is a conflict', async () => {
    await expect(carry(randomBytes(5_500), 9_000)).rejects.toMatchObject({ kind: 'conflict' });
  });
  test('a write that fails ends it with that failure, once nothing is pending any more', async () => {
    const broken = (at: number) => {
      if (at === 3000) throw new Error('disk full');
    };
    await expect(carry(randomBytes(50_000), 50_000, broken)).rejects.toThrow('disk full');
  });
});

describe('buffers', () => {
  test('memory stays below the ceiling: who comes later waits, first come first served', async () => {
    const buffers = createBuffers({ ceilingBytes: 64 * 1024 });
    const first = await buffers.reserve(3, 16 * 1024, never);
    const order: string[] = [];
    const note = (name: string) => (held: Reservation) => {
      order.push(name);
      return held;
    };
    const big = buffers.reserve(4, 16 * 1024, never).then(note('big'));
    const small = buffers.reserve(1, 4 * 1024, never).then(note('small'));
    await new Promise((resolve) => setImmediate(resolve));
    expect(order).toEqual([]);
    first.release();
    (await big).release();
    (await small).release();
    expect(order).toEqual(['big', 'small']);
  });
  test('a buffer is reused, and an over-large request is served alone', async () => {
    const buffers = createBuffers({ ceilingBytes: 64 * 1024 });
    const first = await buffers.reserve(1, 10_000, never);
    const [buffer] = first.buffers;
    first.release();
    first.release();
    const second = await buffers.reserve(1, 9_000, never);
    expect(second.buffers[0]).toBe(buffer);
    second.release();
    (await buffers.reserve(1, MiB, never)).release();
  });
  test('who gives up waiting lets the next one in', async () => {
    const buffers = createBuffers({ ceilingBytes: 16 * 1024 });
    const first = await buffers.reserve(1, 12 * 1024, never);
    const leaving = new AbortController();
    const big = buffers.reserve(1, 16 * 1024, leaving.signal);
    const small = buffers.reserve(1, 0, never);
    leaving.abort(new Error('enough'));
    await expect(big).rejects.toThrow('enough');
    first.release();
    (await small).release();
  });
});

describe('gates', () => {
  test('let in so many at a time, and pass a place on', async () => {
    const gate = createGate(2);
    const leave = await Promise.all([gate.enter(never), gate.enter(never)]);
    let entered = false;
    const third = gate.enter(never).then((leaveAgain) => {
      entered = true;
      return leaveAgain;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(entered).toBe(false);
    leave[0]!();
    leave[0]!();
    (await third)();
    leave[1]!();
    (await gate.enter(never))();
  });
});

describe('group commits', () => {
  test('what comes while one is written goes together into the next, and a failure reaches its own group only', async () => {
    const groups: number[][] = [];
    const write = createGroupCommit(async (items: readonly number[]) => {
      groups.push([...items]);
      await new Promise((resolve) => setImmediate(resolve));
      if (items.includes(13)) throw new Error('unlucky');
      return items.map((item) => item * 2);
    }, 3);
    const first = write(1);
    await new Promise((resolve) => setImmediate(resolve));
    const answers = await Promise.allSettled([first, ...[2, 3, 4, 13].map(write)]);
    expect(groups).toEqual([[1], [2, 3, 4], [13]]);
    expect(answers.map((answer) => (answer.status === 'fulfilled' ? answer.value : 'failed'))).toEqual([
      2,
      4,
      6,
      8,
      'failed',
    ]);
  });
});

describe('a shared place', () => {
  const forever = new AbortController().signal;
  const isFree = async (gate: Pick<ReturnType<typeof createGate>, 'enter'>) => {
    const leave = await gate.enter(AbortSignal.timeout(20)).catch(() => null);
    leave?.();
    return leave !== null;
  };

  test('is one for all who share it, and free when the last of them has left', async () => {
    const gate = createGate(1);
    const place = createSharedPlace([gate]);
    const leaves = await Promise.all([place.enter(forever), place.enter(forever)]);
    leaves[0]!();
    leaves[0]!();
    expect(await isFree(gate)).toBe(false);
    leaves[1]!();
    expect(await isFree(gate)).toBe(true);
  });

  test('is asked for again when the one who asked has gone', async () => {
    const gate = createGate(1);
    const other = await gate.enter(forever);
    const place = createSharedPlace([gate]);
    const gone = new AbortController();
    const first = place.enter(gone.signal);
    const second = place.enter(forever);
    gone.abort(new Error('gone'));
    await expect(first).rejects.toThrow('gone');
    other();
    (await second)();
    expect(await isFree(gate)).toBe(true);
  });
});
