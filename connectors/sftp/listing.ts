import type { FileEntryWithStats } from 'ssh2';
import { WaybillError } from '../../schema/errors.ts';
import { joinPath } from '../../schema/paths.ts';
import type { Entry, ListOptions, Log, SinkToken } from '../contract.ts';
import { isKept, isTemporaryName, temporaryPrefix } from '../temporary.ts';
import type { SftpConnection } from './connection.ts';
import { hasStatus, status } from './failures.ts';
import { removeFile } from './publish.ts';
import { closeQuietly, entryOf, openHandle, remotePath } from './requests.ts';

/** Folders are walked breadth first; links are listed, never entered. A folder that vanishes while we walk is left out. */
export async function* listFolder(
  connection: SftpConnection,
  root: string,
  folder: string,
  options: ListOptions,
  log: Log,
  signal: AbortSignal,
): AsyncIterable<Entry[]> {
  const waiting = [folder];
  for (let current = waiting.shift(); current !== undefined; current = waiting.shift()) {
    try {
      for await (const answer of answersOf(connection, root, current, signal)) {
        const page = entriesOf(current, answer, log);
        if (options.recursive) waiting.push(...page.filter(({ kind }) => kind === 'folder').map(({ path }) => path));
        if (page.length > 0) yield page;
      }
    } catch (error) {
      if (current === folder || !(error instanceof WaybillError) || error.kind !== 'not-found') throw error;
    }
  }
}

/** Removes temporary files of ours that are that old by the server's clock and ours; gives how many. */
export async function sweepFolder(
  connection: SftpConnection,
  root: string,
  folder: string,
  { olderThanMs, kept }: { olderThanMs: number; kept: readonly SinkToken[] },
  signal: AbortSignal,
): Promise<number> {
  let removed = 0;
  for await (const answer of answersOf(connection, root, folder, signal)) {
    for (const { filename, attrs } of answer) {
      const touchedMs = Math.max(attrs.mtime ?? 0, attrs.atime ?? 0) * 1000;
      if (!isTemporaryName(filename) || Date.now() - touchedMs < olderThanMs) continue;
      if (isKept(filename, kept)) continue;
      // Another sweep of the same folder may have been faster.
      if (await removeFile(connection, root, joinPath(folder, filename), signal)) removed++;
    }
  }
  return removed;
}

async function* answersOf(
  connection: SftpConnection,
  root: string,
  folder: string,
  signal: AbortSignal,
): AsyncIterable<FileEntryWithStats[]> {
  const handle = await openHandle(connection, signal, folder, 'listing', (sftp, answer) =>
    sftp.opendir(remotePath(root, folder), answer),
  );
  try {
    for (;;) {
      yield await connection.request<FileEntryWithStats[]>(signal, {
        operation: 'listing',
        path: folder,
        send: (sftp, answer) => sftp.readdir(handle, answer),
      });
    }
  } catch (error) {
    if (!hasStatus(error, status.eof)) throw error;
  } finally {
    closeQuietly(connection, handle);
  }
}

function entriesOf(folder: string, answer: FileEntryWithStats[], log: Log): Entry[] {
  const entries: Entry[] = [];
  for (const { filename, longname, attrs } of answer) {
    if (filename.startsWith(temporaryPrefix)) continue;
    const path = pathOf(folder, filename);
    if (path === undefined) {
      log.warn(
        { operation: 'listing', folder, name: JSON.stringify(filename) },
        'left out a file whose name cannot be used',
      );
    } else entries.push(entryOf(path, attrs, longname));
  }
  return entries;
}

/** A server may say anything: a name with a slash or dots would lead out of the folder. */
function pathOf(folder: string, name: string): string | undefined {
  if (name.includes('/')) return undefined;
  try {
    return joinPath(folder, name);
  } catch {
    return undefined;
  }
}
