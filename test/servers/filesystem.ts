import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A filesystem of its own, in memory. */
export interface SmallFilesystem {
  folder: string;
  /** From now on nothing on it can be changed, by root neither. */
  makeReadOnly(): Promise<void>;
  makeWritable(): Promise<void>;
  /** There is room for so much from now on, such as `64m`. */
  grow(size: string): Promise<void>;
  remove(): Promise<void>;
}

/** Why this machine mounts nothing for us, or undefined when it does. Tests that need a filesystem of their own say it when they skip. */
export async function whyNoFilesystem(): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'a small filesystem is a tmpfs, and this is not Linux';
  try {
    await (await mountSmall('1m')).remove();
    return undefined;
  } catch (error) {
    return `a small filesystem takes the right to mount a tmpfs (root): ${(error as Error).message.trim().split('\n').at(-1)}`;
  }
}

/** Mounts a tmpfs of that size, such as `6m`, over the folder or over one of its own. Throws where that is not allowed. */
export async function mountSmall(size: string, over?: string): Promise<SmallFilesystem> {
  const folder = over ?? (await mkdtemp(path.join(tmpdir(), 'waybill-small-')));
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=0777`, 'waybill-test', folder]);
  } catch (error) {
    await rm(folder, { recursive: true });
    throw error;
  }
  const remount = (how: string) => run('mount', ['-o', `remount,${how}`, folder]);
  return {
    folder,
    makeReadOnly: async () => void (await remount('ro')),
    makeWritable: async () => void (await remount('rw')),
    grow: async (size) => void (await remount(`size=${size}`)),
    async remove() {
      // A server that is just ending may still stand in it.
      await run('umount', ['--lazy', folder]);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Shows the folder at another place too; gives what ends that. */
export async function showAt(place: string, folder: string): Promise<() => Promise<void>> {
  await run('mount', ['--bind', folder, place]);
  return async () => void (await run('umount', ['--lazy', place]));
}
