import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { CreateBucketCommand, ListMultipartUploadsCommand } from '@aws-sdk/client-s3';
import { showAt } from '../servers/filesystem.ts';
import { startProxy } from '../servers/proxy.ts';
import { startS3Bucket } from '../servers/s3.ts';
import type { Ground, Partner } from './passage.ts';

/** A versitygw behind a proxy; each ground is a prefix in its bucket. */
export async function startS3Partner(): Promise<Partner> {
  const server = await startS3Bucket();
  const proxy = await startProxy(server);
  const { region, bucket, accessKeyId, secretAccessKey } = server;
  const config = { endpoint: `http://127.0.0.1:${proxy.port}`, region, accessKeyId };
  const common = { connector: 's3', secrets: { secretAccessKey } };
  return {
    proxy,
    async ground(folder) {
      if (folder !== undefined) return groundOver(folder);
      const prefix = `ground-${randomUUID()}`;
      const below = path.join(server.folder, bucket, prefix);
      await mkdir(below);
      return { ...common, folder: below, config: { ...config, bucket, prefix }, remove: async () => {} };
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

  /** The gateway serves what is below its own folder only: the folder given becomes a bucket there. */
  async function groundOver(folder: string): Promise<Ground> {
    const name = `bucket-${randomUUID()}`;
    await server.client.send(new CreateBucketCommand({ Bucket: name }));
    const remove = await showAt(path.join(server.folder, name), folder);
    return { ...common, folder, config: { ...config, bucket: name }, remove };
  }
}
