import { WaybillError } from './errors.ts';

/** The longest file name, in UTF-8 bytes, and the longest path, that any entry point accepts. */
export const maxNameBytes = 255;
export const maxPathBytes = 4096;

/**
 * The one normaliser of paths: every entry point uses it, so that what is checked is what is opened.
 * Gives an absolute path below the endpoint's root (`/out/a.csv`), slashes collapsed, a trailing slash kept.
 * Throws `invalid` for `.` and `..` segments, control characters, lone surrogates and over-long names.
 */
export function normalisePath(path: string): string {
  if (path.length === 0) throw invalidPath(path, 'is empty');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
  if (/[\u0000-\u001f\u007f]/.test(path)) throw invalidPath(path, 'holds a control character');
  if (!path.isWellFormed()) throw invalidPath(path, 'is not valid Unicode');
  const segments = path.split('/').filter((segment) => segment !== '');
  for (const segment of segments) {
    if (segment === '.' || segment === '..')
      throw invalidPath(path, `holds a "${segment}" segment; a path cannot leave the endpoint's root`);
    if (utf8Bytes(segment) > maxNameBytes) throw invalidPath(path, `holds a name of more than ${maxNameBytes} bytes`);
  }
  const normal = `/${segments.join('/')}${path.endsWith('/') && segments.length > 0 ? '/' : ''}`;
  if (utf8Bytes(normal) > maxPathBytes) throw invalidPath(path, `has more than ${maxPathBytes} bytes`);
  return normal;
}

/** The last segment of a normalised path: `a.csv` of `/out/a.csv`. */
export function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** The folder of a normalised path, without a trailing slash but for the root: `/out` of `/out/a.csv`, `/` of `/a.csv`. */
export function parentFolder(path: string): string {
  return path.slice(0, Math.max(1, path.lastIndexOf('/')));
}

/** Joins a normalised folder and a relative path. */
export function joinPath(folder: string, relative: string): string {
  return normalisePath(`${folder}/${relative}`);
}

function invalidPath(path: string, why: string): WaybillError {
  return new WaybillError('invalid', `path ${JSON.stringify(path.slice(0, 300))} ${why}`, { field: 'path' });
}

function utf8Bytes(text: string): number {
  let bytes = 0;
  for (const character of text) {
    const code = character.codePointAt(0)!;
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  }
  return bytes;
}
