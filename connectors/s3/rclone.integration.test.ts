import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDialler } from '../../network/dialler.ts';
import type { ListeningServer } from '../../test/servers/listening.ts';
import { startRclone } from '../../test/servers/rclone.ts';
import type { Connector, Entry } from '../contract.ts';
import { createRegistry } from '../registry.ts';

const log = { debug() {}, info() {}, warn() {}, error() {} };
const never = new AbortController().signal;
const keys = { accessKeyId: 'waybill-test', secretAccessKey: 'waybill-test-secret' };

/**
 * The second opinion: `rclone serve s3`, which says that it is AmazonS3, and neither compares checksums nor looks at conditions. The
 * conformance suite takes minutes against it, so that these sentences stand for it.
 */
describe('against rclone, which takes checksums and conditions without a look at them', () => {
  const dialler = createDialler({ loopback: true, allow: [] });
  let folder: string;
  let server: ListeningServer;
  let connector: Connector;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'waybill-rclone-s3-'));
    await mkdir(join(folder, 'waybill'));
    const options = ['--auth-key', `${keys.accessKeyId},${keys.secretAccessKey}`, '--dir-cache-time', '0s'];
    server = await startRclone('s3', folder, options);
    const { accessKeyId, secretAccessKey } = keys;
    const config = { endpoint: `http://127.0.0.1:${server.port}`, region: 'us-east-1', bucket: 'waybill', accessKeyId };
    const context = { dialler, localRoots: [], log };
    connector = createRegistry().open('s3', config, { secretAccessKey }, context).endpoint as Connector;
  });
  afterAll(async () => {
    await connector.close();
    await dialler.close();
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  });

  async function put(path: string, content: Buffer, replace = false) {
    const options = { size: content.length, deliveryId: randomBytes(4).toString('hex'), replace, modified: null };
    const sink = await connector.begin(path, options, never);
    const { bytes } = connector.capabilities.parts!;
    for (let at = 0; at < content.length; at += bytes) await sink.write(content.subarray(at, at + bytes), at, never);
    const evidence = await sink.seal({ sha256: createHash('sha256').update(content).digest('hex') }, never);
    try {
      return { entry: await sink.commit(never), evidence };
    } finally {
      await sink.abort();
    }
  }

  async function read(path: string): Promise<Buffer> {
    const source = await connector.open(path, {}, never);
    const buffer = Buffer.alloc(source.size);
    expect(await source.read(buffer, 0, never)).toBe(source.size);
    return buffer;
  }

  for (const [words, bytes] of [
    ['a small file', 1_000],
    ['an empty file', 0],
    ['a file in parts', 20 * 1024 * 1024],
  ] as const)
    test(`${words} arrives whole, and no more is claimed than its size`, async () => {
      const content = randomBytes(bytes);
      const { evidence } = await put(`/sizes/${bytes} é+.bin`, content);
      expect(evidence).toBe('acknowledged-size');
      expect((await readFile(join(folder, 'waybill', 'sizes', `${bytes} é+.bin`))).equals(content)).toBe(true);
      expect((await read(`/sizes/${bytes} é+.bin`)).equals(content)).toBe(true);
    });

  test('without replace a file that is there stays, although the server would replace it', async () => {
    await put('/there.txt', Buffer.from('first'));
    await expect(put('/there.txt', Buffer.from('second'))).rejects.toMatchObject({ kind: 'exists' });
    expect((await read('/there.txt')).toString()).toBe('first');
    await put('/there.txt', Buffer.from('third'), true);
    expect((await read('/there.txt')).toString()).toBe('third');
    expect(connector.capabilities.atomicNoReplace).toBe(false);
  });

  test('what others put there is listed, with its folders, and removed', async () => {
    await mkdir(join(folder, 'waybill', 'theirs', 'deep'), { recursive: true });
    await writeFile(join(folder, 'waybill', 'theirs', 'a b.txt'), 'one');
    await writeFile(join(folder, 'waybill', 'theirs', 'deep', 'c&d.txt'), 'three');
    const paths = async (recursive: boolean) => {
      const entries: Entry[] = [];
      for await (const page of connector.list('/theirs', { recursive }, never)) entries.push(...page);
      return entries.map(({ path, kind }) => `${kind} ${path}`).sort();
    };
    expect(await paths(false)).toEqual(['file /theirs/a b.txt', 'folder /theirs/deep']);
    expect(await paths(true)).toEqual(['file /theirs/a b.txt', 'file /theirs/deep/c&d.txt', 'folder /theirs/deep']);
    await connector.remove('/theirs/deep/c&d.txt', never);
    await connector.remove('/theirs/deep/c&d.txt', never);
    await expect(connector.stat('/theirs/deep/c&d.txt', never)).rejects.toMatchObject({ kind: 'not-found' });
  });

  test('rename moves, and onto a file that is there is exists', async () => {
    await put('/moved/a.txt', Buffer.from('a'));
    await put('/moved/b.txt', Buffer.from('b'));
    const rename = (to: string) => connector.rename!('/moved/a.txt', to, { replace: false }, never);
    await expect(rename('/moved/b.txt')).rejects.toMatchObject({ kind: 'exists' });
    await rename('/moved/c.txt');
    expect((await read('/moved/c.txt')).toString()).toBe('a');
    await expect(connector.stat('/moved/a.txt', never)).rejects.toMatchObject({ kind: 'not-found' });
  });
});
