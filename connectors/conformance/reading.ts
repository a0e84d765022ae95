import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import type { Entry } from '../contract.ts';
import { atATime, type ConnectorPromise, digest, listAll, never, put, rejects } from './steps.ts';

const manyEntries = 1500;

/** What is read is what is there. */
export const readingPromises: ConnectorPromise[] = [];

function promise(sentence: string, prove: ConnectorPromise['prove']): void {
  readingPromises.push({ sentence, prove });
}

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

promise('opening what is absent is not-found, and a folder is invalid', async (connector) => {
  await rejects('not-found', () => connector.open('/absent.bin', {}, never()));
  await rejects('not-found', () => connector.stat('/absent.bin', never()));
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

promise(`a folder of ${manyEntries} files is listed whole and in pages`, async (connector) => {
  const paths = Array.from({ length: manyEntries }, (_, index) => `/many/file-${index}.txt`);
  await atATime(connector.capabilities.filesInFlight, paths, (path) => put(connector, path, Buffer.alloc(1)));
  let pages = 0;
  const listed: Entry[] = [];
  for await (const page of connector.list('/many', { recursive: false }, never())) {
    pages++;
    listed.push(...page);
  }
  expect(pages).toBeGreaterThan(1);
  expect(listed.map(({ path }) => path).sort()).toEqual([...paths].sort());
  expect(listed.every(({ kind, size }) => kind === 'file' && size === 1)).toBe(true);
  await atATime(connector.capabilities.filesInFlight, paths, (path) => connector.remove(path, never()));
});

promise('recursive walks all folders, and without it only the folder itself', async (connector) => {
  for (const path of ['/tree/a.txt', '/tree/b/c.txt', '/tree/b/d/e.txt', '/tree/f/g.txt'])
    await put(connector, path, Buffer.from('x'));
  expect((await listAll(connector, '/tree')).map(({ path }) => path).sort()).toEqual([
    '/tree/a.txt',
    '/tree/b',
    '/tree/f',
  ]);
  const all = await listAll(connector, '/tree', true);
  expect(
    all
      .filter(({ kind }) => kind === 'file')
      .map(({ path }) => path)
      .sort(),
  ).toEqual(['/tree/a.txt', '/tree/b/c.txt', '/tree/b/d/e.txt', '/tree/f/g.txt']);
  expect(
    all
      .filter(({ kind }) => kind === 'folder')
      .map(({ path }) => path)
      .sort(),
  ).toEqual(['/tree/b', '/tree/b/d', '/tree/f']);
});

promise('an absent folder is not-found before the first page', async (connector) => {
  await rejects('not-found', () => listAll(connector, '/no-such-folder'));
});

promise('the root itself can be listed, and a walk can be left early', async (connector) => {
  await put(connector, '/seen.txt', Buffer.from('x'));
  for await (const page of connector.list('/', { recursive: true }, never())) {
    expect(page.length).toBeGreaterThan(0);
    break;
  }
  expect((await listAll(connector, '/')).map(({ path }) => path)).toContain('/seen.txt');
});
