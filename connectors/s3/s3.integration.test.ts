import { join } from 'node:path';
import { createDialler } from '../../network/dialler.ts';
import { openS3Faults } from '../../test/faults/s3Faults.ts';
import { withFaults } from '../../test/faults/withFaults.ts';
import { makeFilesBelow, makeSparseBelow } from '../../test/servers/files.ts';
import { startProxy } from '../../test/servers/proxy.ts';
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

async function openVersitygw(): Promise<Opened> {
  const server = await startS3Bucket();
  const proxy = await startProxy(server);
  const dialler = createDialler({ loopback: true, allow: [] });
  const { region, bucket, accessKeyId, secretAccessKey } = server;
  const config = { endpoint: `http://127.0.0.1:${proxy.port}`, region, bucket, accessKeyId };
  const open = () =>
    createRegistry().open('s3', config, { secretAccessKey }, { dialler, localRoots: [], log }).endpoint as Connector;
  const opened: Opened = {
    connector: open(),
    reopen: open,
    makeFiles: (paths) => makeFilesBelow(join(server.folder, bucket), paths),
    makeSparse: (path, bytes, places) => makeSparseBelow(join(server.folder, bucket), path, bytes, places),
    openConnections: async () => proxy.connections(),
    close: async () => {
      await dialler.close();
      await proxy.stop();
      await server.stop();
    },
  };
  return withFaults(opened, openS3Faults(server, { dialler, localRoots: [], log }));
}
