import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { fingerprintFolder } from '../../cli/plugins/fingerprint.ts';
import { openRegistry } from '../../cli/plugins/load.ts';
import { describeConnector } from '../../connectors/conformance.ts';
import type { Connector, ConnectorContext } from '../../connectors/contract.ts';
import type { ConnectorRegistry } from '../../connectors/registry.ts';
import { createDialler } from '../../network/dialler.ts';
import { makeFilesBelow } from '../servers/files.ts';

const shelf = join(import.meta.dirname, 'shelf');
const context: ConnectorContext = {
  dialler: createDialler({ loopback: false, allow: [] }),
  localRoots: [],
  log: { debug() {}, info() {}, warn() {}, error() {} },
};

let area: string;
let registry: ConnectorRegistry;
beforeAll(async () => {
  area = await mkdtemp(join(tmpdir(), 'waybill-shelf-'));
  const list = join(area, 'plugins.yaml');
  await writeFile(list, JSON.stringify([{ path: shelf, sha256: await fingerprintFolder(shelf) }]));
  registry = await openRegistry(list);
});
afterAll(() => rm(area, { recursive: true, force: true }));

// Through the door of the operator, as api and worker open it.
describeConnector('shelf, a plugin in plain JavaScript', {
  open: async () => {
    const folder = await mkdtemp(join(area, 'folder-'));
    const open = () => registry.open('shelf', { folder }, {}, context).endpoint as Connector;
    return {
      connector: open(),
      reopen: open,
      makeFiles: (paths) => makeFilesBelow(folder, paths),
      close: async () => {},
    };
  },
});
