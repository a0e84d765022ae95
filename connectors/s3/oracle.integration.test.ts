import { createHash, randomBytes } from 'node:crypto';
import {
  AbortMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDialler } from '../../network/dialler.ts';
import { type Certificates, makeCertificates } from '../../test/servers/certificates.ts';
import { openS3Client, type S3Bucket, startS3Bucket } from '../../test/servers/s3.ts';
import type { Connector, Entry, EvidenceClass } from '../contract.ts';
import { createRegistry } from '../registry.ts';

const log = { debug() {}, info() {}, warn() {}, error() {} };
const never = new AbortController().signal;
const MiB = 1024 * 1024;
const modified = '2021-03-04T05:06:07.125Z';

let certificates: Certificates;
beforeAll(async () => {
  certificates = await makeCertificates();
});

for (const { words, isTls, part } of [
  { words: 'over plain HTTP, where each request is signed with the hash of its bytes', isTls: false, part: 'SHA256' },
  { words: "over TLS, with an authority of one's own", isTls: true, part: 'CRC32' },
] as const)
  describe(`beside Amazon's own library, ${words}`, () => {
    let server: S3Bucket;
    let connector: Connector;
    let oracle: S3Client;
    const dialler = createDialler({ loopback: true, allow: [] });

    beforeAll(async () => {
      const { ca } = certificates;
      server = await startS3Bucket(isTls ? { ...certificates.server, ca } : undefined);
      const { endpoint, region, bucket, accessKeyId, secretAccessKey } = server;
      const config = { endpoint, region, bucket, accessKeyId, prefix: 'below/here' };
      const secrets = { secretAccessKey, ...(isTls && { ca }) };
      connector = open(config, secrets);
      oracle = openS3Client(server, isTls ? ca : undefined);
    });
    afterAll(async () => {
      oracle.destroy();
      await connector.close();
      await dialler.close();
      await server.stop();
    });

    function open(config: object, secrets: Record<string, string>): Connector {
      return createRegistry().open('s3', config, secrets, { dialler, localRoots: [], log }).endpoint as Connector;
    }

    async function put(path: string, content: Buffer): Promise<{ entry: Entry; evidence: EvidenceClass }> {
      const options = { size: content.length, deliveryId: 'dlv_1', replace: false, modified };
      const sink = await connector.begin(path, options, never);
      const { bytes } = connector.capabilities.parts!;
      for (let at = 0; at < content.length; at += bytes) await sink.write(content.subarray(at, at + bytes), at, never);
      const evidence = await sink.seal({ sha256: createHash('sha256').update(content).digest('hex') }, never);
      return { entry: await sink.commit(never), evidence };
    }

    const at = (key: string) => ({ Bucket: server.bucket, Key: key });

    test('a small object that we write is read by it, with its SHA-256 and its metadata', async () => {
      await connector.check(never);
      const content = randomBytes(10_000);
      const { entry, evidence } = await put('/small é +.bin', content);
      expect(evidence).toBe('server-sha256');
      const found = await oracle.send(
        new GetObjectCommand({ ...at('below/here/small é +.bin'), ChecksumMode: 'ENABLED' }),
      );
      expect(Buffer.from(await found.Body!.transformToByteArray()).equals(content)).toBe(true);
      expect(found.ChecksumSHA256).toBe(createHash('sha256').update(content).digest('base64'));
      expect(found.ETag).toBe(`"${entry.etag}"`);
      expect(found.Metadata).toEqual({ 'waybill-delivery': 'dlv_1', mtime: '1614834367.125' });
      expect(found.ContentType).toBe('application/octet-stream');
    });

    test(`a large object that we write is read by it, with the ${part} of its parts and its metadata`, async () => {
      const content = randomBytes(20 * MiB);
      const { entry, evidence } = await put('/large.bin', content);
      expect(evidence).toBe('server-parts');
      const found = await oracle.send(new GetObjectCommand({ ...at('below/here/large.bin'), ChecksumMode: 'ENABLED' }));
      expect(Buffer.from(await found.Body!.transformToByteArray()).equals(content)).toBe(true);
      expect(found[`Checksum${part}`]).toMatch(/^.+-3$/);
      expect(found.ETag).toBe(`"${entry.etag}"`);
      expect(found.Metadata).toEqual({ 'waybill-delivery': 'dlv_1', mtime: '1614834367.125' });
    });

    test('an object of one request that it writes is listed, looked at and read by us', async () => {
      const content = randomBytes(3 * MiB);
      await oracle.send(new PutObjectCommand({ ...at('below/here/theirs/one 世界.bin'), Body: content }));
      await expectReadable('/theirs/one 世界.bin', content);
    });

    test('an object of parts that it writes is listed, looked at and read by us', async () => {
      const content = randomBytes(17 * MiB);
      const params = { ...at('below/here/theirs/parts.bin'), Body: content };
      await new Upload({ client: oracle, params, partSize: 5 * MiB }).done();
      await expectReadable('/theirs/parts.bin', content);
    });

    test('what is outside of the prefix is not there', async () => {
      await oracle.send(new PutObjectCommand({ ...at('below/elsewhere.txt'), Body: 'x' }));
      await oracle.send(new PutObjectCommand({ ...at('below/here-not.txt'), Body: 'x' }));
      const paths = (await listAll('/')).map(({ path }) => path);
      expect(paths).toContain('/small é +.bin');
      expect(paths.filter((path) => path.includes('elsewhere') || path.includes('not'))).toEqual([]);
      await expect(connector.stat('/../elsewhere.txt', never)).rejects.toMatchObject({ kind: 'invalid' });
    });

    test('its unfinished uploads are left alone by the sweep, ours are not', async () => {
      const theirs = at('below/here/swept/theirs.bin');
      const { UploadId } = await oracle.send(new CreateMultipartUploadCommand(theirs));
      const part = { ...theirs, UploadId, PartNumber: 1, Body: randomBytes(8 * MiB) };
      await oracle.send(new UploadPartCommand(part));
      const { bytes } = connector.capabilities.parts!;
      const options = { size: 2 * bytes, deliveryId: 'dlv_2', replace: false, modified: null };
      const ours = await connector.begin('/swept/ours.bin', options, never);
      await ours.write(randomBytes(bytes), 0, never);
      await ours.leave();
      expect((await uploads()).sort()).toEqual(['below/here/swept/ours.bin', 'below/here/swept/theirs.bin']);
      expect(await connector.sweep!('/swept', 60_000, never)).toBe(0);
      expect(await connector.sweep!('/', -60_000, never)).toBe(0);
      expect(await connector.sweep!('/swept', -60_000, never)).toBe(1);
      expect(await uploads()).toEqual(['below/here/swept/theirs.bin']);
      // To write under that name again is another matter: nothing of ours stands in its way.
      await put('/swept/ours.bin', randomBytes(10));
      await oracle.send(new AbortMultipartUploadCommand({ ...theirs, UploadId }));
    });

    async function uploads(): Promise<string[]> {
      const { Uploads = [] } = await oracle.send(new ListMultipartUploadsCommand({ Bucket: server.bucket }));
      return Uploads.map(({ Key }) => Key!);
    }

    async function expectReadable(path: string, content: Buffer): Promise<void> {
      const listed = (await listAll('/theirs')).find((entry) => entry.path === path)!;
      expect(await connector.stat(path, never)).toEqual(listed);
      const { ETag, LastModified } = await oracle.send(new HeadObjectCommand(at(`below/here${path}`)));
      expect(listed).toMatchObject({ kind: 'file', size: content.length, etag: ETag!.replaceAll('"', '') });
      expect(listed.modified).toBe(LastModified!.toISOString());
      const source = await connector.open(path, { ifMatch: listed }, never);
      const buffer = Buffer.alloc(content.length);
      expect(await source.read(buffer, 0, never)).toBe(content.length);
      expect(buffer.equals(content)).toBe(true);
      await source.close();
    }

    async function listAll(folder: string): Promise<Entry[]> {
      const entries: Entry[] = [];
      for await (const page of connector.list(folder, { recursive: true }, never)) entries.push(...page);
      return entries;
    }
  });
