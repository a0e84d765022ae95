import { createHash, randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import type { Connector, Sink } from '../contract.ts';
import {
  atATime,
  both,
  type ConnectorPromise,
  discard,
  eventually,
  expectNothingAt,
  filled,
  into,
  listAll,
  never,
  offered,
  pieceBytes,
  put,
  read,
  rejects,
  write,
} from './steps.ts';

/** Cancelling, many files at once, and nothing left open. */
export const limitPromises: ConnectorPromise[] = [];
const promise = into(limitPromises);

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
  const size = 2 ** 30;
  const block = randomBytes(pieceBytes(connector, size));
  const sink = await connector.begin('/cancelled/file.bin', write(size), never());
  const pieces = Math.floor(size / block.length);
  let written = 0;
  const worker = async () => {
    for (;;) {
      const piece = written++ % pieces;
      await sink.write(block, piece * block.length, controller.signal);
    }
  };
  const working = Promise.allSettled(Array.from({ length: connector.capabilities.writesInFlight }, worker));
  await eventually(async () => expect(written).toBeGreaterThan(2 * connector.capabilities.writesInFlight));
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

promise('1,000 files of 10 KiB at once arrive whole, and 200 aborted ones leave nothing', async (connector) => {
  const names = Array.from({ length: 1000 }, (_, index) => `/crowd/${index}.bin`);
  const contentOf = (path: string) => Buffer.alloc(10 * 1024, path);
  await atATime(200, names, (path) => put(connector, path, contentOf(path)));
  await atATime(200, names, async (path) => {
    if (!(await read(connector, path)).equals(contentOf(path))) throw new Error(`${path} is not what was written`);
  });
  await atATime(50, names.slice(0, 200), async (path) =>
    (await filled(connector, `${path}.aborted`, Buffer.from('x'))).abort(),
  );
  expect(await listAll(connector, '/crowd')).toHaveLength(names.length);
});

promise(
  'however much is asked at once, the server sees no more connections than configured',
  async (connector, opened) => {
    const paths = Array.from({ length: 100 }, (_, index) => `/capped/${index}.bin`);
    const sinks = await Promise.all(paths.map((path) => connector.begin(path, write(1), never())));
    expect(await opened.openConnections!()).toBeLessThanOrEqual(opened.mostConnections!);
    await Promise.all(sinks.map((sink) => sink.abort()));
  },
  both(offered('openConnections'), offered('mostConnections')),
);

promise('200 rounds of calls, half of them failing, leave no handle', async (connector, opened) => {
  await put(connector, '/rounds/there.txt', Buffer.from('there'));
  const before = await opened.openConnections?.();
  // A handle that is forgotten is closed in the end, when memory is tidied up, and Node says so.
  const warnings: string[] = [];
  const hear = ({ message }: Error) => void warnings.push(message);
  process.on('warning', hear);
  for (let round = 0; round < 200; round++) {
    const source = await connector.open('/rounds/there.txt', {}, never());
    await source.close();
    await rejects('not-found', () => connector.open('/rounds/absent.txt', {}, never()));
    await rejects('conflict', () =>
      connector.open('/rounds/there.txt', { ifMatch: { size: 1, modified: null } }, never()),
    );
    const sink = await connector.begin('/rounds/new.txt', write(1), never());
    await (round % 2 === 0 ? sink.abort() : letGo(connector, sink));
    for await (const _ of connector.list('/rounds', { recursive: false }, never())) break;
  }
  if (before !== undefined)
    await eventually(async () => expect(await opened.openConnections!()).toBeLessThanOrEqual(before));
  process.off('warning', hear);
  expect(warnings.filter((message) => /garbage collection/.test(message))).toEqual([]);
  expect((await listAll(connector, '/rounds')).map(({ name }) => name)).toEqual(['there.txt']);
});

promise(
  '20 connectors that are opened, used and closed leave no connection',
  async (connector, opened) => {
    await put(connector, '/cycles/there.txt', Buffer.from('there'));
    const before = await opened.openConnections!();
    for (let round = 0; round < 20; round++) {
      const another = await opened.reopen!();
      await another.open('/cycles/there.txt', {}, never()).then((source) => source.close());
      await another.close();
    }
    await eventually(async () => expect(await opened.openConnections!()).toBeLessThanOrEqual(before));
  },
  both(offered('openConnections'), offered('reopen')),
);

promise(
  'a file several times as large as the memory stated is written and read within it',
  async (connector, { memoryMiB = 0 }) => {
    const mebibyte = 2 ** 20;
    const size = Math.max(3 * memoryMiB, 128) * mebibyte;
    const bytes = pieceBytes(connector, size);
    const most = Math.max(1, Math.min(connector.capabilities.writesInFlight, Math.floor((16 * mebibyte) / bytes)));
    const buffers = Array.from({ length: most }, () => randomBytes(bytes));
    const startBytes = process.memoryUsage().rss;
    let peakBytes = startBytes;
    const look = () => {
      peakBytes = Math.max(peakBytes, process.memoryUsage().rss);
    };
    const starts = Array.from({ length: Math.ceil(size / bytes) }, (_, index) => index * bytes);
    const sink = await connector.begin('/large/file.bin', write(size), never());
    const hash = createHash('sha256');
    for (const at of starts) hash.update(pieceOf(buffers, at, bytes, size));
    await atATime(most, starts, async (at) => {
      await sink.write(pieceOf(buffers, at, bytes, size), at, never());
      look();
    });
    await sink.seal({ sha256: hash.digest('hex') }, never());
    await sink.commit(never());
    const source = await connector.open('/large/file.bin', {}, never());
    const target = Buffer.alloc(mebibyte);
    for (let at = 0; at < size; at += mebibyte) {
      expect(await source.read(target, at, never())).toBe(mebibyte);
      look();
    }
    await source.close();
    await connector.remove('/large/file.bin', never());
    expect(Math.ceil((peakBytes - startBytes) / mebibyte), 'MiB').toBeLessThanOrEqual(memoryMiB);
  },
  offered('memoryMiB'),
);

promise('check says who is there', async (connector) => {
  const health = await connector.check(never());
  expect(health.server.length).toBeGreaterThan(0);
  expect(health.roundTripMs).toBeGreaterThanOrEqual(0);
});

/** As a worker that hands over does it: what was written stays, then it is removed by its token. */
async function letGo(connector: Connector, sink: Sink): Promise<void> {
  await sink.leave();
  await discard(connector, sink.token, sink.temporaryPath);
}

function pieceOf(buffers: readonly Buffer[], at: number, bytes: number, size: number): Buffer {
  return buffers[(at / bytes) % buffers.length]!.subarray(0, size - at);
}
