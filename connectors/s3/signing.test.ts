import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createDialler } from '../../network/dialler.ts';
import { WaybillError } from '../../schema/errors.ts';
import { createRegistry } from '../registry.ts';
import { encodePath, encodeQuery } from './address.ts';
import { checksumOf, fromHex, partChecksum, sha256Checksum } from './checksums.ts';
import { chooseCredentials } from './credentials.ts';
import { readSettings } from './settings.ts';
import { createSign } from './signing.ts';

const log = { debug() {}, info() {}, warn() {}, error() {} };
const emptySha256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
const keys = {
  accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
};

// "Signature Calculations for the Authorization Header", Amazon S3 API Reference.
describe('the signature is that of the examples of Amazon', () => {
  const examples = [
    {
      words: 'an object, a range of it',
      request: { path: '/test.txt', query: {}, headers: { range: 'bytes=0-9' } },
      signature: 'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
    },
    {
      words: 'a parameter without a value',
      request: { path: '/', query: { lifecycle: '' }, headers: {} },
      signature: 'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543',
    },
    {
      words: 'a listing',
      request: { path: '/', query: { prefix: 'J', 'max-keys': '2' }, headers: {} },
      signature: '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7',
    },
  ];
  const sign = createSign({ host: 'examplebucket.s3.amazonaws.com', region: 'us-east-1' }, keys);
  for (const { words, request, signature } of examples)
    test(words, async () => {
      const headers = { ...request.headers, 'x-amz-content-sha256': emptySha256 };
      const signed = await sign({ ...request, method: 'GET', headers }, new Date('2013-05-24T00:00:00Z'));
      expect(signed.authorization).toContain('Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request');
      expect(signed.authorization).toMatch(new RegExp(`Signature=${signature}$`));
    });

  test('a session token is signed with the rest', async () => {
    const withToken = createSign({ host: 'h', region: 'r' }, { ...keys, sessionToken: 'token' });
    const signed = await withToken({ method: 'GET', path: '/', query: {}, headers: {} });
    expect(signed['x-amz-security-token']).toBe('token');
    expect(signed.authorization).toContain('x-amz-security-token');
  });

  test('what is signed is encoded by RFC 3986, and a path keeps its slashes', () => {
    expect(encodePath("/b/a b+(1)'!*~ü/%25")).toBe('/b/a%20b%2B%281%29%27%21%2A~%C3%BC/%2525');
    expect(encodeQuery({ prefix: 'a/b c', 'max-keys': '1', delimiter: '/' })).toBe(
      'delimiter=%2F&max-keys=1&prefix=a%2Fb%20c',
    );
  });
});

describe('credentials', () => {
  test('those of the machine are not lent unless the operator says so', () => {
    for (const awsCredentials of ['none', undefined] as const) {
      const refused = thrownBy(() => chooseCredentials(undefined, {}, { ...(awsCredentials && { awsCredentials }) }));
      expect(refused.kind).toBe('forbidden');
      expect(refused.context.advice).toContain('WAYBILL_AWS_CREDENTIALS=ambient');
    }
    expect(chooseCredentials(undefined, {}, { awsCredentials: 'ambient' })).toBeTypeOf('function');
  });

  const ambientSource: Record<string, () => Promise<Record<string, string>>> = {
    'its environment': async () => ({ AWS_ACCESS_KEY_ID: 'of-the-machine', AWS_SECRET_ACCESS_KEY: 'its-key' }),
    'a profile of its shared files': async () => {
      const file = join(folder, 'credentials');
      await writeFile(file, '[waybill]\naws_access_key_id = of-the-machine\naws_secret_access_key = its-key\n');
      return { AWS_SHARED_CREDENTIALS_FILE: file, AWS_CONFIG_FILE: join(folder, 'absent'), AWS_PROFILE: 'waybill' };
    },
    'the service of its container': async () => {
      const AWS_CONTAINER_CREDENTIALS_FULL_URI = `http://127.0.0.1:${(lender.address() as AddressInfo).port}/`;
      const none = { AWS_SHARED_CREDENTIALS_FILE: join(folder, 'absent'), AWS_CONFIG_FILE: join(folder, 'absent') };
      return { ...none, AWS_CONTAINER_CREDENTIALS_FULL_URI };
    },
  };
  let folder: string;
  const lender = createServer((_, response) => {
    const Expiration = new Date(Date.now() + 3_600_000).toISOString();
    const keys = { AccessKeyId: 'of-the-machine', SecretAccessKey: 'its-key', Token: 'its-token', Expiration };
    response.setHeader('content-type', 'application/json').end(JSON.stringify(keys));
  });
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'waybill-aws-'));
    await once(lender.listen(0, '127.0.0.1'), 'listening');
  });
  afterAll(async () => {
    lender.close();
    await rm(folder, { recursive: true, force: true });
  });

  test.each(Object.keys(ambientSource))(
    'those of the machine are found in %s, as programs of Amazon find them, once they are lent',
    async (source) => {
      for (const name of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_PROFILE']) vi.stubEnv(name, undefined);
      for (const [name, value] of Object.entries(await ambientSource[source]!())) vi.stubEnv(name, value);
      try {
        const sign = createSign(
          { host: 'h', region: 'r' },
          chooseCredentials(undefined, {}, { awsCredentials: 'ambient' }),
        );
        const signed = await sign({ method: 'GET', path: '/', query: {}, headers: {} });
        expect(signed.authorization).toContain('Credential=of-the-machine/');
        expect(signed['x-amz-security-token']).toBe(source.includes('container') ? 'its-token' : undefined);
      } finally {
        vi.unstubAllEnvs();
      }
    },
  );

  test('an endpoint without keys cannot be opened where they are not lent', () => {
    const dialler = createDialler({ loopback: false, allow: [] });
    const open = () =>
      createRegistry().open('s3', { region: 'eu-central-1', bucket: 'acme' }, {}, { dialler, localRoots: [], log });
    expect(thrownBy(open).kind).toBe('forbidden');
  });

  test('keys of the endpoint are taken before all others, without the line break of their file', () => {
    const context = { awsCredentials: 'ambient' } as const;
    expect(chooseCredentials('id', { secretAccessKey: 'key\n', sessionToken: 'token\n' }, context)).toEqual({
      accessKeyId: 'id',
      secretAccessKey: 'key',
      sessionToken: 'token',
    });
  });
});

describe('configuration', () => {
  const region = 'eu-central-1';
  test('the bucket is in the name of Amazon, and in the path elsewhere', () => {
    const amazon = readSettings({ region, bucket: 'acme' });
    expect(amazon).toMatchObject({
      host: 'acme.s3.eu-central-1.amazonaws.com',
      bucketPath: '',
      isAws: true,
      isTls: true,
    });
    expect(readSettings({ region, bucket: 'a.b' })).toMatchObject({
      origin: 'https://s3.eu-central-1.amazonaws.com',
      bucketPath: '/a.b',
    });
    expect(readSettings({ region: 'cn-north-1', bucket: 'acme' }).host).toBe('acme.s3.cn-north-1.amazonaws.com.cn');
    const other = { region, bucket: 'acme', endpoint: 'http://minio.example:9000/' };
    expect(readSettings(other)).toMatchObject({
      origin: 'http://minio.example:9000',
      bucketPath: '/acme',
      isAws: false,
      isTls: false,
    });
    expect(readSettings({ ...other, pathStyle: false }).host).toBe('acme.minio.example:9000');
    const pretender = { ...other, endpoint: 'https://amazonaws.com.example' };
    expect(readSettings(pretender).isAws).toBe(false);
  });

  test('a prefix is a folder, however it is written', () => {
    for (const prefix of ['a/b', '/a/b', 'a/b/', '//a//b//'])
      expect(readSettings({ region, bucket: 'acme', prefix }).prefix).toBe('a/b/');
    for (const prefix of [undefined, '', '/'])
      expect(readSettings({ region, bucket: 'acme', ...(prefix !== undefined && { prefix }) }).prefix).toBe('');
  });

  test('what does not belong together is refused by its field', () => {
    const { lint } = createRegistry().find('s3')!;
    const fields = (config: object, secrets: string[]) =>
      lint!({ region, bucket: 'acme', ...config } as never, secrets).map(({ field }) => field);
    expect(fields({ accessKeyId: 'id' }, ['secretAccessKey', 'sessionToken', 'ca'])).toEqual([]);
    expect(fields({}, [])).toEqual([]);
    expect(fields({ accessKeyId: 'id' }, [])).toEqual(['secrets']);
    expect(fields({}, ['secretAccessKey'])).toEqual(['accessKeyId']);
    expect(fields({}, ['sessionToken'])).toEqual(['secrets']);
    expect(fields({ endpoint: 'https://h/bucket' }, [])).toEqual(['endpoint']);
    expect(fields({ endpoint: 'https://user:secret@h' }, [])).toEqual(['endpoint']);
    expect(fields({ prefix: 'a/../b' }, [])).toEqual(['prefix']);
  });
});

test('checksums are those of the known answers', () => {
  const digits = Buffer.from('123456789');
  expect(checksumOf(digits, partChecksum({ checksums: true, isTls: true } as never)!)).toBe('y/Q5Jg==');
  expect(checksumOf(digits, sha256Checksum)).toBe(
    fromHex('15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225'),
  );
  expect(fromHex(emptySha256)).toBe('47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=');
  expect(partChecksum({ checksums: false, isTls: true } as never)).toBeNull();
});

function thrownBy(work: () => unknown): WaybillError {
  try {
    work();
  } catch (error) {
    if (error instanceof WaybillError) return error;
  }
  throw new Error('nothing of ours was thrown');
}
