import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WaybillError } from '../schema/errors.ts';
import type { Connector, Entry, Sink } from './contract.ts';

/** An endpoint that begins empty. `close` ends the connector and whatever serves it. */
export interface Opened {
  connector: Connector;
  close(): Promise<void>;
  /** Connections or descriptors that are open for the connector right now; what it gives after `connector.close()` must be 0. */
  openConnections?(): Promise<number>;
}

const suiteTimeoutMs = 60_000;
const manyEntries = 1500;

/**
 * What every connector promises (`connectors/contract.ts`), as sentences. `skip` names a sentence with the reason why the
 * protocol cannot keep it; a promise that is merely broken is red.
 *
 *     describeConnector('local', { open: async () => ({ connector, close }) });
 */
export function describeConnector(
  kind: string,
  options: { open(): Promise<Opened>; skip?: Readonly<Record<string, string>> },
): void {
  describe(`connector ${kind}`, { timeout: suiteTimeoutMs }, () => {
    const unknown = new Set(Object.keys(options.skip ?? {}));
    let opened: Opened;
    beforeAll(async () => {
      opened = await options.open();
    }, suiteTimeoutMs);
    afterAll(() => opened.close(), suiteTimeoutMs);

    for (const { sentence, prove } of promises) {
      unknown.delete(sentence);
      const reason = options.skip?.[sentence];
      test.skipIf(reason !== undefined)(reason ? `${sentence} (skipped: ${reason})` : sentence, () =>
        prove(opened.connector, opened),
      );
    }
    // Last of all, since nothing can be asked afterwards.
    test('close leaves no connection, and later calls end in unavailable or work anew', async () => {
      await opened.connector.close();
      await opened.connector.close();
      if (opened.openConnections) await eventually(async () => expect(await opened.openConnections!()).toBe(0));
    });
    test('skip names only sentences of this suite', () => expect([...unknown]).toEqual([]));
  });
}

interface ConnectorPromise {
  sentence: string;
  prove(connector: Connector, opened: Opened): Promise<void>;
}

const promises: ConnectorPromise[] = [];

function promise(sentence: string, prove: ConnectorPromise['prove']): void {
  promises.push({ sentence, prove });
}

// --- Names

const hardNames = [
  '世界 " \' @ ? + # %.csv',
  '.leading-dot',
  'trailing space ',
  ' leading space',
  'two  spaces',
  '~tilde$HOME`id`',
  '100%25.txt',
  'a;b|c&d.txt',
  '*[glob]?{x}.txt',
  'back\\slash.txt',
  '-rf',
  'ends.',
  'Ünï-nfc.txt',
  'U\u0308nfd.txt',
  '🗂️.bin',
  'x'.repeat(255),
  '世'.repeat(85),
];

promise('every name that the contract allows can be written, listed, read, renamed and removed', async (connector) => {
  for (const name of hardNames) {
    const path = `/names/${name}`;
    await put(connector, path, Buffer.from(name));
    expect(await read(connector, path), name).toEqual(Buffer.from(name));
  }
  const listed = await listAll(connector, '/names');
  expect(listed.map(({ name }) => name).sort()).toEqual([...hardNames].sort());
  expect(listed.every(({ path, name }) => path === `/names/${name}`)).toBe(true);
  for (const name of hardNames) {
    await connector.rename?.(`/names/${name}`, `/names/moved/${name}`, { replace: false }, never());
    await connector.remove(connector.rename ? `/names/moved/${name}` : `/names/${name}`, never());
  }
  expect((await listAll(connector, '/names')).filter(({ kind }) => kind === 'file')).toEqual([]);
});

promise('names that differ only in case are two files', async (connector) => {
  await put(connector, '/case/Report.csv', Buffer.from('upper'));
  await put(connector, '/case/report.csv', Buffer.from('lower'));
  expect((await read(connector, '/case/Report.csv')).toString()).toBe('upper');
});

promise('a path cannot leave the root', async (connector) => {
  for (const path of ['/../escape', '/a/../../escape', '/./x', '/a\u0000b', '..']) {
    await rejects('invalid', () => connector.stat(path, never()));
    await rejects('invalid', () => connector.begin(path, write(1), never()));
    await rejects('invalid', () => connector.open(path, {}, never()));
    await rejects('invalid', () => connector.remove(path, never()));
  }
});

// --- Writing

for (const [words, bytes] of sizes()) {
  promise(`a file of ${words} arrives whole`, async (connector) => {
    const content = randomBytes(bytes(connector));
    const entry = await put(connector, '/sizes/file.bin', content, { replace: true });
    expect(entry).toMatchObject({ path: '/sizes/file.bin', name: 'file.bin', kind: 'file', size: content.length });
    expect(digest(await read(connector, '/sizes/file.bin'))).toBe(digest(content));
  });
}

function sizes(): Array<[string, (connector: Connector) => number]> {
  return [
    ['no bytes', () => 0],
    ['1 byte', () => 1],
    ['one block less a byte', ({ capabilities }) => capabilities.blockBytes - 1],
    ['one block', ({ capabilities }) => capabilities.blockBytes],
    ['one block and a byte', ({ capabilities }) => capabilities.blockBytes + 1],
    ['3 MiB', () => 3 * 1024 * 1024],
  ];
}

promise('pieces may be written in any order and larger than a block', async (connector) => {
  const content = randomBytes(2 * connector.capabilities.blockBytes + 12_345);
  const half = 1000;
  const sink = await connector.begin('/order/file.bin', write(content.length), never());
  await Promise.all([
    sink.write(content.subarray(half), half, never()),
    sink.write(content.subarray(0, half), 0, never()),
  ]);
  await sink.seal(never());
  await sink.commit(never());
  expect(digest(await read(connector, '/order/file.bin'))).toBe(digest(content));
});

promise(
  'nothing is visible under the final name before commit, and listings never show the temporary file',
  async (connector) => {
    const sink = await connector.begin('/hidden/file.bin', write(3), never());
    await sink.write(Buffer.from('abc'), 0, never());
    await rejects('not-found', () => connector.stat('/hidden/file.bin', never()));
    await sink.seal(never());
    await rejects('not-found', () => connector.stat('/hidden/file.bin', never()));
    expect(await listAll(connector, '/hidden')).toEqual([]);
    await sink.commit(never());
    expect((await listAll(connector, '/hidden')).map(({ name }) => name)).toEqual(['file.bin']);
  },
);

promise('the temporary file is beside the target and named after the delivery', async (connector) => {
  const sink = await connector.begin('/beside/file.bin', { ...write(0), deliveryId: 'dlv_1' }, never());
  expect(sink.temporaryPath).toBe('/beside/.waybill-dlv_1.part');
  await sink.abort();
});

promise('abort leaves nothing, twice and after commit too', async (connector) => {
  const sink = await connector.begin('/aborted/file.bin', write(3), never());
  await sink.write(Buffer.from('abc'), 0, never());
  await sink.abort();
  await sink.abort();
  await rejects('not-found', () => connector.stat('/aborted/file.bin', never()));
  await rejects('not-found', () => connector.stat(sink.temporaryPath, never()));
  const sealed = await filled(connector, '/aborted/other.bin', Buffer.from('abc'));
  await sealed.abort();
  await rejects('not-found', () => connector.stat(sealed.temporaryPath, never()));
  const committed = await filled(connector, '/aborted/third.bin', Buffer.from('abc'));
  await committed.commit(never());
  await committed.abort();
  expect((await read(connector, '/aborted/third.bin')).toString()).toBe('abc');
});

promise('abort of a sealed file harms no file that was begun after the seal', async (connector) => {
  const sealed = await filled(connector, '/neighbours/first.bin', Buffer.from('abc'));
  const next = await connector.begin('/neighbours/next.bin', write(4), never());
  await sealed.abort();
  await next.write(Buffer.from('next'), 0, never());
  await next.seal(never());
  await next.commit(never());
  expect((await read(connector, '/neighbours/next.bin')).toString()).toBe('next');
});

promise('a source that ends early fails in seal with integrity, and nothing is published', async (connector) => {
  const sink = await connector.begin('/short/file.bin', write(10), never());
  await sink.write(Buffer.from('only 6'), 0, never());
  await rejects('integrity', () => sink.seal(never()));
  await sink.abort();
  await rejects('not-found', () => connector.stat('/short/file.bin', never()));
});

promise('a retry of the same delivery replaces what a killed attempt left', async (connector) => {
  const killed = await connector.begin('/retried/file.bin', { ...write(9), deliveryId: 'same' }, never());
  await killed.write(Buffer.from('old bytes'), 0, never());
  const retry = await connector.begin('/retried/file.bin', { ...write(3), deliveryId: 'same' }, never());
  await retry.write(Buffer.from('new'), 0, never());
  await retry.seal(never());
  await retry.commit(never());
  expect((await read(connector, '/retried/file.bin')).toString()).toBe('new');
  await killed.abort();
  expect((await read(connector, '/retried/file.bin')).toString()).toBe('new');
});

promise('replace: false fails with exists and leaves both the target and the temporary file', async (connector) => {
  await put(connector, '/taken/file.bin', Buffer.from('first'));
  const sink = await filled(connector, '/taken/file.bin', Buffer.from('second'));
  await rejects('exists', () => sink.commit(never()));
  expect((await read(connector, '/taken/file.bin')).toString()).toBe('first');
  expect((await connector.stat(sink.temporaryPath, never())).size).toBe(6);
  await sink.abort();
});

promise('replace: true publishes over what is there', async (connector) => {
  await put(connector, '/over/file.bin', Buffer.from('first, and longer'));
  await put(connector, '/over/file.bin', Buffer.from('second'), { replace: true });
  expect((await read(connector, '/over/file.bin')).toString()).toBe('second');
});

promise('of many writers without replace exactly one wins', async (connector) => {
  const names = ['a', 'b', 'c', 'd', 'e'];
  const sinks = await Promise.all(
    names.map((name) => filled(connector, '/race/file.bin', Buffer.from(name), { deliveryId: name })),
  );
  const results = await Promise.allSettled(sinks.map((sink) => sink.commit(never())));
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  for (const result of results)
    if (result.status === 'rejected') expect(result.reason).toMatchObject({ kind: 'exists' });
  const winner = names[results.findIndex(({ status }) => status === 'fulfilled')]!;
  expect((await read(connector, '/race/file.bin')).toString()).toBe(winner);
  await Promise.all(sinks.map((sink) => sink.abort()));
  expect((await listAll(connector, '/race')).map(({ name }) => name)).toEqual(['file.bin']);
});

promise('a folder in the place of the target is exists, with replace too', async (connector) => {
  await put(connector, '/folder-in-the-way/name/inner.txt', Buffer.from('x'));
  for (const replace of [false, true]) {
    const sink = await filled(connector, '/folder-in-the-way/name', Buffer.from('y'), { replace });
    await rejects('exists', () => sink.commit(never()));
    await sink.abort();
  }
  expect((await read(connector, '/folder-in-the-way/name/inner.txt')).toString()).toBe('x');
});

promise('missing folders are made, by many writers at once too', async (connector) => {
  const paths = Array.from({ length: 20 }, (_, index) => `/deep/a/b/c/${index % 3}/file-${index}.txt`);
  await Promise.all(paths.map((path) => put(connector, path, Buffer.from(path))));
  for (const path of paths) expect((await read(connector, path)).toString()).toBe(path);
});

promise('a file where a folder is needed is exists', async (connector) => {
  await put(connector, '/file-as-folder', Buffer.from('x'));
  await rejects('exists', () => connector.begin('/file-as-folder/inner.txt', write(1), never()));
});

promise('the modified time of the source is kept', async (connector) => {
  if (!connector.capabilities.modifiedTimeKept) return;
  const modified = '2021-03-04T05:06:07.000Z';
  const entry = await put(connector, '/times/file.txt', Buffer.from('x'), { modified });
  expect(entry.modified).toBe(modified);
  expect((await connector.stat('/times/file.txt', never())).modified).toBe(modified);
});

// --- Reading

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

// --- Listing

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

// --- Renaming, removing, sweeping

promise('rename moves a file and makes the folder', async (connector) => {
  if (!connector.rename) return;
  await put(connector, '/from/file.txt', Buffer.from('moved'));
  await connector.rename('/from/file.txt', '/to/new/name.txt', { replace: false }, never());
  await rejects('not-found', () => connector.stat('/from/file.txt', never()));
  expect((await read(connector, '/to/new/name.txt')).toString()).toBe('moved');
});

promise('rename onto an existing file is exists without replace, and replaces with it', async (connector) => {
  if (!connector.rename) return;
  await put(connector, '/onto/a.txt', Buffer.from('a'));
  await put(connector, '/onto/b.txt', Buffer.from('b'));
  await rejects('exists', () => connector.rename!('/onto/a.txt', '/onto/b.txt', { replace: false }, never()));
  expect((await read(connector, '/onto/a.txt')).toString()).toBe('a');
  expect((await read(connector, '/onto/b.txt')).toString()).toBe('b');
  await connector.rename('/onto/a.txt', '/onto/b.txt', { replace: true }, never());
  expect((await read(connector, '/onto/b.txt')).toString()).toBe('a');
  await rejects('not-found', () => connector.stat('/onto/a.txt', never()));
});

promise('rename of what is gone is not-found, and onto itself changes nothing', async (connector) => {
  if (!connector.rename) return;
  await rejects('not-found', () => connector.rename!('/gone.txt', '/gone-too.txt', { replace: false }, never()));
  await rejects('not-found', () => connector.rename!('/gone.txt', '/gone-too.txt', { replace: true }, never()));
  await put(connector, '/itself.txt', Buffer.from('x'));
  await connector.rename('/itself.txt', '/itself.txt', { replace: false }, never());
  expect((await read(connector, '/itself.txt')).toString()).toBe('x');
});

promise('remove removes, and again succeeds; a folder is invalid', async (connector) => {
  await put(connector, '/removed/file.txt', Buffer.from('x'));
  await connector.remove('/removed/file.txt', never());
  await rejects('not-found', () => connector.stat('/removed/file.txt', never()));
  await connector.remove('/removed/file.txt', never());
  await connector.remove('/no-such-folder/file.txt', never());
  await rejects('invalid', () => connector.remove('/removed', never()));
});

promise('sweep removes old temporary files of ours and nothing else', async (connector) => {
  if (!connector.sweep) return;
  const left = await filled(connector, '/swept/file.txt', Buffer.from('x'), { modified: '2020-01-01T00:00:00.000Z' });
  await put(connector, '/swept/kept.txt', Buffer.from('x'));
  expect(await connector.sweep('/swept', 60_000, never())).toBe(0);
  expect((await connector.stat(left.temporaryPath, never())).size).toBe(1);
  expect(await connector.sweep('/swept', -60_000, never())).toBe(1);
  await rejects('not-found', () => connector.stat(left.temporaryPath, never()));
  expect((await listAll(connector, '/swept')).map(({ name }) => name)).toEqual(['kept.txt']);
  await left.abort();
});

// --- Cancelling and limits

promise('a call under an aborted signal is cancelled before it does anything', async (connector) => {
  await put(connector, '/before/file.txt', Buffer.from('x'));
  const aborted = AbortSignal.abort();
  await rejects('cancelled', () => connector.stat('/before/file.txt', aborted));
  await rejects('cancelled', () => connector.open('/before/file.txt', {}, aborted));
  await rejects('cancelled', () => connector.begin('/before/new.txt', write(1), aborted));
  await rejects('cancelled', () => connector.remove('/before/file.txt', aborted));
  await rejects('cancelled', () => connector.check(aborted));
  await rejects('cancelled', async () => {
    for await (const _ of connector.list('/before', { recursive: false }, aborted));
  });
  expect((await listAll(connector, '/before')).map(({ name }) => name)).toEqual(['file.txt']);
});

promise('a copy that is cancelled ends within a second, and abort then leaves nothing', async (connector) => {
  const controller = new AbortController();
  const block = randomBytes(connector.capabilities.blockBytes);
  const sink = await connector.begin('/cancelled/file.bin', write(1 << 30), never());
  let at = 0;
  const worker = async () => {
    for (;;) {
      const start = at;
      at += block.length;
      await sink.write(block, start % (256 * block.length), controller.signal);
    }
  };
  const working = Promise.allSettled(Array.from({ length: connector.capabilities.writesInFlight }, worker));
  await eventually(async () => expect(at).toBeGreaterThan(2 * connector.capabilities.writesInFlight * block.length));
  const cancelledAt = performance.now();
  controller.abort();
  const results = await working;
  expect(performance.now() - cancelledAt).toBeLessThan(1000);
  for (const result of results) expect(result).toMatchObject({ status: 'rejected', reason: { kind: 'cancelled' } });
  await sink.abort();
  await rejects('not-found', () => connector.stat(sink.temporaryPath, never()));
});

promise('a cancelled read never writes into its buffer afterwards', async (connector) => {
  const content = randomBytes(2 * 1024 * 1024);
  await put(connector, '/late/file.bin', content);
  const source = await connector.open('/late/file.bin', {}, never());
  for (let round = 0; round < 20; round++) {
    const controller = new AbortController();
    const buffer = Buffer.alloc(content.length);
    const reading = source.read(buffer, 0, controller.signal).catch((error: unknown) => error);
    await new Promise((resolve) => setImmediate(resolve));
    controller.abort();
    await reading;
    buffer.fill(0);
    // The next read comes after whatever was still on its way.
    await source.read(Buffer.alloc(1), content.length - 1, never());
    expect(buffer.every((byte) => byte === 0)).toBe(true);
  }
  await source.close();
});

promise('200 small files at once arrive whole, and 200 aborted ones leave nothing', async (connector) => {
  const names = Array.from({ length: 200 }, (_, index) => `/crowd/${index}.bin`);
  await Promise.all(names.map((path) => put(connector, path, Buffer.from(path.repeat(50)))));
  await Promise.all(names.map(async (path) => expect((await read(connector, path)).toString()).toBe(path.repeat(50))));
  await atATime(50, names, async (path) => (await filled(connector, `${path}.aborted`, Buffer.from('x'))).abort());
  expect(await listAll(connector, '/crowd')).toHaveLength(names.length);
});

promise('check says who is there', async (connector) => {
  const health = await connector.check(never());
  expect(health.server.length).toBeGreaterThan(0);
  expect(health.roundTripMs).toBeGreaterThanOrEqual(0);
});

// --- What the sentences are made of

function never(): AbortSignal {
  return new AbortController().signal;
}

let deliveries = 0;
function write(size: number) {
  return { size, deliveryId: `dlv_${++deliveries}`, replace: false, modified: null };
}

type Changes = Partial<{ replace: boolean; modified: string; deliveryId: string }>;

async function filled(connector: Connector, path: string, content: Buffer, changes: Changes = {}): Promise<Sink> {
  const sink = await connector.begin(path, { ...write(content.length), ...changes }, never());
  await sink.write(content, 0, never());
  await sink.seal(never());
  return sink;
}

async function put(connector: Connector, path: string, content: Buffer, changes: Changes = {}): Promise<Entry> {
  return (await filled(connector, path, content, changes)).commit(never());
}

async function read(connector: Connector, path: string): Promise<Buffer> {
  const source = await connector.open(path, {}, never());
  try {
    const content = Buffer.alloc(source.size + 1);
    return content.subarray(0, await source.read(content, 0, never()));
  } finally {
    await source.close();
  }
}

async function listAll(connector: Connector, folder: string, recursive = false): Promise<Entry[]> {
  const entries: Entry[] = [];
  for await (const page of connector.list(folder, { recursive }, never())) entries.push(...page);
  return entries;
}

async function rejects(kind: string, work: () => Promise<unknown>): Promise<void> {
  const error = await work().then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error, `expected ${kind}`).toBeInstanceOf(WaybillError);
  expect((error as WaybillError).kind, (error as WaybillError).message).toBe(kind);
}

async function atATime<Item>(
  limit: number,
  items: readonly Item[],
  work: (item: Item) => Promise<unknown>,
): Promise<void> {
  const waiting = [...items];
  const worker = async () => {
    for (let item = waiting.pop(); item !== undefined; item = waiting.pop()) await work(item);
  };
  await Promise.all(Array.from({ length: limit }, worker));
}

/** Asks again until it is so; what it still says after the deadline is thrown. */
async function eventually(check: () => Promise<void>): Promise<void> {
  const deadlineAt = performance.now() + 10_000;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > deadlineAt) throw error;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

function digest(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}
