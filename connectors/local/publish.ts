import { link, rename, stat, unlink } from 'node:fs/promises';
import { basename } from 'node:path';
import { WaybillError } from '../../schema/errors.ts';
import { hasCode } from './failures.ts';

/** Gives a finished temporary file its final name, atomically. Throws exists (see `replace`), with `replace` too for a folder. */
export async function publishTemporary(
  temporary: string,
  target: string,
  path: string,
  replace: boolean,
): Promise<void> {
  if (!replace) return publishNew(temporary, target);
  try {
    await rename(temporary, target);
  } catch (error) {
    if (!hasCode(error, 'EISDIR')) throw error;
    throw new WaybillError('exists', `${path}: is a folder`, { operation: 'publishing', path });
  }
}

/**
 * Gives `from` the name `to` only when `to` is free, atomically: a second name, then the first one removed. Killed
 * between the two, it is finished by the next call, which sees that both names are one file. Throws EEXIST.
 */
export async function publishNew(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    if (hasCode(error, 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS')) return renameIfFree(from, to);
    if (!hasCode(error, 'EEXIST') || !(await isOneFile(from, to))) throw error;
  }
  await unlink(from);
}

/** For filesystems without hard links (FAT, some network ones): a look and a rename, the best there is. */
async function renameIfFree(from: string, to: string): Promise<void> {
  const taken = await stat(to).then(
    () => true,
    (error) => !hasCode(error, 'ENOENT'),
  );
  if (taken) throw Object.assign(new Error(`${basename(to)} exists`), { code: 'EEXIST' });
  await rename(from, to);
}

async function isOneFile(one: string, other: string): Promise<boolean> {
  const [first, second] = await Promise.all([stat(one, { bigint: true }), stat(other, { bigint: true })]);
  return first.ino === second.ino && first.dev === second.dev;
}
