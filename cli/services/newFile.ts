import { type FileHandle, open, rm } from 'node:fs/promises';
import { WaybillError } from '../../schema/errors.ts';

/**
 * Does the work with a new file, for its owner's eyes only, to write the secret into that the work makes. The file is there
 * first: where none can be written nothing is made that could be shown only once. It goes again when the work fails. Throws
 * exists for a file that is there, invalid for a place where none can be, and as the work does.
 */
export async function withNewFile<Result>(
  file: string,
  work: (write: (text: string) => Promise<void>) => Promise<Result>,
): Promise<Result> {
  const handle = await openNew(file);
  try {
    return await work((text) => handle.writeFile(text));
  } catch (error) {
    await rm(file, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
}

async function openNew(file: string): Promise<FileHandle> {
  try {
    return await open(file, 'wx', 0o600);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'EEXIST')
      throw new WaybillError('exists', `${file} is there already; name a new file for the key`, { cause });
    throw new WaybillError('invalid', `${file} cannot be written (${code}); name a file in a folder that is there`, {
      cause,
    });
  }
}
