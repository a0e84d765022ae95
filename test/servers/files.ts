import { mkdir, open, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

const atOnce = 100;

/** Makes files of one byte below a folder that a server serves: much faster than through it. */
export async function makeFilesBelow(root: string, paths: readonly string[]): Promise<void> {
  for (const folder of new Set(paths.map((path) => dirname(path))))
    await mkdir(join(root, folder), { recursive: true });
  for (let at = 0; at < paths.length; at += atOnce)
    await Promise.all(paths.slice(at, at + atOnce).map((path) => writeFile(join(root, path), Buffer.alloc(1))));
}

/** Makes a file of so many bytes below such a folder: zeros that take no room, and an `x` at each of the places. */
export async function makeSparseBelow(
  root: string,
  path: string,
  bytes: number,
  places: readonly number[],
): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  const file = await open(join(root, path), 'w');
  await file.truncate(bytes);
  for (const place of places) await file.write('x', place);
  await file.close();
}
