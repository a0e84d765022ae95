import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { startVersitygw, type Versitygw } from './versitygw.ts';

export interface S3Bucket extends Versitygw {
  bucket: string;
  /** Amazon's own library, signed in. */
  client: S3Client;
}

/** A real S3 server with an empty bucket; over TLS when it is given a certificate, which `ca` has signed. */
export async function startS3Bucket(tls?: { certificate: string; key: string; ca: string }): Promise<S3Bucket> {
  const folder = await mkdtemp(join(tmpdir(), 'waybill-test-tls-'));
  const files = { cert: join(folder, 'certificate.pem'), key: join(folder, 'key.pem') };
  if (tls !== undefined) {
    await writeFile(files.cert, tls.certificate);
    await writeFile(files.key, tls.key, { mode: 0o600 });
  }
  const server = await startVersitygw(tls === undefined ? [] : ['--cert', files.cert, '--key', files.key]);
  const bucket = 'waybill';
  const client = openS3Client(server, tls?.ca);
  await client.send(new CreateBucketCommand({ Bucket: bucket }));
  return {
    ...server,
    bucket,
    client,
    async stop() {
      client.destroy();
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export function openS3Client(
  server: Pick<Versitygw, 'endpoint' | 'region' | 'accessKeyId' | 'secretAccessKey'>,
  ca?: string,
): S3Client {
  const { endpoint, region, accessKeyId, secretAccessKey } = server;
  return new S3Client({
    endpoint,
    region,
    credentials: { accessKeyId, secretAccessKey },
    forcePathStyle: true,
    // With that header its requests go over another agent, which does not know our authority.
    expectContinueHeader: false,
    ...(ca !== undefined && { requestHandler: { httpsAgent: { ca } } }),
  });
}
