import { randomBytes } from 'node:crypto';
import { access, constants, open, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { WaybillError } from '../../schema/errors.ts';

/**
 * Replaces the content of a file as one: whoever reads it sees the old or the new text, also after a crash. Its mode and, where
 * that is allowed, its owner stay; a symbolic link stays one. Throws forbidden when the file must not be written, internal for the rest.
 */
export async function replaceFile(path: string, text: string): Promise<void> {
  const target = await realpath(path);
  await access(target, constants.W_OK).catch(() => {
    throw new WaybillError('forbidden', `${path} is read-only`);
  });
  const { mode, uid, gid } = await stat(target);
  const temporary = join(dirname(target), `.${basename(target)}.${randomBytes(6).toString('hex')}.tmp`);
  try {
    const handle = await open(temporary, 'wx', 0o600);
    try {
      await handle.writeFile(text);
      // Only root may give a file away; for others it is their own from here on.
      await handle.chown(uid, gid).catch(() => undefined);
      await handle.chmod(mode & 0o7777);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, target);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw new WaybillError('internal', `cannot write ${path}`, { cause });
  }
}
