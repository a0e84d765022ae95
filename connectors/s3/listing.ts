import { WaybillError } from '../../schema/errors.ts';
import { normalisePath, parentFolder } from '../../schema/paths.ts';
import type { Entry, ListOptions } from '../contract.ts';
import { isoTime } from '../temporary.ts';
import { decodeListed, folderEntry, folderKey, pathOfKey } from './address.ts';
import type { Bucket } from './bucket.ts';
import { entryOf, etagOf } from './objects.ts';
import { limits } from './settings.ts';
import { type Element, listOf, readXml, textOf } from './xml.ts';

/**
 * Keys come in the order of their bytes, a thousand to a page. Folders are what the keys say: recursively, a folder comes just before the
 * first key below it. No key below a folder is an empty folder, since S3 does not tell it from an absent one.
 */
export async function* listFolder(
  bucket: Bucket,
  folder: string,
  options: ListOptions,
  signal: AbortSignal,
): AsyncIterable<Entry[]> {
  const { after } = options;
  const walk = new Walk(bucket, normalisePath(folder), after === undefined ? undefined : normalisePath(after));
  const start = after === undefined ? {} : { 'start-after': bucket.keyOf(after) };
  let query: Record<string, string> = start;
  for (;;) {
    const result = await askPage(bucket, folder, { ...query, ...(!options.recursive && { delimiter: '/' }) }, signal);
    const page = walk.read(result);
    if (page.length > 0) yield page;
    const token = textOf(result, 'NextContinuationToken');
    if (textOf(result, 'IsTruncated') !== 'true') return;
    if (token === '' || token === query['continuation-token'])
      throw new WaybillError('protocol', `${folder}: the server lists without end`, {
        operation: 'listing',
        path: folder,
      });
    query = { 'continuation-token': token };
  }
}

async function askPage(
  bucket: Bucket,
  folder: string,
  query: Record<string, string>,
  signal: AbortSignal,
): Promise<Element> {
  const fixed = {
    'list-type': '2',
    prefix: bucket.folderOf(folder),
    'encoding-type': 'url',
    'max-keys': String(limits.listEntries),
  };
  const ask = { method: 'GET', query: { ...fixed, ...query }, operation: 'listing', path: folder } as const;
  return readXml((await bucket.ask(ask, signal)).text, 'ListBucketResult');
}

class Walk {
  readonly #bucket: Bucket;
  readonly #folder: string;
  readonly #after: string | undefined;
  /** The folder of the last key; those above it have been shown. */
  #shown: string;

  constructor(bucket: Bucket, folder: string, after: string | undefined) {
    this.#bucket = bucket;
    this.#folder = folder === '/' ? '/' : folder.replace(/\/$/, '');
    this.#after = after;
    this.#shown = after === undefined ? this.#folder : parentFolder(after);
  }

  read(result: Element): Entry[] {
    const decode = textOf(result, 'EncodingType') === 'url' ? decodeListed : (text: string) => text;
    const files = listOf(result, 'Contents').map((element) => ({ key: decode(textOf(element, 'Key')), element }));
    const folders = listOf(result, 'CommonPrefixes').map((element) => ({
      key: decode(textOf(element, 'Prefix')),
      element: null,
    }));
    const found = folders.length === 0 ? files : [...files, ...folders].sort(byBytes);
    return found.flatMap(({ key, element }) => this.#entriesOf(key, element));
  }

  #entriesOf(key: string, element: Element | null): Entry[] {
    const { prefix } = this.#bucket.settings;
    if (key === folderKey(prefix, this.#folder)) return [];
    const path = pathOfKey(prefix, key);
    if (path === undefined) {
      this.#bucket.log.warn(
        { operation: 'listing', folder: this.#folder, name: JSON.stringify(key.slice(0, 1_100)) },
        'left out a key that cannot be used as a path',
      );
      return [];
    }
    const folders = this.#newFolders(path.endsWith('/') ? path.slice(0, -1) : parentFolder(path));
    return path.endsWith('/') || element === null ? folders : [...folders, fileEntry(path, element)];
  }

  /** Keys of one folder follow each other, so that it is enough to know the last one. */
  #newFolders(folder: string): Entry[] {
    const missing: Entry[] = [];
    for (let path = folder; path !== this.#folder && !isWithin(this.#shown, path); path = parentFolder(path)) {
      if (path !== this.#after) missing.unshift(folderEntry(path));
    }
    this.#shown = folder;
    return missing;
  }
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

function fileEntry(path: string, element: Element): Entry {
  const modifiedMs = Date.parse(textOf(element, 'LastModified'));
  return {
    ...entryOf(path, { 'content-length': textOf(element, 'Size') }),
    // In whole seconds, as HEAD says it.
    modified: Number.isNaN(modifiedMs) ? null : isoTime(Math.floor(modifiedMs / 1000) * 1000),
    ...etagOf(textOf(element, 'ETag')),
  };
}

function byBytes(left: { key: string }, right: { key: string }): number {
  return Buffer.compare(Buffer.from(left.key), Buffer.from(right.key));
}
