import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import {
  type ConnectorPromise,
  digest,
  into,
  listAll,
  never,
  offered,
  pieceBytes,
  put,
  read,
  rejects,
} from './steps.ts';

/** What is read is what is there. */
export const readingPromises: ConnectorPromise[] = [];
const promise = into(readingPromises);

promise('reads give any range, fewer bytes only at the end, and none past it', async (connector) => {
  const content = randomBytes(2 * connector.capabilities.blockBytes + 100);
  await put(connector, '/ranges/file.bin', content);
  const source = await connector.open('/ranges/file.bin', {}, never());
  const readAt = async (at: number, length: number) => {
    const buffer = Buffer.alloc(length);
    return buffer.subarray(0, await source.read(buffer, at, never()));
  };
  const { length } = content;
  for (const [at, bytes] of [
    [0, 10],
    [1, 1],
    [length - 10, 10],
    [length - 10, 100],
    [connector.capabilities.blockBytes - 1, 2],
    [7, length],
  ] as const) {
    expect(digest(await readAt(at, bytes)), `${bytes} at ${at}`).toBe(digest(content.subarray(at, at + bytes)));
  }
  expect(await readAt(length, 10)).toHaveLength(0);
  expect(await readAt(length + 1000, 10)).toHaveLength(0);
  expect(source.size).toBe(length);
  await source.close();
  await source.close();
});

promise('a file of no bytes gives none', async (connector) => {
  await put(connector, '/ranges/empty.bin', Buffer.alloc(0));
  const source = await connector.open('/ranges/empty.bin', {}, never());
  expect(source.size).toBe(0);
  expect(await source.read(Buffer.alloc(10), 0, never())).toBe(0);
  await source.close();
});

promise(
  'a file of more than 2^32 bytes is listed with its size, and read at its end',
  async (connector, { makeSparse }) => {
    const size = 2 ** 32 + 1;
    await makeSparse!('/beyond/file.bin', size, [2 ** 32 - 3, 2 ** 32]);
    expect(await listAll(connector, '/beyond')).toMatchObject([{ path: '/beyond/file.bin', size }]);
    const source = await connector.open('/beyond/file.bin', {}, never());
    expect(source.size).toBe(size);
    const buffer = Buffer.alloc(8);
    expect(await source.read(buffer, 2 ** 32 - 4, never())).toBe(5);
    expect(buffer.toString('latin1', 0, 5)).toBe('\0x\0\0x');
    await source.close();
    await connector.remove('/beyond/file.bin', never());
  },
  offered('makeSparse'),
);

promise('as many reads as declared may be in flight', async (connector) => {
  const content = randomBytes(3 * 1024 * 1024);
  await put(connector, '/flight/file.bin', content);
  const source = await connector.open('/flight/file.bin', {}, never());
  const stepBytes = 10_000;
  const got = Buffer.alloc(content.length);
  const starts = Array.from({ length: Math.ceil(content.length / stepBytes) }, (_, index) => index * stepBytes);
  const worker = async () => {
    for (let at = starts.pop(); at !== undefined; at = starts.pop()) {
      const part = got.subarray(at, Math.min(at + stepBytes, got.length));
      expect(await source.read(part, at, never())).toBe(part.length);
    }
  };
  await Promise.all(Array.from({ length: connector.capabilities.readsInFlight }, worker));
  expect(digest(got)).toBe(digest(content));
  await source.close();
});

promise('opening what is absent is not-found', async (connector) => {
  await rejects('not-found', () => connector.open('/absent.bin', {}, never()));
  await rejects('not-found', () => connector.open('/absent/folder/inner.bin', {}, never()));
  await rejects('not-found', () => connector.stat('/absent.bin', never()));
});

promise('opening a folder is invalid', async (connector) => {
  await put(connector, '/is-a-folder/inner.txt', Buffer.from('x'));
  await rejects('invalid', () => connector.open('/is-a-folder', {}, never()));
});

promise('ifMatch opens the version that was listed and refuses another one with conflict', async (connector) => {
  await put(connector, '/versions/file.txt', Buffer.from('one'));
  const { size, modified, etag } = await connector.stat('/versions/file.txt', never());
  const version = { size, modified, ...(etag === undefined ? {} : { etag }) };
  const source = await connector.open('/versions/file.txt', { ifMatch: version }, never());
  expect(source.version).toMatchObject({ size, modified });
  await source.close();
  await put(connector, '/versions/file.txt', Buffer.from('three'), { replace: true });
  await rejects('conflict', () => connector.open('/versions/file.txt', { ifMatch: version }, never()));
});

promise('a file that is replaced while it is read never gives a mixture of two versions', async (connector) => {
  const bytes = pieceBytes(connector, 1);
  const old = randomBytes(2 * bytes);
  await put(connector, '/replaced/file.bin', old);
  const source = await connector.open('/replaced/file.bin', {}, never());
  const got = Buffer.alloc(old.length);
  expect(await source.read(got.subarray(0, bytes), 0, never())).toBe(bytes);
  await put(connector, '/replaced/file.bin', randomBytes(2 * bytes), { replace: true });
  // Either the opened version is still there to be read, or the reader is told; both are whole.
  const rest = await source.read(got.subarray(bytes), bytes, never()).catch((error: unknown) => error);
  if (typeof rest === 'number') {
    expect(rest).toBe(bytes);
    expect(digest(got)).toBe(digest(old));
  } else expect(rest).toMatchObject({ kind: 'conflict' });
  await source.close();
  expect(digest(await read(connector, '/replaced/file.bin'))).not.toBe(digest(old));
});

promise('a file that is removed is not-found at the next opening', async (connector) => {
  await put(connector, '/vanished/file.bin', Buffer.from('x'));
  const { size, modified } = await connector.stat('/vanished/file.bin', never());
  await connector.remove('/vanished/file.bin', never());
  await rejects('not-found', () => connector.open('/vanished/file.bin', { ifMatch: { size, modified } }, never()));
});
