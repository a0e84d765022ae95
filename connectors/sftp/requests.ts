import type { Stats } from 'ssh2';
import { WaybillError } from '../../schema/errors.ts';
import { baseName, normalisePath } from '../../schema/paths.ts';
import type { Entry } from '../contract.ts';
import { isoTime } from '../temporary.ts';
import type { SftpConnection } from './connection.ts';

/** File types in the mode, as POSIX has them. */
const typeMask = 0xf000;
const kindOfType = new Map<number, Entry['kind']>([
  [0x8000, 'file'],
  [0x4000, 'folder'],
  [0xa000, 'link'],
]);

/** Where a path of the endpoint is on the server. The path is normalised again here: what is sent is what was checked. */
export function remotePath(root: string, path: string): string {
  const normal = normalisePath(path);
  const plain = normal.endsWith('/') ? normal.slice(0, -1) : normal;
  return `${root.replace(/\/+$/, '')}${plain}` || '/';
}

/** Facts of what is at `path`, links followed. Throws not-found. */
export async function statEntry(
  connection: SftpConnection,
  root: string,
  path: string,
  signal: AbortSignal,
): Promise<Entry> {
  const facts = await connection.request<Stats>(signal, {
    operation: 'stat',
    path,
    send: (sftp, answer) => sftp.stat(remotePath(root, path), answer),
  });
  return entryOf(path, facts);
}

/** As `statEntry`, or undefined when nothing is there. */
export async function findEntry(
  connection: SftpConnection,
  root: string,
  path: string,
  signal: AbortSignal,
): Promise<Entry | undefined> {
  try {
    return await statEntry(connection, root, path, signal);
  } catch (error) {
    if (error instanceof WaybillError && error.kind === 'not-found') return undefined;
    throw error;
  }
}

/** Attributes are optional in the protocol: `longname`, the line of `ls -l`, tells the type when the mode does not. */
export function entryOf(path: string, facts: Partial<Stats>, longname = '-'): Entry {
  const kind = facts.mode === undefined ? kindOfLine(longname) : (kindOfType.get(facts.mode & typeMask) ?? 'other');
  return {
    path,
    name: baseName(path),
    kind,
    size: kind === 'file' ? (facts.size ?? 0) : 0,
    modified: facts.mtime === undefined ? null : isoTime(facts.mtime * 1000),
  };
}

function kindOfLine(longname: string): Entry['kind'] {
  return ({ d: 'folder', l: 'link', '-': 'file' } as const)[longname[0] ?? '-'] ?? 'other';
}

/** Closes a handle that nobody waits for. A server that is gone has closed it already. */
export function closeQuietly(connection: SftpConnection, handle: Buffer): void {
  if (!connection.isAlive) return;
  try {
    connection.session.sftp.close(handle, () => {});
  } catch {
    // The channel ended in this very moment.
  }
}

/** Opens a file or folder handle; one that arrives after a cancellation is closed again. */
export function openHandle(
  connection: SftpConnection,
  signal: AbortSignal,
  path: string,
  operation: string,
  send: (sftp: SftpConnection['session']['sftp'], answer: (error: Error | undefined, handle: Buffer) => void) => void,
): Promise<Buffer> {
  return connection.request<Buffer>(signal, {
    operation,
    path,
    send: (sftp, answer) => send(sftp, answer),
    late: (handle) => {
      if (handle !== undefined) closeQuietly(connection, handle);
    },
  });
}
