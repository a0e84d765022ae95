import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { ListMultipartUploadsCommand } from '@aws-sdk/client-s3';
import { startProxy } from '../servers/proxy.ts';
import { startS3Bucket } from '../servers/s3.ts';
import type { Partner } from './passage.ts';

/** A versitygw behind a proxy; each ground is a prefix in its bucket. */
export async function startS3Partner(): Promise<Partner> {
  const server = await startS3Bucket();
  const proxy = await startProxy(server);
  const { region, bucket, accessKeyId, secretAccessKey } = server;
  const bucketFolder = path.join(server.folder, bucket);
  return {
    proxy,
    async ground() {
      const prefix = `ground-${randomUUID()}`;
      const folder = path.join(bucketFolder, prefix);
      await mkdir(folder);
      const config = { endpoint: `http://127.0.0.1:${proxy.port}`, region, bucket, prefix, accessKeyId };
      return { folder, connector: 's3', config, secrets: { secretAccessKey }, remove: async () => {} };
    },
    async leftovers() {
      const { Uploads = [] } = await server.client.send(new ListMultipartUploadsCommand({ Bucket: bucket }));
      return Uploads.map(({ Key }) => `${Key}`);
    },
    async stop() {
      await proxy.stop();
      await server.stop();
    },
  };
}
