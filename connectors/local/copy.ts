import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { copyFile as copyBytes, type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { throwIfCancelled } from '../../network/cancellation.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { CopyOptions, Entry, Version } from '../contract.ts';
import { isSameVersion, temporaryPath } from '../temporary.ts';
import { naming } from './failures.ts';
import { entryOf } from './listing.ts';
import { publishTemporary } from './publish.ts';
import type { Root } from './root.ts';
import { unlinkIfThere } from './sink.ts';

/** The filesystem copies, by sharing blocks where it can, into a temporary file; that is made durable and published. */
export async function copyFile(
  root: Root,
  from: string,
  to: string,
  { replace, ifMatch }: CopyOptions,
  signal: AbortSignal,
): Promise<Entry> {
  throwIfCancelled(signal);
  const real = await root.existing(from);
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const source = await naming('copying', from, () => open(real, flags));
  try {
    const version = await versionOf(source, from);
    if (ifMatch && !isSameVersion(version, ifMatch)) throw changed(from);
    const target = await root.entryToWrite(to);
    const temporary = await root.entry(temporaryPath(to, randomUUID()));
    try {
      // Exclusive: were there a link of that name, it would be followed. A copy that has begun cannot be cancelled.
      await naming('copying', to, () => copyBytes(pathOf(source, real), temporary, copyFlags));
      throwIfCancelled(signal);
      if (!isSameVersion(await versionOf(source, from), version)) throw changed(from);
      const entry = await naming('copying', to, () => makeDurable(temporary, to, version));
      await naming('publishing', to, () => publishTemporary(temporary, target, to, replace));
      await naming('publishing', to, () => root.syncFolder(dirname(target)));
      return entry;
    } catch (error) {
      await unlinkIfThere(temporary);
      throw error;
    }
  } finally {
    await source.close();
  }
}

const copyFlags = constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL;

/** Names what was opened and looked at, whatever has by now been put in its place. Only Linux has such a name. */
function pathOf(handle: FileHandle, real: string): string {
  return process.platform === 'linux' ? `/proc/self/fd/${handle.fd}` : real;
}

async function versionOf(source: FileHandle, path: string): Promise<Version> {
  const facts = await naming('copying', path, () => source.stat());
  if (!facts.isFile()) throw new WaybillError('invalid', `${path}: is not a file`, { operation: 'copying', path });
  const { size, modified } = entryOf(path, facts);
  return { size, modified };
}

async function makeDurable(temporary: string, path: string, { size, modified }: Version): Promise<Entry> {
  const handle = await open(temporary, constants.O_RDWR | constants.O_NOFOLLOW);
  try {
    if (modified !== null) await handle.utimes(new Date(modified), new Date(modified));
    await handle.sync();
    const entry = entryOf(path, await handle.stat());
    if (entry.size !== size)
      throw new WaybillError('integrity', `${path}: has ${entry.size} bytes, but its source ${size}`, { path });
    return entry;
  } finally {
    await handle.close();
  }
}

function changed(path: string): WaybillError {
  return new WaybillError('conflict', `${path}: changed since it was listed`, { operation: 'copying', path });
}
