import { mkdtemp, rm } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPartner } from '../../cli/demo/partner.ts';
import { createDialler } from '../../network/dialler.ts';
import { ensureSshd } from '../../test/servers/sshd.ts';
import { describeConnector, type Opened } from '../conformance.ts';
import type { Connector } from '../contract.ts';
import { createRegistry } from '../registry.ts';

const log = { debug() {}, info() {}, warn() {}, error() {} };

describeConnector('sftp, against OpenSSH', {
  open: async () => {
    await ensureSshd();
    return openAgainst('openssh');
  },
});

// A server without extensions: 32 KiB blocks, no rename over a file, no fsync, no room to ask for.
describeConnector('sftp, against the small server of the demo', { open: () => openAgainst('ssh2') });

async function openAgainst(implementation: 'openssh' | 'ssh2'): Promise<Opened> {
  const folder = await mkdtemp(join(tmpdir(), 'waybill-sftp-'));
  const partner = await startPartner({ folder, implementation });
  const dialler = createDialler({ loopback: true, allow: [] });
  const sockets: Socket[] = [];
  const counting = {
    ...dialler,
    connect: async (...args: Parameters<typeof dialler.connect>) => {
      const socket = await dialler.connect(...args);
      sockets.push(socket);
      return socket;
    },
  };
  const { host, port, username, root, privateKey, hostKeyFingerprint } = partner;
  const config = { host, port, username, root, hostKeys: [hostKeyFingerprint] };
  return {
    connector: createRegistry().open('sftp', config, { privateKey }, { dialler: counting, localRoots: [], log })
      .endpoint as Connector,
    openConnections: async () => sockets.filter((socket) => !socket.destroyed).length,
    close: async () => {
      await dialler.close();
      await partner.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
