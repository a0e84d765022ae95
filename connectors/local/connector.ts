import { constants, statSync } from 'node:fs';
import { rename, rmdir, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { throwIfCancelled } from '../../network/cancellation.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { Capabilities, Connector, ConnectorContext, Entry, Health, OpenOptions, Source } from '../contract.ts';
import { isSameVersion } from '../temporary.ts';
import { copyFile } from './copy.ts';
import type { Disk } from './disk.ts';
import { naming } from './failures.ts';
import { entryOf, listFolder, sweepFolder } from './listing.ts';
import { OpenFile } from './openFile.ts';
import { publishNew } from './publish.ts';
import { Root } from './root.ts';
import { beginSink, discardTemporary } from './sink.ts';
import { LocalSource } from './source.ts';

const capabilities: Capabilities = {
  rename: true,
  atomicNoReplace: true,
  readsInFlight: 4,
  writesInFlight: 4,
  blockBytes: 1024 * 1024,
  filesInFlight: 16,
  modifiedTimeKept: true,
  parts: null,
  resume: true,
  serverCopy: true,
  // As these systems come: a disk that is otherwise is told of in the endpoint.
  caseSensitive: process.platform !== 'darwin' && process.platform !== 'win32',
  listAfter: false,
};

/** Opens nothing yet: the root is resolved and checked on the first call. */
export function openLocal(
  rootPath: string,
  context: ConnectorContext,
  { caseSensitive = capabilities.caseSensitive }: { caseSensitive?: boolean | undefined } = {},
  disk?: Disk,
): Connector {
  const root = new Root(rootPath, context.localRoots, disk);
  return {
    capabilities: { ...capabilities, caseSensitive },
    check: (signal) => check(root, signal),
    stat: (path, signal) => look(root, path, signal),
    list: (folder, options, signal) => listFolder(root, folder, options, context.log, signal),
    open: (path, options, signal) => openSource(root, path, options, signal),
    begin: (path, options, signal) => beginSink(root, path, options, signal),
    remove: (path, signal) => remove(root, path, signal),
    rename: (from, to, options, signal) => move(root, from, to, options.replace, signal),
    copy: (from, to, options, signal) => copyFile(root, from, to, options, signal),
    makeFolder: async (path, signal) => {
      throwIfCancelled(signal);
      return root.makeFolder(path);
    },
    removeFolder: (path, signal) => removeFolder(root, path, signal),
    discard: (token, signal) => discardTemporary(root, token, signal),
    sweep: (folder, olderThanMs, signal, kept = []) => sweepFolder(root, folder, { olderThanMs, kept }, signal),
    close: async () => {},
  };
}

async function check(root: Root, signal: AbortSignal): Promise<Health> {
  throwIfCancelled(signal);
  const startedAt = performance.now();
  await root.real();
  return { server: 'local filesystem', roundTripMs: Math.round(performance.now() - startedAt), identity: null };
}

async function look(root: Root, path: string, signal: AbortSignal): Promise<Entry> {
  throwIfCancelled(signal);
  const real = await root.existing(path);
  return naming('stat', path, async () => {
    const facts = await root.disk.ask(
      () => statSync(real),
      () => stat(real),
    );
    return entryOf(path, facts);
  });
}

async function openSource(root: Root, path: string, options: OpenOptions, signal: AbortSignal): Promise<Source> {
  throwIfCancelled(signal);
  const real = await root.existing(path);
  // Without O_NONBLOCK, opening a named pipe would wait for its writer for ever.
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const file = await naming('opening', path, () => OpenFile.open(root.disk, real, flags));
  try {
    const facts = await file.facts();
    if (!facts.isFile()) throw new WaybillError('invalid', `${path}: is not a file`, { operation: 'opening', path });
    const { size, modified } = entryOf(path, facts);
    if (options.ifMatch && !isSameVersion({ size, modified }, options.ifMatch)) {
      throw new WaybillError('conflict', `${path}: changed since it was listed`, { operation: 'opening', path });
    }
    return new LocalSource(path, file, { size, modified });
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function remove(root: Root, path: string, signal: AbortSignal): Promise<void> {
  throwIfCancelled(signal);
  try {
    const real = await root.entry(path);
    await naming('removing', path, () => unlink(real));
    await naming('removing', path, () => root.syncFolder(dirname(real)));
  } catch (error) {
    if (!(error instanceof WaybillError) || error.kind !== 'not-found') throw error;
  }
}

async function removeFolder(root: Root, path: string, signal: AbortSignal): Promise<void> {
  throwIfCancelled(signal);
  try {
    const real = await root.entry(path);
    await naming('removing', path, () => rmdir(real));
  } catch (error) {
    if (!(error instanceof WaybillError) || error.kind !== 'not-found') throw error;
  }
}

async function move(root: Root, from: string, to: string, replace: boolean, signal: AbortSignal): Promise<void> {
  throwIfCancelled(signal);
  const realFrom = await root.entry(from);
  // Looked at before folders are made for `to`: a move of nothing leaves no empty folder behind.
  await naming('renaming', from, async () => refuseFolder(from, await stat(realFrom)));
  const realTo = await root.entryToWrite(to);
  if (realFrom === realTo) return;
  if (replace) await naming('renaming', to, () => rename(realFrom, realTo));
  else await naming('renaming', to, () => publishNew(realFrom, realTo));
  await naming('renaming', to, () => root.syncFolder(dirname(realTo)));
  if (dirname(realFrom) !== dirname(realTo)) await naming('renaming', from, () => root.syncFolder(dirname(realFrom)));
}

function refuseFolder(path: string, facts: { isDirectory(): boolean }): void {
  if (facts.isDirectory()) throw new WaybillError('invalid', `${path}: is a folder; only files are renamed`, { path });
}
