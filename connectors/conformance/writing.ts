import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import type { Connector } from '../contract.ts';
import {
  type ConnectorPromise,
  capability,
  digest,
  expectNothingAt,
  filled,
  into,
  listAll,
  type Need,
  never,
  pieceBytes,
  put,
  read,
  rejects,
  write,
} from './steps.ts';

/** How a file comes to be there whole or not at all. */
export const writingPromises: ConnectorPromise[] = [];
const promise = into(writingPromises);

const digestOf = (text: string) => ({ sha256: digest(Buffer.from(text)) });

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
    ['one block or part less a byte', (connector) => pieceBytes(connector, 1) - 1],
    ['one block or part', (connector) => pieceBytes(connector, 1)],
    ['one block or part and a byte', (connector) => pieceBytes(connector, 1) + 1],
    ['two blocks or parts', (connector) => 2 * pieceBytes(connector, 1)],
    ['3 MiB', () => 3 * 1024 * 1024],
  ];
}

const severalInFlight: Need = {
  words: 'several writes in flight',
  isThere: ({ capabilities }) => capabilities.writesInFlight > 1,
  declared: true,
};

promise(
  'blocks or parts may be written in any order, as many at once as declared',
  async (connector) => {
    const bytes = pieceBytes(connector, 1);
    const content = randomBytes(2 * bytes + 12_345);
    const sink = await connector.begin('/order/file.bin', write(content.length), never());
    const starts = [2 * bytes, bytes, 0];
    for (let at = 0; at < starts.length; at += connector.capabilities.writesInFlight)
      await Promise.all(
        starts
          .slice(at, at + connector.capabilities.writesInFlight)
          .map((start) => sink.write(content.subarray(start, start + bytes), start, never())),
      );
    await sink.seal({ sha256: digest(content) }, never());
    await sink.commit(never());
    expect(digest(await read(connector, '/order/file.bin'))).toBe(digest(content));
  },
  severalInFlight,
);

const inAnyPieces: Need = {
  words: 'writing in any pieces (no parts)',
  isThere: ({ capabilities }) => capabilities.parts === null,
  declared: true,
};

promise(
  'pieces may be smaller and larger than a block',
  async (connector) => {
    const content = randomBytes(2 * connector.capabilities.blockBytes + 12_345);
    const first = 1000;
    const sink = await connector.begin('/pieces/file.bin', write(content.length), never());
    await sink.write(content.subarray(0, first), 0, never());
    await sink.write(content.subarray(first), first, never());
    await sink.seal({ sha256: digest(content) }, never());
    await sink.commit(never());
    expect(digest(await read(connector, '/pieces/file.bin'))).toBe(digest(content));
  },
  inAnyPieces,
);

promise('the buffer of a write is free again when it settles', async (connector) => {
  const bytes = pieceBytes(connector, 1);
  const content = randomBytes(2 * bytes);
  const buffer = Buffer.alloc(bytes);
  const sink = await connector.begin('/buffers/file.bin', write(content.length), never());
  for (const at of [0, bytes]) {
    content.copy(buffer, 0, at);
    await sink.write(buffer, at, never());
    buffer.fill(0);
  }
  await sink.seal({ sha256: digest(content) }, never());
  await sink.commit(never());
  expect(digest(await read(connector, '/buffers/file.bin'))).toBe(digest(content));
});

promise(
  'nothing is visible under the final name before commit, and listings never show the temporary file',
  async (connector) => {
    const sink = await connector.begin('/hidden/file.bin', write(3), never());
    await sink.write(Buffer.from('abc'), 0, never());
    await rejects('not-found', () => connector.stat('/hidden/file.bin', never()));
    await sink.seal(digestOf('abc'), never());
    await rejects('not-found', () => connector.stat('/hidden/file.bin', never()));
    expect(await listAll(connector, '/hidden')).toEqual([]);
    await sink.commit(never());
    expect((await listAll(connector, '/hidden')).map(({ name }) => name)).toEqual(['file.bin']);
  },
);

promise('the temporary file is beside the target and named after the delivery', async (connector) => {
  const sink = await connector.begin('/beside/file.bin', { ...write(0), deliveryId: 'dlv_1' }, never());
  if (sink.temporaryPath !== null) expect(sink.temporaryPath).toBe('/beside/.waybill-dlv_1.part');
  await sink.abort();
});

promise('abort leaves nothing, twice and after commit too', async (connector) => {
  const sink = await connector.begin('/aborted/file.bin', write(3), never());
  await sink.write(Buffer.from('abc'), 0, never());
  await sink.abort();
  await sink.abort();
  await rejects('not-found', () => connector.stat('/aborted/file.bin', never()));
  await expectNothingAt(connector, sink);
  const sealed = await filled(connector, '/aborted/other.bin', Buffer.from('abc'));
  await sealed.abort();
  await expectNothingAt(connector, sealed);
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
  await next.seal(digestOf('next'), never());
  await next.commit(never());
  expect((await read(connector, '/neighbours/next.bin')).toString()).toBe('next');
});

promise('a source that ends early fails in seal with integrity, and nothing is published', async (connector) => {
  const sink = await connector.begin('/short/file.bin', write(10), never());
  await sink.write(Buffer.from('only 6'), 0, never());
  await rejects('integrity', () => sink.seal(digestOf('only 6'), never()));
  await sink.abort();
  await rejects('not-found', () => connector.stat('/short/file.bin', never()));
});

promise('a source that fails midway leaves nothing visible, before abort and after it', async (connector) => {
  const bytes = pieceBytes(connector, 1);
  const sink = await connector.begin('/midway/file.bin', write(3 * bytes), never());
  await sink.write(randomBytes(bytes), 0, never());
  await rejects('not-found', () => connector.stat('/midway/file.bin', never()));
  await sink.abort();
  await rejects('not-found', () => connector.stat('/midway/file.bin', never()));
  await expectNothingAt(connector, sink);
});

promise('commit called again gives the same entry', async (connector) => {
  const sink = await filled(connector, '/twice/file.bin', Buffer.from('once'));
  const entry = await sink.commit(never());
  expect(await sink.commit(never())).toEqual(entry);
  const there = await connector.stat('/twice/file.bin', never());
  expect({ ...there, modified: null }).toEqual({ ...entry, modified: null });
});

promise('a retry of the same delivery replaces what a killed attempt left', async (connector) => {
  const killed = await connector.begin('/retried/file.bin', { ...write(9), deliveryId: 'same' }, never());
  await killed.write(Buffer.from('old bytes'), 0, never());
  const retry = await connector.begin('/retried/file.bin', { ...write(3), deliveryId: 'same' }, never());
  await retry.write(Buffer.from('new'), 0, never());
  await retry.seal(digestOf('new'), never());
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
  if (sink.temporaryPath !== null) expect((await connector.stat(sink.temporaryPath, never())).size).toBe(6);
  await sink.abort();
});

promise('replace: true publishes over what is there', async (connector) => {
  await put(connector, '/over/file.bin', Buffer.from('first, and longer'));
  await put(connector, '/over/file.bin', Buffer.from('second'), { replace: true });
  expect((await read(connector, '/over/file.bin')).toString()).toBe('second');
});

promise('of two writers with replace the last to publish stands, whole', async (connector) => {
  const one = await filled(connector, '/two/file.bin', Buffer.from('one'), { replace: true });
  const other = await filled(connector, '/two/file.bin', Buffer.from('the other'), { replace: true });
  await other.commit(never());
  await one.commit(never());
  expect((await read(connector, '/two/file.bin')).toString()).toBe('one');
  expect(await listAll(connector, '/two')).toHaveLength(1);
});

promise(
  'of many writers without replace exactly one wins',
  async (connector) => {
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
  },
  capability('atomicNoReplace'),
);

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

promise(
  'the modified time of the source is kept',
  async (connector) => {
    const modified = '2021-03-04T05:06:07.000Z';
    const entry = await put(connector, '/times/file.txt', Buffer.from('x'), { modified });
    expect(entry.modified).toBe(modified);
    expect((await connector.stat('/times/file.txt', never())).modified).toBe(modified);
    expect((await listAll(connector, '/times')).map((listed) => listed.modified)).toEqual([modified]);
  },
  capability('modifiedTimeKept'),
);
