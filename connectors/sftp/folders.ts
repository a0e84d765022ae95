import { WaybillError } from '../../schema/errors.ts';
import { parentFolder } from '../../schema/paths.ts';
import type { SftpConnection } from './connection.ts';
import { explain } from './explain.ts';
import { findEntry, remotePath } from './requests.ts';

/**
 * Makes the folder and what is missing above it; gives whether anything was missing. Throws exists when a file is in the
 * way, forbidden when the server does not let us.
 */
export async function makeFolders(
  connection: SftpConnection,
  root: string,
  folder: string,
  signal: AbortSignal,
): Promise<boolean> {
  const missing: string[] = [];
  for (let above = folder; ; above = parentFolder(above)) {
    const found = await findEntry(connection, root, above, signal);
    if (found?.kind === 'folder') break;
    if (found)
      throw new WaybillError('exists', `${above}: is a file where a folder is needed`, {
        operation: 'making a folder',
        path: above,
      });
    if (above === '/')
      throw new WaybillError('not-found', `the root ${root} does not exist on the server`, { field: 'root' });
    missing.unshift(above);
  }
  for (const path of missing) await makeFolder(connection, root, path, signal);
  return missing.length > 0;
}

/** Files of one folder begin at the same time: that another one was faster is success. */
async function makeFolder(connection: SftpConnection, root: string, path: string, signal: AbortSignal): Promise<void> {
  try {
    await connection.request<void>(signal, {
      operation: 'making a folder',
      path,
      send: (sftp, answer) => sftp.mkdir(remotePath(root, path), answer),
    });
  } catch (error) {
    const found = await findEntry(connection, root, path, signal);
    if (found?.kind !== 'folder') throw await explain(error, connection, root, path, signal);
  }
}

/** Removes an empty folder; one that is gone is success. */
export async function removeFolder(
  connection: SftpConnection,
  root: string,
  path: string,
  signal: AbortSignal,
): Promise<void> {
  try {
    await connection.request<void>(signal, {
      operation: 'removing',
      path,
      send: (sftp, answer) => sftp.rmdir(remotePath(root, path), answer),
    });
  } catch (error) {
    if ((await findEntry(connection, root, path, signal)) !== undefined) throw error;
  }
}
