import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { Dispatcher } from 'undici';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Dialler } from './contract.ts';
import { createDialler } from './dialler.ts';

const body = randomBytes(8 * 1024 * 1024);

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
  const head = `HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n`;

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
  test('fails when the connection ends before the body', async () => {
    answer = (socket) => void socket.end(Buffer.concat([Buffer.from(`${head}\r\n`), body.subarray(0, 1_000_000)]));
    await expect(get()).rejects.toThrow();
  });
});
