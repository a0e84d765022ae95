import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createDialler } from '../../network/dialler.ts';
import { openS3Faults } from '../../test/faults/s3Faults.ts';
import { withFaults } from '../../test/faults/withFaults.ts';
import { makeFilesBelow } from '../../test/servers/files.ts';
import { startProxy } from '../../test/servers/proxy.ts';
import { startRclone } from '../../test/servers/rclone.ts';
import { startS3Bucket } from '../../test/servers/s3.ts';
import { describeConnector, type Opened } from '../conformance.ts';
import type { Connector } from '../contract.ts';
import { createRegistry } from '../registry.ts';

const log = { debug() {}, info() {}, warn() {}, error() {} };

/** S3 has keys and no folders. */
const withoutFolders = {
  'a file where a folder is needed is exists':
    'S3 has no folders that a file could stand in for: the server refuses at commit, or takes both names',
  'removing a folder is invalid, and leaves it':
    'to remove a key that is not there is a success, and a folder has no key; what is in it stays',
  'an absent folder is not-found before the first page': 'S3 does not tell an absent folder from an empty one',
};

describeConnector('s3, against versitygw', { open: openVersitygw, skip: withoutFolders });

// Another program, in another language, that knows no checksums and takes no conditions.
describeConnector('s3, against rclone', { open: openRclone, skip: withoutFolders });

interface Place {
  port: number;
  region: string;
  bucket: string;
  accessKeyId: string;
  secretAccessKey: string;
}

async function openVersitygw(): Promise<Opened> {
  const server = await startS3Bucket();
  const opened = await openThroughProxy(server, join(server.folder, server.bucket), server.stop);
  const dialler = createDialler({ loopback: true, allow: [] });
  return withFaults(opened, openS3Faults(server, { dialler, localRoots: [], log }));
}

async function openRclone(): Promise<Opened> {
  const folder = await mkdtemp(join(tmpdir(), 'waybill-rclone-s3-'));
  const keys = { accessKeyId: 'waybill-test', secretAccessKey: 'waybill-test-secret' };
  await mkdir(join(folder, 'waybill'));
  const options = ['--auth-key', `${keys.accessKeyId},${keys.secretAccessKey}`, '--dir-cache-time', '0s'];
  const server = await startRclone('s3', folder, options);
  const place = { port: server.port, region: 'us-east-1', bucket: 'waybill', ...keys };
  return openThroughProxy(place, join(folder, 'waybill'), async () => {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  });
}

async function openThroughProxy(place: Place, folder: string, stop: () => Promise<void>): Promise<Opened> {
  const { port, region, bucket, accessKeyId, secretAccessKey } = place;
  const proxy = await startProxy({ host: '127.0.0.1', port });
  const dialler = createDialler({ loopback: true, allow: [] });
  const config = { endpoint: `http://127.0.0.1:${proxy.port}`, region, bucket, accessKeyId };
  const open = () =>
    createRegistry().open('s3', config, { secretAccessKey }, { dialler, localRoots: [], log }).endpoint as Connector;
  return {
    connector: open(),
    reopen: open,
    makeFiles: (paths) => makeFilesBelow(folder, paths),
    openConnections: async () => proxy.connections(),
    close: async () => {
      await dialler.close();
      await proxy.stop();
      await stop();
    },
  };
}
