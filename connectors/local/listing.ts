import { type Dirent, lstatSync, type Stats } from 'node:fs';
import { lstat, opendir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { throwIfCancelled } from '../../network/cancellation.ts';
import { baseName, joinPath } from '../../schema/paths.ts';
import type { Entry, ListOptions, Log, SinkToken } from '../contract.ts';
import { isKept, isoTime, isTemporaryName, temporaryPrefix } from '../temporary.ts';
import { hasCode, localError, naming } from './failures.ts';
import type { Root } from './root.ts';

const pageEntries = 500;

/** Folders are walked breadth first; links are listed, never entered. What vanishes while we look is left out. */
export async function* listFolder(
  root: Root,
  folder: string,
  options: ListOptions,
  log: Log,
  signal: AbortSignal,
): AsyncIterable<Entry[]> {
  const waiting = [folder];
  for (let current = waiting.shift(); current !== undefined; current = waiting.shift()) {
    const isFirst = current === folder;
    try {
      for await (const page of pagesOf(root, current, log, signal)) {
        if (options.recursive) waiting.push(...page.filter(({ kind }) => kind === 'folder').map(({ path }) => path));
        yield page;
      }
    } catch (error) {
      if (isFirst || !isNotFound(error)) throw error;
    }
  }
}

async function* pagesOf(root: Root, folder: string, log: Log, signal: AbortSignal): AsyncIterable<Entry[]> {
  throwIfCancelled(signal);
  const real = await root.existing(folder);
  const entries = await naming('listing', folder, () => opendir(real, { bufferSize: 64 }));
  let names: Dirent[] = [];
  try {
    for await (const entry of entries) {
      throwIfCancelled(signal);
      if (entry.name.startsWith(temporaryPrefix)) continue;
      names.push(entry);
      if (names.length < pageEntries) continue;
      yield await describe(root, folder, real, names, log);
      names = [];
    }
  } catch (error) {
    throw localError(error, 'listing', folder);
  }
  if (names.length > 0) yield await describe(root, folder, real, names, log);
}

async function describe(root: Root, folder: string, real: string, names: Dirent[], log: Log): Promise<Entry[]> {
  const entries = await Promise.all(names.map(({ name }) => describeOne(root, folder, real, name, log)));
  return entries.filter((entry) => entry !== undefined);
}

async function describeOne(
  root: Root,
  folder: string,
  real: string,
  name: string,
  log: Log,
): Promise<Entry | undefined> {
  let path: string;
  try {
    path = joinPath(folder, name);
  } catch {
    log.warn({ operation: 'listing', folder, name: JSON.stringify(name) }, 'left out a file whose name cannot be used');
    return undefined;
  }
  try {
    const facts = await root.disk.ask(
      () => lstatSync(join(real, name)),
      () => lstat(join(real, name)),
    );
    return entryOf(path, facts);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw localError(error, 'listing', path);
  }
}

export function entryOf(path: string, facts: Stats): Entry {
  const kind = facts.isFile() ? 'file' : facts.isDirectory() ? 'folder' : facts.isSymbolicLink() ? 'link' : 'other';
  return {
    path,
    name: baseName(path),
    kind,
    size: kind === 'file' ? facts.size : 0,
    // Rounded: a time that was set in milliseconds comes back a fraction below, as nanoseconds in a double.
    modified: isoTime(Math.round(facts.mtimeMs)),
  };
}

/** Removes temporary files of ours that nobody has written to for that long, but for those that are kept; gives how many. */
export async function sweepFolder(
  root: Root,
  folder: string,
  { olderThanMs, kept }: { olderThanMs: number; kept: readonly SinkToken[] },
  signal: AbortSignal,
): Promise<number> {
  const real = await root.existing(folder);
  let removed = 0;
  for await (const { name } of await naming('sweeping', folder, () => opendir(real))) {
    throwIfCancelled(signal);
    if (!isTemporaryName(name) || isKept(name, kept)) continue;
    if (await removeIfOld(join(real, name), joinPath(folder, name), olderThanMs)) removed++;
  }
  return removed;
}

async function removeIfOld(real: string, path: string, olderThanMs: number): Promise<boolean> {
  try {
    // Change time, not modified time: a sealed file already carries the modified time of its source.
    if (Date.now() - (await lstat(real)).ctimeMs < olderThanMs) return false;
    await unlink(real);
    return true;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false;
    throw localError(error, 'sweeping', path);
  }
}

function isNotFound(error: unknown): boolean {
  return (error as { kind?: string }).kind === 'not-found';
}
