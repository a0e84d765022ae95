import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import path from 'node:path';
import { WaybillError } from '../../schema/errors.ts';

const maxFiles = 20_000;
const maxBytes = 512 * 1024 * 1024;

/**
 * The SHA-256, in hexadecimal, over every file below a folder: for each, in the order of the bytes of its relative path, a line
 * with path and size, then its content. `node_modules` belongs to it. Throws not-found, and invalid for a symbolic link, for
 * what is neither file nor folder, and for more than 20,000 files or 512 MiB.
 */
export async function fingerprintFolder(folder: string): Promise<string> {
  const files = await filesBelow(folder);
  const hash = createHash('sha256');
  let totalBytes = 0;
  for (const { relative, size } of files.sort(byBytes)) {
    totalBytes += size;
    if (totalBytes > maxBytes) throw tooMuch(folder, `${maxBytes / 2 ** 20} MiB`);
    hash.update(`${JSON.stringify(relative)} ${size}\n`);
    for await (const chunk of createReadStream(path.join(folder, relative))) hash.update(chunk as Buffer);
  }
  return hash.digest('hex');
}

async function filesBelow(folder: string): Promise<{ relative: string; size: number }[]> {
  const files: { relative: string; size: number }[] = [];
  const waiting = [''];
  for (let below = waiting.pop(); below !== undefined; below = waiting.pop()) {
    for (const entry of await readFolder(path.join(folder, below))) {
      const relative = path.posix.join(below, entry.name);
      if (entry.isDirectory()) waiting.push(relative);
      else if (entry.isFile()) files.push({ relative, size: (await lstat(path.join(folder, relative))).size });
      else
        throw new WaybillError(
          'invalid',
          `plugin ${folder}: ${relative} is a link or no file; put copies there, so that what is pinned is what is loaded`,
        );
      if (files.length > maxFiles) throw tooMuch(folder, `${maxFiles} files`);
    }
  }
  return files;
}

async function readFolder(folder: string) {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new WaybillError(
      code === 'ENOENT' ? 'not-found' : 'invalid',
      `plugin folder ${folder} cannot be read (${code})`,
      {
        cause,
      },
    );
  }
}

function byBytes(one: { relative: string }, other: { relative: string }): number {
  return Buffer.compare(Buffer.from(one.relative), Buffer.from(other.relative));
}

function tooMuch(folder: string, limit: string): WaybillError {
  return new WaybillError('invalid', `plugin ${folder} has more than ${limit}; leave out what it does not need`);
}
