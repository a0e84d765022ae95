import { WaybillError } from '../../schema/errors.ts';
import { parentFolder } from '../../schema/paths.ts';
import type { SftpConnection } from './connection.ts';
import { explain } from './explain.ts';
import { hasStatus, status } from './failures.ts';
import { makeFolders } from './folders.ts';
import { findEntry, remotePath, statEntry } from './requests.ts';

/** Whether a rename that must not replace is one step on that server: OpenSSH's own rename is, elsewhere a hard link is. */
export function isAtomicNoReplace(connection: SftpConnection): boolean {
  return isOpenssh(connection) || connection.session.extensions.has('hardlink@openssh.com');
}

/** Gives a file its new name. Throws exists when `replace` is false and the name is taken, not-found when `from` is gone. */
export async function publish(
  connection: SftpConnection,
  root: string,
  from: string,
  to: string,
  replace: boolean,
  signal: AbortSignal,
): Promise<void> {
  const rename = () =>
    replace ? renameOver(connection, root, from, to, signal) : renameNew(connection, root, from, to, signal);
  try {
    await rename();
  } catch (error) {
    if (!hasStatus(error, status.noSuchFile, status.failure)) throw error;
    await statEntry(connection, root, from, signal);
    const taken = await findEntry(connection, root, to, signal);
    if (taken && (!replace || taken.kind === 'folder')) throw exists(to, error);
    if (taken) throw await explain(error, connection, root, to, signal);
    const wasMissing = await makeFolders(connection, root, parentFolder(to), signal);
    // Also when no folder was missing any more: another rename may have made it in the meantime.
    if (!wasMissing && !hasStatus(error, status.noSuchFile)) throw await explain(error, connection, root, to, signal);
    await rename();
  }
}

/** Removes a file; one that is gone is success. Gives whether it was there. */
export async function removeFile(
  connection: SftpConnection,
  root: string,
  path: string,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await connection.request<void>(signal, {
      operation: 'removing',
      path,
      send: (sftp, answer) => sftp.unlink(remotePath(root, path), answer),
    });
    return true;
  } catch (error) {
    if (hasStatus(error, status.noSuchFile)) return false;
    if (!hasStatus(error, status.failure)) throw error;
    const found = await findEntry(connection, root, path, signal);
    if (found?.kind === 'folder')
      throw new WaybillError('invalid', `${path}: is a folder`, { operation: 'removing', path, cause: error });
    if (found) throw await explain(error, connection, root, path, signal);
    return false;
  }
}

async function renameOver(
  connection: SftpConnection,
  root: string,
  from: string,
  to: string,
  signal: AbortSignal,
): Promise<void> {
  // There are servers whose rename over a folder removes it with all that is in it.
  if (!isOpenssh(connection) && (await findEntry(connection, root, to, signal))?.kind === 'folder') throw exists(to);
  if (connection.session.extensions.has('posix-rename@openssh.com')) {
    return connection.request<void>(signal, {
      operation: 'publishing',
      path: to,
      send: (sftp, answer) => sftp.ext_openssh_rename(remotePath(root, from), remotePath(root, to), answer),
    });
  }
  try {
    await plainRename(connection, root, from, to, signal);
  } catch (error) {
    // SFTP 3 may refuse to rename over a file. Without the extension there is a moment in which neither is there.
    const taken = hasStatus(error, status.failure) ? await findEntry(connection, root, to, signal) : undefined;
    if (taken?.kind !== 'file') throw error;
    await removeFile(connection, root, to, signal);
    await plainRename(connection, root, from, to, signal);
  }
}

async function renameNew(
  connection: SftpConnection,
  root: string,
  from: string,
  to: string,
  signal: AbortSignal,
): Promise<void> {
  if (isOpenssh(connection)) return plainRename(connection, root, from, to, signal);
  if (connection.session.extensions.has('hardlink@openssh.com')) {
    await connection.request<void>(signal, {
      operation: 'publishing',
      path: to,
      send: (sftp, answer) => sftp.ext_openssh_hardlink(remotePath(root, from), remotePath(root, to), answer),
    });
    await removeFile(connection, root, from, signal);
    return;
  }
  // The protocol forbids a rename to replace, and some servers do it all the same.
  const taken = await findEntry(connection, root, to, signal);
  if (taken) throw exists(to);
  await plainRename(connection, root, from, to, signal);
}

function plainRename(
  connection: SftpConnection,
  root: string,
  from: string,
  to: string,
  signal: AbortSignal,
): Promise<void> {
  return connection.request<void>(signal, {
    operation: 'publishing',
    path: to,
    send: (sftp, answer) => sftp.rename(remotePath(root, from), remotePath(root, to), answer),
  });
}

/** Its server makes a rename from a hard link and the removal of the old name (sftp-server.c, process_rename). */
export function isOpenssh(connection: SftpConnection): boolean {
  return connection.session.server.startsWith('SSH-2.0-OpenSSH');
}

function exists(path: string, cause?: unknown): WaybillError {
  return new WaybillError('exists', `${path}: exists`, { operation: 'publishing', path, cause });
}
