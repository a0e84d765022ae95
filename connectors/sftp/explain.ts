import { WaybillError } from '../../schema/errors.ts';
import { parentFolder } from '../../schema/paths.ts';
import type { SftpConnection } from './connection.ts';
import { hasStatus, status } from './failures.ts';
import { remotePath } from './requests.ts';

/** What OpenSSH tells of a filesystem (PROTOCOL, section 4.4: statvfs@openssh.com). */
interface Room {
  f_bavail: number;
  f_favail: number;
  f_files: number;
  f_flag: number;
}
const readOnlyFlag = 1;

/**
 * OpenSSH says only "failure" when its disk is full or read-only; what it tells of the filesystem says which. Gives the
 * error itself where that explains nothing, or the server cannot be asked.
 */
export async function explain(
  error: unknown,
  connection: SftpConnection,
  root: string,
  path: string,
  signal: AbortSignal,
): Promise<unknown> {
  if (!hasStatus(error, status.failure) || !connection.session.extensions.has('statvfs@openssh.com')) return error;
  const facts = { operation: 'writing', path, cause: error };
  try {
    const room = await connection.request<Room>(signal, {
      operation: 'measuring',
      path,
      send: (sftp, answer) => sftp.ext_openssh_statvfs(remotePath(root, parentFolder(path)), answer as never),
    });
    if ((room.f_flag & readOnlyFlag) !== 0)
      return new WaybillError('forbidden', `${path}: the filesystem of the server is read-only`, facts);
    if (room.f_bavail === 0 || (room.f_files > 0 && room.f_favail === 0))
      return new WaybillError('disk-full', `${path}: no space left on the server`, facts);
    return error;
  } catch {
    return error;
  }
}
