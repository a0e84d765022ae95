import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { Dispatcher } from 'undici';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Dialler } from './contract.ts';
import { createDialler } from './dialler.ts';

const body = randomBytes(8 * 1024 * 1024);
const head = `HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n`;

describe('a line that lends what it reads', () => {
  let answer: (socket: Socket) => Promise<void> | void;
  let connections: Socket[];
  let dialler: Dialler;
  let dispatcher: Dispatcher;
  const server = createServer((socket) => {
    connections.push(socket);
    socket.on('error', () => undefined).on('data', () => void answer(socket));
  });
  beforeEach(async () => {
    connections = [];
    await once(server.listen(0, '127.0.0.1'), 'listening');
    dialler = createDialler({ loopback: true, allow: [] });
    dispatcher = dialler.httpWith({}, { lendsBody: true });
  });
  afterEach(async () => {
    await Promise.all([dispatcher.destroy(), dialler.close()]);
    for (const socket of connections) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });

  /** Hashes what it is given before it returns, and remembers where that lay. */
  function get(memory = new Set<ArrayBufferLike>()) {
    const hash = createHash('sha256');
    let heads: Record<string, unknown> = {};
    return new Promise<{ sha256: string; heads: Record<string, unknown> }>((resolve, reject) => {
      dispatcher.dispatch(
        { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, path: '/', method: 'GET' },
        {
          onRequestStart: () => undefined,
          onResponseStart: (_, _status, headers) => {
            heads = headers;
          },
          onResponseData: (_, chunk) => {
            hash.update(chunk);
            if (chunk.length > 16 * 1024) memory.add(chunk.buffer);
          },
          onResponseEnd: () => resolve({ sha256: hash.digest('hex'), heads }),
          onResponseError: (_, error) => reject(error),
        },
      );
    });
  }
  const sha256 = createHash('sha256').update(body).digest('hex');

  test('gives every byte of answers one after the other, out of one piece of memory for each connection', async () => {
    answer = (socket) => void socket.write(Buffer.concat([Buffer.from(`${head}\r\n`), body]));
    const memory = new Set<ArrayBufferLike>();
    for (let turn = 0; turn < 3; turn++) expect((await get(memory)).sha256).toBe(sha256);
    expect(memory.size).toBeLessThanOrEqual(connections.length);
  });
  test('gives a body in chunks of any size as it was sent', async () => {
    answer = async (socket) => {
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n');
      for (let at = 0, length = 1; at < body.length; at += length, length = (length * 3) % 300_007) {
        const piece = body.subarray(at, at + length);
        socket.write(Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')]));
        if (socket.writableNeedDrain) await once(socket, 'drain');
      }
      socket.write('0\r\n\r\n');
    };
    expect((await get()).sha256).toBe(sha256);
  });
  test('keeps the pieces of a head until it is complete', async () => {
    const names = Array.from({ length: 40 }, (_, index) => [`x-${index}`, `${index}`.repeat(60)]);
    answer = async (socket) => {
      socket.setNoDelay();
      const text = `${head}${names.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;
      for (let at = 0; at < text.length; at += 37) {
        await new Promise((resolve) => socket.write(text.slice(at, at + 37), resolve));
        await new Promise((resolve) => setImmediate(resolve));
      }
      socket.write(body);
    };
    const { heads, sha256: got } = await get();
    expect(heads).toMatchObject(Object.fromEntries(names));
    expect(got).toBe(sha256);
  });
  test.each([
    ['of a known length', Buffer.concat([Buffer.from(`${head}\r\n`), body]), body.length],
    ['in chunks', inChunks(body, 100_000), body.length],
    ['that comes bit by bit', Buffer.concat([Buffer.from(`${head}\r\n`), body]), 30_000],
  ])('reads no further while an answer %s is paused, and goes on with it as it was sent', async (_, message, bit) => {
    answer = async (socket) => {
      for (let at = 0; at < message.length; at += bit) {
        await new Promise((resolve) => socket.write(message.subarray(at, at + bit), resolve));
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const hash = createHash('sha256');
    let pauses = 0;
    let read = 0;
    await new Promise<void>((resolve, reject) => {
      dispatcher.dispatch(
        { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, path: '/', method: 'GET' },
        {
          onRequestStart: () => undefined,
          onResponseStart: () => undefined,
          onResponseData: (controller, chunk) => {
            hash.update(chunk);
            read += chunk.length;
            if (pauses++ % 5 !== 0) return;
            controller.pause();
            const until = performance.now() + 5;
            const look = () => {
              // Turns of the loop in which the socket could be read, were it not for the pause.
              if (performance.now() < until) setImmediate(look);
              else controller.resume();
            };
            look();
          },
          onResponseEnd: () => resolve(),
          onResponseError: (_controller, error) => reject(error),
        },
      );
    });
    expect([read, hash.digest('hex')]).toEqual([body.length, sha256]);
  });
  test('fails when the connection ends before the body', async () => {
    answer = (socket) => void socket.end(Buffer.concat([Buffer.from(`${head}\r\n`), body.subarray(0, 1_000_000)]));
    await expect(get()).rejects.toThrow();
  });
});

function inChunks(content: Buffer, length: number): Buffer {
  const pieces: Buffer[] = [Buffer.from('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n')];
  for (let at = 0; at < content.length; at += length) {
    const piece = content.subarray(at, at + length);
    pieces.push(Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n'));
  }
  return Buffer.concat([...pieces, Buffer.from('0\r\n\r\n')]);
}
