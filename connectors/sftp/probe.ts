import { randomUUID } from 'node:crypto';
import { joinPath } from '../../schema/paths.ts';
import { temporaryPath } from '../temporary.ts';
import type { SftpConnection } from './connection.ts';
import { hasStatus, status } from './failures.ts';
import { remotePath } from './requests.ts';

const hardlink = 'hardlink@openssh.com';

/**
 * Some servers offer hard links, as the library they are made with does, and then do not know the request (rclone, and others
 * in Go). A link from a file that is not there tells: it is not-found where links are known. Without it nothing is asked.
 */
export async function probeHardlink(connection: SftpConnection, root: string, signal: AbortSignal): Promise<void> {
  const { session } = connection;
  if (!session.extensions.has(hardlink)) return;
  const absent = remotePath(root, temporaryPath(joinPath('/', 'probe'), randomUUID()));
  try {
    await connection.request<void>(signal, {
      operation: 'connecting',
      path: '/',
      send: (sftp, answer) => sftp.ext_openssh_hardlink(absent, absent, answer),
    });
  } catch (error) {
    if (!hasStatus(error, status.unsupported)) return;
    session.extensions = new Set([...session.extensions].filter((name) => name !== hardlink));
  }
}
