import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

const atOnce = 100;

/** Makes files of one byte below a folder that a server serves: much faster than through it. */
export async function makeFilesBelow(root: string, paths: readonly string[]): Promise<void> {
  for (const folder of new Set(paths.map((path) => dirname(path))))
    await mkdir(join(root, folder), { recursive: true });
  for (let at = 0; at < paths.length; at += atOnce)
    await Promise.all(paths.slice(at, at + atOnce).map((path) => writeFile(join(root, path), Buffer.alloc(1))));
}
