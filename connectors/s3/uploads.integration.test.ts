import { createHash, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ListMultipartUploadsCommand, PutObjectCommand, UploadPartCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDialler } from '../../network/dialler.ts';
import { WaybillError } from '../../schema/errors.ts';
import { startProxy, type TcpProxy } from '../../test/servers/proxy.ts';
import { type S3Bucket, startS3Bucket } from '../../test/servers/s3.ts';
import type { Connector, Sink } from '../contract.ts';
import { openS3 } from './connector.ts';
import { readSettings, s3Patience } from './settings.ts';

const log = { debug() {}, info() {}, warn() {}, error() {} };
const never = new AbortController().signal;
const canary = 'canary-secret-that-nobody-may-see';
const impatient = {
  startTimeoutMs: 2_000,
  answerTimeoutMs: 1_000,
  slowAnswerTimeoutMs: 2_000,
  slowestBytesPerSecond: 8_388_608,
};
const MiB = 1024 * 1024;

const dialler = createDialler({ loopback: true, allow: [] });
let server: S3Bucket;
let proxy: TcpProxy;
let connector: Connector;

beforeAll(async () => {
  server = await startS3Bucket();
  proxy = await startProxy(server);
  connector = openThrough(proxy.port);
  await connector.check(never);
});
afterAll(async () => {
  await connector.close();
  await dialler.close();
  await proxy.stop();
  await server.stop();
});

function openThrough(
  port: number,
  secretAccessKey = server.secretAccessKey,
  { way = dialler, patience = s3Patience } = {},
): Connector {
  const { region, bucket, accessKeyId } = server;
  const settings = readSettings({ endpoint: `http://127.0.0.1:${port}`, region, bucket });
  return openS3(settings, { accessKeyId, secretAccessKey }, { dialler: way, localRoots: [], log }, patience);
}

const options = (size: number, more: object = {}) => ({
  size,
  deliveryId: 'dlv_1',
  replace: false,
  modified: null,
  ...more,
});
const sum = (content: Uint8Array) => ({ sha256: createHash('sha256').update(content).digest('hex') });

async function writeParts(sink: Sink, content: Buffer, from = 0, to = content.length): Promise<void> {
  const { bytes } = connector.capabilities.parts!;
  for (let at = from; at < to; at += bytes) await sink.write(content.subarray(at, at + bytes), at, never);
}

async function read(path: string): Promise<Buffer> {
  const source = await connector.open(path, {}, never);
  const buffer = Buffer.alloc(source.size);
  for (let at = 0; at < source.size; ) at += await source.read(buffer.subarray(at), at, never);
  return buffer;
}

async function uploads(): Promise<string[]> {
  const { Uploads = [] } = await server.client.send(new ListMultipartUploadsCommand({ Bucket: server.bucket }));
  return Uploads.map(({ Key }) => Key!);
}

describe('an upload in parts', () => {
  test('goes on in another process with the parts that the server has, and sends no byte of them again', async () => {
    const { bytes } = connector.capabilities.parts!;
    const content = randomBytes(5 * bytes + 1_000);
    const killed = await connector.begin('/resumed.bin', options(content.length), never);
    await writeParts(killed, content, 0, 3 * bytes);
    await killed.leave();
    const another = openThrough(proxy.port);
    const before = proxy.carried().server;
    const resume = JSON.parse(JSON.stringify(killed.token));
    const sink = await another.begin('/resumed.bin', options(content.length, { deliveryId: 'dlv_2', resume }), never);
    expect(sink.received).toBe(3 * bytes);
    for (let at = 0; at < sink.received; at += bytes)
      expect(await sink.holds!(content.subarray(at, at + bytes), at, never)).toBe(true);
    await writeParts(sink, content, sink.received);
    expect(await sink.seal(sum(content), never)).toBe('server-parts');
    await sink.commit(never);
    expect(proxy.carried().server - before).toBeLessThan(2 * bytes + 1_000 + 100_000);
    expect((await read('/resumed.bin')).equals(content)).toBe(true);
    expect(await uploads()).toEqual([]);
    await another.close();
  });

  test('with a hole counts what is before it, and does not send again what is behind it', async () => {
    const { bytes } = connector.capabilities.parts!;
    const content = randomBytes(4 * bytes);
    const killed = await connector.begin('/hole.bin', options(content.length), never);
    for (const number of [0, 2, 3]) await writeParts(killed, content, number * bytes, (number + 1) * bytes);
    await killed.leave();
    const before = proxy.carried().server;
    const sink = await connector.begin('/hole.bin', options(content.length, { resume: killed.token }), never);
    expect(sink.received).toBe(bytes);
    await sink.holds!(content.subarray(0, bytes), 0, never);
    await writeParts(sink, content, bytes);
    expect(await sink.seal(sum(content), never)).toBe('server-parts');
    await sink.commit(never);
    expect(proxy.carried().server - before).toBeLessThan(bytes + 100_000);
    expect((await read('/hole.bin')).equals(content)).toBe(true);
  });

  test('holds tells other bytes from those that were sent, and what was not compared is not proven', async () => {
    const { bytes } = connector.capabilities.parts!;
    const content = randomBytes(bytes + 10);
    const killed = await connector.begin('/held.bin', options(content.length), never);
    await writeParts(killed, content, 0, bytes);
    await killed.leave();
    const sink = await connector.begin('/held.bin', options(content.length, { resume: killed.token }), never);
    const other = Buffer.from(content.subarray(0, bytes));
    other[0]! ^= 1;
    expect(await sink.holds!(other, 0, never)).toBe(false);
    await writeParts(sink, content, bytes);
    expect(await sink.seal(sum(content), never)).toBe('acknowledged-size');
    await sink.abort();
    expect(await uploads()).toEqual([]);
  });

  test('that is gone from the server begins anew, and so does one of another size', async () => {
    const size = 20 * MiB;
    const first = await connector.begin('/gone.bin', options(size), never);
    await connector.discard!(first.token, never);
    await connector.discard!(first.token, never);
    const second = await connector.begin('/gone.bin', options(size, { resume: first.token }), never);
    expect(second.received).toBe(0);
    expect(second.token.uploadId).not.toBe(first.token.uploadId);
    const resume = { ...second.token, partBytes: 5 * MiB };
    const third = await connector.begin('/gone.bin', options(size, { resume }), never);
    expect(third.received).toBe(0);
    expect(await uploads()).toEqual(['gone.bin']);
    await third.abort();
  });

  test('whose commit is asked for twice is published once, by the same process and by the next', async () => {
    const content = randomBytes(9 * MiB);
    const sink = await connector.begin('/twice.bin', options(content.length), never);
    await writeParts(sink, content);
    await sink.seal(sum(content), never);
    const late = await connector.begin('/twice.bin', options(content.length, { resume: sink.token }), never);
    for (let at = 0; at < content.length; at += connector.capabilities.parts!.bytes)
      await late.holds!(content.subarray(at, at + connector.capabilities.parts!.bytes), at, never);
    await late.seal(sum(content), never);
    const entry = await sink.commit(never);
    expect(await sink.commit(never)).toEqual(entry);
    // The upload is gone by now, and the object is there with our name in it.
    expect(await late.commit(never)).toEqual(entry);
  });

  test('whose end is lost with its answer is found to be published', async () => {
    const content = Buffer.from('small');
    const sink = await connector.begin('/lost.txt', options(content.length), never);
    await sink.write(content, 0, never);
    await sink.seal(sum(content), never);
    const again = await connector.begin('/lost.txt', options(content.length), never);
    await again.write(content, 0, never);
    await again.seal(sum(content), never);
    const stranger = await connector.begin('/lost.txt', options(content.length, { deliveryId: 'dlv_9' }), never);
    await stranger.write(content, 0, never);
    await stranger.seal(sum(content), never);
    const { etag } = await sink.commit(never);
    expect((await again.commit(never)).etag).toBe(etag);
    await expect(stranger.commit(never)).rejects.toMatchObject({ kind: 'exists' });
  });

  test('of ten writers of large files at once exactly one is published, and nine are told that something exists', async () => {
    const contents = Array.from({ length: 10 }, () => randomBytes(9 * MiB));
    const sinks = await Promise.all(
      contents.map(async (content, index) => {
        const sink = await connector.begin('/race.bin', options(content.length, { deliveryId: `dlv_${index}` }), never);
        await writeParts(sink, content);
        await sink.seal(sum(content), never);
        return sink;
      }),
    );
    const results = await Promise.allSettled(sinks.map((sink) => sink.commit(never)));
    const kinds = results.map((result) => (result.status === 'rejected' ? result.reason.kind : 'published'));
    expect(kinds.sort()).toEqual([...Array.from({ length: 9 }, () => 'exists'), 'published']);
    await Promise.all(sinks.map((sink) => sink.abort()));
    expect(await uploads()).toEqual([]);
  });

  test('a part that changes on the way is refused by the server, and nothing is published', async () => {
    const content = randomBytes(9 * MiB);
    const { bytes } = connector.capabilities.parts!;
    const sink = await connector.begin('/changed.bin', options(content.length), never);
    await writeParts(sink, content);
    // Somebody else puts other bytes in the place of a part, under the same keys.
    const part = { Bucket: server.bucket, Key: 'changed.bin', UploadId: String(sink.token.uploadId), PartNumber: 1 };
    await server.client.send(new UploadPartCommand({ ...part, Body: randomBytes(bytes), ChecksumAlgorithm: 'SHA256' }));
    await expect(sink.seal(sum(content), never)).rejects.toMatchObject({ kind: 'integrity' });
    await sink.abort();
  });

  test('small files beyond the memory for them go in parts, and give it back', async () => {
    const content = randomBytes(7 * MiB);
    const sinks: Sink[] = [];
    for (let index = 0; index < 6; index++)
      sinks.push(await connector.begin(`/room/${index}.bin`, options(content.length), never));
    const kinds = sinks.map(({ token }) => token.kind);
    expect(kinds).toEqual(['put', 'put', 'put', 'put', 'multipart', 'multipart']);
    for (const sink of sinks) {
      await sink.write(content, 0, never);
      await sink.seal(sum(content), never);
      await sink.commit(never);
      await sink.abort();
    }
    const next = await connector.begin('/room/next.bin', options(content.length), never);
    expect(next.token.kind).toBe('put');
    await next.abort();
    expect((await read('/room/5.bin')).equals(content)).toBe(true);
  });
});

describe('renaming', () => {
  test('that died between the copy and the removal goes on, and does not take the copy of somebody else for its own', async () => {
    const put = (Key: string, Body: string) =>
      server.client.send(new PutObjectCommand({ Bucket: server.bucket, Key, Body, Metadata: { owner: 'acme' } }));
    await put('died/from.txt', 'text');
    await connector.rename!('/died/from.txt', '/died/to.txt', { replace: false }, never);
    await put('died/from.txt', 'text');
    // As it was before the removal: the copy is there, and so is the same version of what it was made of.
    await connector.rename!('/died/from.txt', '/died/to.txt', { replace: false }, never);
    await expect(connector.stat('/died/from.txt', never)).rejects.toMatchObject({ kind: 'not-found' });
    await put('died/from.txt', 'other');
    await expect(connector.rename!('/died/from.txt', '/died/to.txt', { replace: false }, never)).rejects.toMatchObject({
      kind: 'exists',
    });
    expect((await read('/died/to.txt')).toString()).toBe('text');
  });
});

describe('what goes wrong', () => {
  test('a source that changes between two reads is a conflict', async () => {
    const put = (Body: Buffer) =>
      server.client.send(new PutObjectCommand({ Bucket: server.bucket, Key: 'changing.bin', Body }));
    await put(Buffer.alloc(1_000, 1));
    const source = await connector.open('/changing.bin', {}, never);
    await source.read(Buffer.alloc(10), 0, never);
    await put(Buffer.alloc(1_000, 2));
    await expect(source.read(Buffer.alloc(10), 10, never)).rejects.toMatchObject({ kind: 'conflict' });
  });

  test('no error holds the secret key, whatever the server says of it', async () => {
    const wrong = openThrough(server.port, canary);
    const error = await wrong.check(never).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ kind: 'unauthenticated' });
    expect(allOf(error)).not.toContain(canary);
    await wrong.close();

    const answers = `<Error><Code>Strange</Code><Message>your key is ${canary}</Message></Error>`;
    await withServer(
      (_, response) => response.writeHead(400).end(answers),
      async (port) => {
        const other = openThrough(port, canary);
        const said = await other.stat('/', never).catch((thrown: unknown) => thrown);
        expect(allOf(said)).toContain('your key is ***');
        expect(allOf(said)).not.toContain(canary);
        await other.close();
      },
    );
  });

  test('the egress guard refuses an address that is not opened, before anything is sent', async () => {
    const guarded = createDialler({ loopback: false, allow: [] });
    let asked = 0;
    await withServer(
      (_, response) => {
        asked++;
        response.end();
      },
      async (port) => {
        const other = openThrough(port, canary, { way: guarded });
        await expect(other.check(never)).rejects.toMatchObject({ kind: 'egress-denied' });
        await other.close();
      },
    );
    await guarded.close();
    expect(asked).toBe(0);
  });

  test('a server that takes everything and answers nothing ends in a timeout, in each direction', async () => {
    await withServer(
      (request) => request.resume(),
      async (port) => {
        const other = openThrough(port, canary, { patience: impatient });
        await expect(other.check(never)).rejects.toMatchObject({ kind: 'timeout' });
        const sink = await other.begin('/x', options(1), never);
        await sink.write(Buffer.from('x'), 0, never);
        await sink.seal(sum(Buffer.from('x')), never);
        await expect(sink.commit(never)).rejects.toMatchObject({ kind: 'timeout' });
        await other.close();
      },
    );
  });

  test('an error that comes with the status 200 is one', async () => {
    const answer = '<?xml version="1.0"?>\n\n<Error><Code>InternalError</Code><Message>again</Message></Error>';
    await withServer(
      (request, response) => {
        request.resume();
        const isCopy = request.headers['x-amz-copy-source'] !== undefined;
        if (request.method === 'HEAD') response.writeHead(200, { etag: '"a"', 'content-length': '5' }).end();
        else response.writeHead(200).end(isCopy ? answer : '');
      },
      async (port) => {
        const other = openThrough(port);
        await expect(other.copy!('/a', '/b', { replace: true }, never)).rejects.toMatchObject({ kind: 'unavailable' });
        await other.close();
      },
    );
  });

  test('an answer that is no S3, and one that is longer than was asked for, break the protocol', async () => {
    await withServer(
      (request, response) => {
        const headers = { etag: '"a"', 'content-length': '5' };
        if (request.method === 'HEAD') response.writeHead(200, headers).end();
        else response.writeHead(200, { etag: '"a"' }).end('<html>hello</html>');
      },
      async (port) => {
        const other = openThrough(port);
        const listing = async () => {
          for await (const _ of other.list('/', { recursive: true }, never));
        };
        await expect(listing()).rejects.toMatchObject({ kind: 'protocol' });
        const source = await other.open('/a', {}, never);
        await expect(source.read(Buffer.alloc(5), 0, never)).rejects.toMatchObject({ kind: 'protocol' });
        await other.close();
      },
    );
  });

  test('nothing is promised of a server that nobody knows: no checksum is proven, no condition is atomic', async () => {
    const content = Buffer.from('x');
    const conditions: unknown[] = [];
    await withServer(
      (request, response) => {
        request.resume();
        response.setHeader('server', 'AmazonS3');
        if (request.method === 'PUT') conditions.push(request.headers['if-none-match']);
        response.writeHead(request.method === 'HEAD' && conditions.length === 0 ? 404 : 200, { etag: '"a"' }).end();
      },
      async (port) => {
        const other = openThrough(port);
        const put = async () => {
          const sink = await other.begin('/x', options(1), never);
          await sink.write(content, 0, never);
          const proven = await sink.seal(sum(content), never);
          await sink.commit(never);
          return proven;
        };
        expect(await put()).toBe('acknowledged-size');
        expect(other.capabilities.atomicNoReplace).toBe(false);
        // It would take the second one, and replace the first: it is asked before.
        await expect(put()).rejects.toMatchObject({ kind: 'exists' });
        expect(conditions).toEqual(['*']);
        await other.close();
      },
    );
  });
});

async function withServer(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
  work: (port: number) => Promise<void>,
): Promise<void> {
  const listening = createServer(answer);
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  try {
    await work((listening.address() as AddressInfo).port);
  } finally {
    listening.closeAllConnections();
    await new Promise((resolve) => listening.close(resolve));
  }
}

function allOf(error: unknown): string {
  if (!(error instanceof WaybillError)) return String(error);
  return [error.message, JSON.stringify(error.context), error.stack, error.cause ? allOf(error.cause) : ''].join('\n');
}
