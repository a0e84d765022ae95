// Unpacks the .tgz of `npm pack` without a dependency.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { BootstrapError } from './progress.mjs';

const blockBytes = 512;
const executable = 0o111;

/** Writes the files of the archive below `folder`, without their first folder (`package/`). Throws for a path that would leave it. */
export function unpack(archive, folder) {
  for (const { path, mode, content } of readTar(gunzipSync(archive))) {
    const relative = path.split('/').slice(1);
    if (relative.length === 0 || relative.some((part) => part === '..' || part === '')) {
      throw new BootstrapError(`the archive holds the path ${JSON.stringify(path)}, which is refused`);
    }
    const target = join(folder, ...relative);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, content, { mode: mode & executable ? 0o755 : 0o644 });
  }
}

/** The regular files of a tar archive (ustar, with the long names of pax headers). */
function* readTar(bytes) {
  let longPath;
  for (let at = 0; at + blockBytes <= bytes.length && bytes[at] !== 0; ) {
    const header = bytes.subarray(at, at + blockBytes);
    const size = Number.parseInt(text(header, 124, 12), 8) || 0;
    const content = bytes.subarray(at + blockBytes, at + blockBytes + size);
    const type = String.fromCharCode(header[156] || 0x30);
    const prefix = text(header, 345, 155);
    if (type === 'x') longPath = /(?:^|\n)\d+ path=([^\n]*)/.exec(content.toString('utf8'))?.[1];
    if (type === '0') {
      const path = longPath ?? (prefix === '' ? text(header, 0, 100) : `${prefix}/${text(header, 0, 100)}`);
      yield { path, mode: Number.parseInt(text(header, 100, 8), 8), content };
    }
    if (type !== 'x' && type !== 'g') longPath = undefined;
    at += blockBytes * (1 + Math.ceil(size / blockBytes));
  }
}

function text(header, start, length) {
  const field = header.subarray(start, start + length).toString('utf8');
  const end = field.indexOf('\0');
  return (end < 0 ? field : field.slice(0, end)).trim();
}
