import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createDialler } from '../../network/dialler.ts';
import { makeFilesBelow } from '../../test/servers/files.ts';
import { describeConnector } from '../conformance.ts';
import { openLocal } from './connector.ts';
import { Disk } from './disk.ts';

const context = {
  dialler: createDialler({ loopback: false, allow: [] }),
  localRoots: ['*'],
  log: { debug() {}, info() {}, warn() {}, error() {} },
};
/** As where the system says that the root is on a network filesystem: nothing is waited for on JavaScript's thread. */
const elsewhere = () => '36 35 0:50 / / rw,relatime - nfs4 server:/export rw';

describeConnector('local on a network filesystem', {
  open: async () => {
    const root = await mkdtemp(join(tmpdir(), 'waybill-network-'));
    const open = () => openLocal(root, context, {}, new Disk(elsewhere));
    return {
      connector: open(),
      close: () => rm(root, { recursive: true, force: true }),
      reopen: open,
      makeFiles: (paths: readonly string[]) => makeFilesBelow(root, paths),
      makeLink: (path: string, target: string) => symlink(join(root, target), join(root, path)),
    };
  },
});
