import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** Makes files of one byte below a folder that a server serves: much faster than through it. */
export async function makeFilesBelow(root: string, paths: readonly string[]): Promise<void> {
  for (const folder of new Set(paths.map((path) => dirname(path))))
    await mkdir(join(root, folder), { recursive: true });
  for (const path of paths) await writeFile(join(root, path), Buffer.alloc(1));
}
