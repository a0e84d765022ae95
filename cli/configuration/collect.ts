import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { SourceFile } from '../../language/check.ts';
import { WaybillError } from '../../schema/errors.ts';

/** More than this in one go is a mistaken path, such as a home folder. */
const maxFiles = 10_000;
const maxDepth = 32;

/**
 * The YAML files of these paths, folders with all that is below them (but hidden folders and node_modules), each once, in a
 * stable order. Throws invalid when a path does not exist or cannot be read.
 */
export async function collectFiles(paths: readonly string[]): Promise<SourceFile[]> {
  const found = new Set<string>();
  for (const path of paths) await collect(path, true, 0, found);
  return Promise.all([...found].map(async (file) => ({ file, text: await readText(file) })));
}

async function collect(path: string, named: boolean, depth: number, found: Set<string>): Promise<void> {
  const facts = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    throw new WaybillError(
      'invalid',
      cause.code === 'ENOENT' ? `${path} does not exist` : `cannot read ${path}: ${cause.code}`,
    );
  });
  if (!facts.isDirectory()) {
    if (named || /\.ya?ml$/.test(path)) found.add(path);
    if (found.size > maxFiles)
      throw new WaybillError('invalid', `more than ${maxFiles} YAML files; name a smaller folder`);
    return;
  }
  if (depth >= maxDepth) throw new WaybillError('invalid', `${path} is more than ${maxDepth} folders deep`);
  for (const entry of (await readdir(path, { withFileTypes: true })).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.name.startsWith('.') || entry.name === 'node_modules') continue;
    // A link out of the tree could lead anywhere, or round in a circle: links to files only.
    if (entry.isDirectory()) await collect(join(path, entry.name), false, depth + 1, found);
    else if (/\.ya?ml$/.test(entry.name)) await collect(join(path, entry.name), false, maxDepth, found);
  }
}

async function readText(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw new WaybillError('invalid', `cannot read ${file}: ${cause.code}`);
  });
}
