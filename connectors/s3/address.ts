import { WaybillError } from '../../schema/errors.ts';
import { baseName, joinPath, normalisePath } from '../../schema/paths.ts';
import type { Entry } from '../contract.ts';

/** The key of a file. Throws invalid for a folder, and for whatever leaves the prefix. */
export function fileKey(prefix: string, path: string): string {
  const normal = normalisePath(path);
  if (normal.endsWith('/')) throw new WaybillError('invalid', `${path}: is a folder`, { field: 'path' });
  return prefix + normal.slice(1);
}

/** What the keys below a folder begin with: empty, or with a `/` at the end. Throws invalid for whatever leaves the prefix. */
export function folderKey(prefix: string, folder: string): string {
  const normal = normalisePath(folder);
  if (normal === '/') return prefix;
  return `${prefix}${normal.slice(1)}${normal.endsWith('/') ? '' : '/'}`;
}

/** The path of a key below the prefix; undefined for a key that no path can name, such as `a//b` or `../a`. */
export function pathOfKey(prefix: string, key: string): string | undefined {
  const text = key.slice(prefix.length);
  try {
    const path = joinPath('/', text);
    return path === `/${text}` ? path : undefined;
  } catch {
    return undefined;
  }
}

export function folderEntry(path: string): Entry {
  return { path, name: baseName(path), kind: 'folder', size: 0, modified: null };
}

/** `/bucket/a%20b`, as it is signed and sent. */
export function encodePath(path: string): string {
  return path.split('/').map(encodeStrictly).join('/');
}

/** `uploads=&key=a%2Fb`, as it is signed and sent. */
export function encodeQuery(query: Readonly<Record<string, string>>): string {
  return Object.keys(query)
    .sort()
    .map((name) => `${encodeStrictly(name)}=${encodeStrictly(query[name]!)}`)
    .join('&');
}

/** All but the unreserved characters of RFC 3986, which is what Signature Version 4 wants. */
function encodeStrictly(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (each) => `%${each.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** The text behind `encoding-type=url`, in which a space is a plus. Throws protocol when it is no such text. */
export function decodeListed(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    throw new WaybillError('protocol', `the server lists a key that is not encoded as asked for`, {
      operation: 'listing',
    });
  }
}
