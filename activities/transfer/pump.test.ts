import { createHash, randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import type { Capabilities, Source } from '../../connectors/contract.ts';
import { chooseFlow, type Flow, pump } from './pump.ts';

const mebibyte = 1024 * 1024;
const content = randomBytes(64 * 1024);
const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
const flow: Flow = { blockBytes: 1024, blocks: 16, readsInFlight: 16, writesInFlight: 16, windowBytes: 4096 };
const buffers = () => Array.from({ length: flow.blocks }, () => Buffer.alloc(flow.blockBytes));

const source: Source = {
  size: content.length,
  version: { size: content.length, modified: null },
  read: async (buffer, at) => content.copy(buffer, 0, at, at + buffer.length),
  close: async () => {},
};

const plain = { size: content.length, flow, onBytes: () => {}, signal: new AbortController().signal };

test('what the target has is hashed and compared, and only the rest is written', async () => {
  const written: number[] = [];
  const compared: number[] = [];
  const sha256 = await pump(source, {
    ...plain,
    buffers: buffers(),
    from: 10 * 1024,
    holds: async (bytes, at) => {
      compared.push(at);
      return content.subarray(at, at + bytes.length).equals(bytes);
    },
    write: async (_bytes, at) => void written.push(at),
  });
  expect(sha256).toBe(digest(content));
  expect(compared.sort((one, other) => one - other)).toEqual(Array.from({ length: 10 }, (_, index) => index * 1024));
  expect(Math.min(...written)).toBe(10 * 1024);
  expect(written).toHaveLength(54);
});

test('a target that kept something else is told apart from a source that changed', async () => {
  const copying = pump(source, {
    ...plain,
    buffers: buffers(),
    from: 8 * 1024,
    holds: async (_bytes, at) => at !== 3 * 1024,
    write: async () => {},
  });
  await expect(copying).rejects.toMatchObject({ kind: 'conflict', context: { keptDiffers: true } });
});

test('no write begins beyond the window from the first byte that is not acknowledged', async () => {
  const begun = new Set<number>();
  let letGo = () => {};
  const first = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const copying = pump(source, {
    ...plain,
    buffers: buffers(),
    write: async (_bytes, at) => {
      begun.add(at);
      if (at === 0) await first;
    },
  });
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
  expect([...begun].sort((one, other) => one - other)).toEqual([0, 1024, 2048, 3072]);
  letGo();
  expect(await copying).toBe(digest(content));
  expect(begun.size).toBe(64);
});

test('a block larger than the window is written all the same, alone', async () => {
  let most = 0;
  let inFlight = 0;
  const sha256 = await pump(source, {
    ...plain,
    flow: { ...flow, windowBytes: 100 },
    buffers: buffers(),
    write: async () => {
      most = Math.max(most, ++inFlight);
      await new Promise((resolve) => setImmediate(resolve));
      inFlight--;
    },
  });
  expect(sha256).toBe(digest(content));
  expect(most).toBe(1);
});

test.each([
  ['with time to drain, writes under way come to their end and no other begins', 5_000, true],
  ['without it they are given up', 0, false],
])('a copy that is stopped: %s', async (_words, drainMs, mayEnd) => {
  const stopping = new AbortController();
  const ended: number[] = [];
  let begun = 0;
  const copying = pump(source, {
    ...plain,
    buffers: buffers(),
    signal: stopping.signal,
    drainMs,
    write: async (_bytes, at, signal) => {
      if (++begun === 3) stopping.abort(new Error('stopped'));
      await new Promise((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
      ended.push(at);
    },
  });
  await expect(copying).rejects.toThrow('stopped');
  expect(ended.length === begun).toBe(mayEnd);
  expect(begun).toBeLessThanOrEqual(4);
});

const oneByOne = { ...plain, flow: { ...flow, blocks: 1 }, buffers: buffers().slice(0, 1) };

test('with memory for one block they go one after the other, and what is there is compared', async () => {
  const done: string[] = [];
  const sha256 = await pump(source, {
    ...oneByOne,
    from: 2 * 1024,
    holds: async (bytes, at) => {
      done.push(`holds ${at}`);
      return content.subarray(at, at + bytes.length).equals(bytes);
    },
    write: async (bytes, at) => {
      expect(content.subarray(at, at + bytes.length).equals(bytes)).toBe(true);
      done.push(`write ${at}`);
    },
  });
  expect(sha256).toBe(digest(content));
  expect(done.slice(0, 4)).toEqual(['holds 0', 'holds 1024', 'write 2048', 'write 3072']);
  expect(done).toHaveLength(64);
  const differs = pump(source, { ...oneByOne, from: 1024, holds: async () => false, write: async () => {} });
  await expect(differs).rejects.toMatchObject({ kind: 'conflict', context: { keptDiffers: true } });
  const short = pump({ ...source, read: async () => 10 }, { ...oneByOne, write: async () => {} });
  await expect(short).rejects.toMatchObject({ kind: 'conflict' });
});

test.each([
  ['with time to drain, the write under way comes to its end', 5_000, 2],
  ['without it, it is given up', 0, 1],
])('a copy of one block at a time that is stopped: %s', async (_words, drainMs, expected) => {
  const stopping = new AbortController();
  let [begun, ended] = [0, 0];
  const copying = pump(source, {
    ...oneByOne,
    signal: stopping.signal,
    drainMs,
    write: async (_bytes, _at, signal) => {
      if (++begun === 2) stopping.abort(new Error('stopped'));
      await new Promise((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
      ended++;
    },
  });
  await expect(copying).rejects.toThrow('stopped');
  expect([begun, ended]).toEqual([2, expected]);
});

test('a block that arrives after the copy was stopped is not written', async () => {
  const stopping = new AbortController();
  const written: number[] = [];
  const late: Source = {
    ...source,
    async read(buffer, at) {
      if (at === 1024) stopping.abort(new Error('stopped'));
      return source.read(buffer, at, stopping.signal);
    },
  };
  const write = async (_bytes: Uint8Array, at: number) => void written.push(at);
  await expect(pump(late, { ...oneByOne, signal: stopping.signal, drainMs: 5_000, write })).rejects.toThrow('stopped');
  expect(written).toEqual([0]);
});

const capabilities: Capabilities = {
  rename: true,
  atomicNoReplace: true,
  readsInFlight: 4,
  writesInFlight: 4,
  blockBytes: mebibyte,
  parts: null,
  filesInFlight: 1,
  modifiedTimeKept: true,
  resume: true,
  serverCopy: false,
  caseSensitive: true,
  listAfter: false,
};

test('a target that takes parts gets parts, as large as its limit on their number asks for', () => {
  const target = { ...capabilities, parts: { bytes: 8 * mebibyte, most: 100 } };
  expect(chooseFlow(200 * mebibyte, capabilities, target)).toMatchObject({ blockBytes: 8 * mebibyte, blocks: 8 });
  expect(chooseFlow(1600 * mebibyte, capabilities, target)).toMatchObject({ blockBytes: 16 * mebibyte, blocks: 4 });
  expect(chooseFlow(3 * mebibyte, capabilities, target)).toMatchObject({ blockBytes: 3 * mebibyte, blocks: 1 });
  // A single part may be larger than the memory that one file is meant to have: then one at a time.
  expect(chooseFlow(20_000 * mebibyte, capabilities, target)).toMatchObject({ blockBytes: 200 * mebibyte, blocks: 1 });
});

test('a source that is read in large blocks gets all its reads in flight, as long as one file takes no more than 32 MiB', () => {
  const bucket = { ...capabilities, readsInFlight: 8, blockBytes: 4 * mebibyte };
  expect(chooseFlow(200 * mebibyte, bucket, capabilities)).toMatchObject({ blockBytes: 4 * mebibyte, blocks: 8 });
  const larger = { ...bucket, blockBytes: 16 * mebibyte };
  expect(chooseFlow(200 * mebibyte, larger, capabilities)).toMatchObject({ blockBytes: 16 * mebibyte, blocks: 2 });
  // Small blocks do with half of it.
  const many = { ...bucket, readsInFlight: 64, blockBytes: mebibyte };
  expect(chooseFlow(200 * mebibyte, many, capabilities)).toMatchObject({ blockBytes: mebibyte, blocks: 16 });
});
