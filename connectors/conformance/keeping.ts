import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import {
  atATime,
  type ConnectorPromise,
  eventually,
  expectNothingAt,
  filled,
  listAll,
  never,
  put,
  read,
  rejects,
  write,
} from './steps.ts';

/** Renaming, removing, sweeping, cancelling, and many files at once. */
export const keepingPromises: ConnectorPromise[] = [];

function promise(sentence: string, prove: ConnectorPromise['prove']): void {
  keepingPromises.push({ sentence, prove });
}

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

promise('makeFolder makes what is missing, says whether it did, and a file in the way is exists', async (connector) => {
  if (!connector.makeFolder) return;
  expect(await connector.makeFolder('/made/a/b', never())).toBe(true);
  expect((await connector.stat('/made/a/b', never())).kind).toBe('folder');
  expect(await connector.makeFolder('/made/a/b', never())).toBe(false);
  expect(await connector.makeFolder('/made/a/b/c/', never())).toBe(true);
  await put(connector, '/made/a/file.txt', Buffer.from('x'));
  await rejects('exists', () => connector.makeFolder!('/made/a/file.txt', never()));
  await rejects('exists', () => connector.makeFolder!('/made/a/file.txt/below', never()));
  expect((await read(connector, '/made/a/file.txt')).toString()).toBe('x');
  const made = await Promise.all([1, 2, 3].map(() => connector.makeFolder!('/made/together/deep', never())));
  expect(made).toContain(true);
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
  if (left.temporaryPath !== null) expect((await connector.stat(left.temporaryPath, never())).size).toBe(1);
  expect(await connector.sweep('/swept', -60_000, never())).toBe(1);
  await expectNothingAt(connector, left);
  expect((await listAll(connector, '/swept')).map(({ name }) => name)).toEqual(['kept.txt']);
  await left.abort();
});

promise('a call under an aborted signal is cancelled before it does anything', async (connector) => {
  await put(connector, '/before/file.txt', Buffer.from('x'));
  const aborted = AbortSignal.abort();
  await rejects('cancelled', () => connector.stat('/before/file.txt', aborted));
  await rejects('cancelled', () => connector.open('/before/file.txt', {}, aborted));
  await rejects('cancelled', () => connector.begin('/before/new.txt', write(1), aborted));
  await rejects('cancelled', () => connector.remove('/before/file.txt', aborted));
  await rejects('cancelled', () => connector.check(aborted));
  if (connector.makeFolder) await rejects('cancelled', () => connector.makeFolder!('/before/folder', aborted));
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
  await expectNothingAt(connector, sink);
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
