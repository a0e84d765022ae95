import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import type { OpenOptions, Source } from '../../connectors/contract.ts';
import { createBuffers } from './buffers.ts';
import { limits } from './context.ts';
import { createSharedSource, type Seat } from './sharedSource.ts';

const mebibyte = 1024 * 1024;
const content = randomBytes(40 * mebibyte + 13);
const version = { size: content.length, modified: '2026-01-01T00:00:00.000Z' };
const signal = new AbortController().signal;

/** A file that counts what is read of it. */
function openFile({ ceilingBytes = 64 * mebibyte, readers = 3, blockBytes = 256 * 1024 } = {}) {
  const seen = { reads: 0, bytes: 0, opened: 0, closed: 0 };
  const open = async (_: OpenOptions, aborted: AbortSignal): Promise<Source> => {
    seen.opened++;
    return {
      size: content.length,
      version,
      async read(buffer, at, stopped) {
        seen.reads++;
        await new Promise((resolve) => setImmediate(resolve));
        stopped.throwIfAborted();
        aborted.throwIfAborted();
        const count = content.copy(buffer, 0, at, at + buffer.length);
        seen.bytes += count;
        return count;
      },
      close: async () => void seen.closed++,
    };
  };
  const buffers = createBuffers({ ceilingBytes });
  const seats = createSharedSource({ readers, blockBytes, readsInFlight: 4, buffers, open });
  return { seats, seen, buffers };
}

/** Reads all in blocks of that size, several at a time, and gives whether it was what the file has. */
async function readAll(seat: Seat, blockBytes: number, stopAfter = Number.POSITIVE_INFINITY): Promise<boolean> {
  const source = await seat.open(version, signal);
  let next = 0;
  let same = true;
  async function lane() {
    for (let at = next; at < Math.min(content.length, stopAfter); at = next) {
      next += blockBytes;
      const buffer = Buffer.alloc(Math.min(blockBytes, content.length - at));
      same &&= (await source.read(buffer, at, signal)) === buffer.length;
      same &&= buffer.equals(content.subarray(at, at + buffer.length));
    }
  }
  await Promise.all([lane(), lane(), lane()]);
  await source.close();
  return same;
}

test('three that read a file at the same time read it once, in blocks of any size', async () => {
  const { seats, seen, buffers } = openFile();
  const sizes = [64 * 1024, 256 * 1024, 5 * mebibyte + 1];
  expect(await Promise.all(seats.map((seat, index) => readAll(seat, sizes[index]!)))).toEqual([true, true, true]);
  expect(seen.bytes).toBeLessThanOrEqual(content.length * 1.1);
  expect(seen).toMatchObject({ opened: 1, closed: 1 });
  // All memory is there again.
  expect(buffers.reserveNow(3, 16 * mebibyte)).not.toBeNull();
});

test('without memory each reads for himself', async () => {
  const { seats, seen } = openFile({ ceilingBytes: mebibyte });
  expect(await Promise.all(seats.map((seat) => readAll(seat, 256 * 1024)))).toEqual([true, true, true]);
  expect(seen).toMatchObject({ bytes: 3 * content.length, opened: 1, closed: 1 });
});

test('one that goes away in the middle, or never comes, holds up nobody', async () => {
  const { seats, seen } = openFile({ readers: 4 });
  const [first, second, gone, absent] = seats as [Seat, Seat, Seat, Seat];
  const reading = [readAll(first, 256 * 1024), readAll(second, mebibyte), readAll(gone, 256 * 1024, 3 * mebibyte)];
  await absent.leave();
  expect(await Promise.all(reading)).toEqual([true, true, true]);
  expect(seen.bytes).toBeLessThanOrEqual(content.length * 1.1);
});

test('one that does not begin is waited for a moment, and then reads for himself', async () => {
  const { seats, seen } = openFile({ readers: 2 });
  const [first, late] = seats as [Seat, Seat];
  expect(await readAll(first, mebibyte)).toBe(true);
  expect(seen.bytes).toBe(content.length);
  expect(await readAll(late, mebibyte)).toBe(true);
  expect(seen.bytes).toBeGreaterThan(2 * content.length - limits.sharedWindowBytes);
  expect(seen).toMatchObject({ opened: 1, closed: 1 });
});

test('one that is stopped leaves what it was reading to the others', async () => {
  const { seats } = openFile({ readers: 2, blockBytes: mebibyte });
  const [first, second] = seats as [Seat, Seat];
  const stopped = new AbortController();
  const source = await first.open(version, signal);
  const reading = source.read(Buffer.alloc(mebibyte), 0, stopped.signal);
  const other = readAll(second, mebibyte);
  stopped.abort(new Error('stopped'));
  await expect(reading).rejects.toThrow('stopped');
  await source.close();
  expect(await other).toBe(true);
});

test('one that wants another version opens the file for itself', async () => {
  const { seats, seen } = openFile({ readers: 2 });
  const [first, second] = seats as [Seat, Seat];
  const reading = readAll(first, mebibyte);
  const source = await second.open({ ...version, modified: '2026-02-02T00:00:00.000Z' }, signal);
  await source.close();
  expect(await reading).toBe(true);
  expect(seen).toMatchObject({ opened: 2, closed: 2 });
});
