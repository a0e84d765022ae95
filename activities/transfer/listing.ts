import type { Connector, Entry } from '../../connectors/contract.ts';
import { globBase, globMatcher, type Location } from '../../language/location.ts';
import type { ListedFile } from '../../prisma/ledger.ts';
import { WaybillError } from '../../schema/errors.ts';
import { parentFolder } from '../../schema/paths.ts';
import { statIfThere } from './relocate.ts';
import type { Selection } from './selection.ts';

/** The folder below which the paths of a listing are kept: the fixed part of a glob, or the folder of a single file. */
export function listingBase({ path, glob }: Location): string {
  return glob === null ? parentFolder(path!) : globBase(glob);
}

/**
 * The selected files at a location, in pages: the one of a path, or those that match a glob. Throws not-found for an
 * absent path and for a glob whose folder is absent, invalid when the path is a folder, and for a link that is refused;
 * and as `Selection.takes` does.
 */
export async function* listLocation(
  connector: Connector,
  from: Location,
  selection: Selection,
  signal: AbortSignal,
): AsyncIterable<ListedFile[]> {
  if (from.path !== null) {
    const file = await findFile(connector, from.endpoint, from.path, selection, signal);
    if (file !== null && selection.takes(file)) yield [file];
    return;
  }
  const glob = from.glob!;
  const base = globBase(glob);
  const matches = globMatcher([glob]);
  for await (const page of connector.list(base, { recursive: goesDeeper(glob, base) }, signal)) {
    const wanted = page.filter(
      ({ kind, path }) => (kind === 'file' || kind === 'link') && matches(path) && selection.takesPath(path),
    );
    const files = await Promise.all(
      wanted.map((entry) => resolve(connector, from.endpoint, entry, selection.links, signal)),
    );
    yield files.filter((file) => file !== null && selection.takes(file)) as ListedFile[];
  }
}

/** Whether the glob reaches below its base: its variable part has more than one segment, or `**`, or braces that may hold a slash. */
function goesDeeper(glob: string, base: string): boolean {
  const variable = glob.slice(base === '/' ? 1 : base.length + 1);
  return variable.includes('/') || variable.includes('**');
}

async function findFile(
  connector: Connector,
  endpoint: string,
  path: string,
  selection: Selection,
  signal: AbortSignal,
): Promise<ListedFile | null> {
  const entry = await connector.stat(path, signal);
  if (entry.kind !== 'file')
    throw new WaybillError('invalid', 'is a folder; name a file, or a glob', { endpoint, path });
  if (!selection.takesPath(path)) return null;
  if (selection.links === 'follow' || !(await isLink(connector, path, signal))) return asFile(path, entry);
  return resolve(connector, endpoint, { ...entry, path, kind: 'link' }, selection.links, signal);
}

/** `stat` follows links: what a path itself is can be seen in its folder only. */
async function isLink(connector: Connector, path: string, signal: AbortSignal): Promise<boolean> {
  for await (const page of connector.list(parentFolder(path), { recursive: false }, signal)) {
    const entry = page.find((each) => each.path === path);
    if (entry !== undefined) return entry.kind === 'link';
  }
  return false;
}

/** A link that is followed counts as the file it leads to; one that leads nowhere, in a circle, or out of the root is left out. */
async function resolve(
  connector: Connector,
  endpoint: string,
  entry: Entry,
  links: Selection['links'],
  signal: AbortSignal,
): Promise<ListedFile | null> {
  if (entry.kind === 'file') return asFile(entry.path, entry);
  if (links === 'skip') return null;
  if (links === 'refuse')
    throw new WaybillError('invalid', 'is a symbolic link, and the step says `links: refuse`', {
      operation: 'listing',
      endpoint,
      path: entry.path,
    });
  try {
    const found = await statIfThere(connector, entry.path, signal);
    return found?.kind === 'file' ? asFile(entry.path, found) : null;
  } catch (error) {
    if (error instanceof WaybillError && error.kind === 'forbidden') return null;
    throw error;
  }
}

function asFile(path: string, { size, modified, etag }: Entry): ListedFile {
  return { path, size, modified, ...(etag !== undefined && { etag }) };
}
