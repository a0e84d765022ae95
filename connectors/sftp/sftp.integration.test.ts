import { mkdtemp, rm, symlink } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { vi } from 'vitest';
import { startPartner } from '../../cli/demo/partner.ts';
import { createDialler } from '../../network/dialler.ts';
import { openSftpFaults } from '../../test/faults/sftpFaults.ts';
import { withFaults } from '../../test/faults/withFaults.ts';
import { makeFilesBelow, makeSparseBelow } from '../../test/servers/files.ts';
import { type RcloneSftp, startRcloneSftp } from '../../test/servers/rcloneSftp.ts';
import { ensureSshd } from '../../test/servers/sshd.ts';
import { describeConnector, type Opened } from '../conformance.ts';
import type { Connector } from '../contract.ts';
import { createRegistry } from '../registry.ts';

const log = { debug() {}, info() {}, warn() {}, error() {} };
const connections = 2;
const never = new AbortController().signal;

describeConnector('sftp, against OpenSSH', {
  open: async () => {
    await ensureSshd();
    return openAgainst((folder) => startPartner({ folder, implementation: 'openssh' }), {}, openSftpFaults);
  },
});

// A server without extensions: 32 KiB blocks, no rename over a file, no fsync, no room to ask for.
describeConnector('sftp, against the small server of the demo', {
  open: () => openAgainst((folder) => startPartner({ folder, implementation: 'ssh2' })),
});

// Another program, in another language, with a virtual file system behind it that remembers folders and knows no links.
describeConnector('sftp, against rclone', {
  open: async () => {
    let server: RcloneSftp | undefined;
    const start = async (folder: string) => {
      server = await startRcloneSftp(folder);
      return server;
    };
    const { makeLink: _, ...opened } = await openAgainst(start, { writesInOrder: true });
    const untilSeen = (path: string) => {
      const look = () => {
        // It forgets what it remembers of folders when it is told to hang up.
        process.kill(server!.pid, 'SIGHUP');
        return opened.connector.stat(path, never).catch(() => false);
      };
      return vi.waitUntil(look, { timeout: 10_000, interval: 200 });
    };
    return {
      ...opened,
      makeFiles: async (paths) => {
        await opened.makeFiles!(paths);
        await untilSeen(paths.at(-1)!);
      },
      makeSparse: async (path, ...file) => {
        await opened.makeSparse!(path, ...file);
        await untilSeen(path);
      },
    };
  },
  skip: {
    'names that differ only in the form of their Unicode are two files': 'rclone finds a file by any form of its name',
    'a retry of the same delivery replaces what a killed attempt left':
      'rclone writes a removed file again when its writer lets go of it, over what has its name by then',
    'sweep knows a fresh write by its age, though its modified time is that of an old source':
      'rclone keeps no access time, by which the sweep knows a fresh file',
    'a file that is replaced while it is read never gives a mixture of two versions':
      'rclone opens the file again, by its name, when it is read at another place',
  },
});

interface Server {
  host: string;
  port: number;
  username: string;
  root: string;
  privateKey: string;
  hostKeyFingerprint: string;
  stop(): Promise<void>;
}

async function openAgainst(
  start: (folder: string) => Promise<Server>,
  switches: { writesInOrder?: boolean } = {},
  openFaults?: typeof openSftpFaults,
): Promise<Opened> {
  const folder = await mkdtemp(join(tmpdir(), 'waybill-sftp-'));
  const server = await start(folder);
  const { host, port, username, root, privateKey, hostKeyFingerprint, stop } = server;
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
  const config = { host, port, username, root, hostKeys: [hostKeyFingerprint], connections, ...switches };
  const open = () =>
    createRegistry().open('sftp', config, { privateKey }, { dialler: counting, localRoots: [], log })
      .endpoint as Connector;
  const opened: Opened = {
    connector: open(),
    reopen: open,
    openConnections: async () => sockets.filter((socket) => !socket.destroyed).length,
    mostConnections: connections,
    makeFiles: (paths) => makeFilesBelow(folder, paths),
    makeSparse: (path, bytes, places) => makeSparseBelow(folder, path, bytes, places),
    makeLink: (path, target) => symlink(join(folder, target), join(folder, path)),
    close: async () => {
      await dialler.close();
      await stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
  return openFaults ? withFaults(opened, openFaults(server, root, { dialler, localRoots: [], log })) : opened;
}
