import type { Connector, Entry } from '../../connectors/contract.ts';
import { globBase, globMatcher, type Location } from '../../language/location.ts';
import type { ListedFile } from '../../prisma/ledger.ts';
import { WaybillError } from '../../schema/errors.ts';
import { statIfThere } from './relocate.ts';

export interface ListingTerms {
  from: Location;
  /** Leaves a file out. */
  isExcluded(path: string): boolean;
}

/** The folder below which the paths of a listing are kept: the fixed part of a glob, or the folder of a single file. */
export function listingBase({ path, glob }: Location): string {
  if (glob !== null) return globBase(glob);
  return path!.slice(0, Math.max(1, path!.lastIndexOf('/')));
}

/** Terms of a listing that leaves out what the globs of `exclude` match. Throws invalid for a bad glob. */
export function listingTerms(from: Location, exclude: string[]): ListingTerms {
  return { from, isExcluded: exclude.length === 0 ? () => false : globMatcher(exclude) };
}

/**
 * The files at a location, in pages: the one of a path, or those that match a glob. Links are followed. Throws not-found
 * for an absent path and for a glob whose folder is absent, invalid when the path is a folder.
 */
export async function* listLocation(
  connector: Connector,
  { from, isExcluded }: ListingTerms,
  signal: AbortSignal,
): AsyncIterable<ListedFile[]> {
  if (from.path !== null) {
    const entry = await connector.stat(from.path, signal);
    if (entry.kind !== 'file')
      throw new WaybillError('invalid', 'is a folder; name a file, or a glob', {
        endpoint: from.endpoint,
        path: from.path,
      });
    if (!isExcluded(from.path)) yield [asFile(from.path, entry)];
    return;
  }
  const glob = from.glob!;
  const base = globBase(glob);
  const matches = globMatcher([glob]);
  for await (const page of connector.list(base, { recursive: goesDeeper(glob, base) }, signal)) {
    const wanted = page.filter(
      ({ kind, path }) => (kind === 'file' || kind === 'link') && matches(path) && !isExcluded(path),
    );
    const files = await Promise.all(wanted.map((entry) => resolveLink(connector, entry, signal)));
    yield files.filter((file) => file !== null);
  }
}

/** Whether the glob reaches below its base: its variable part has more than one segment, or `**`, or braces that may hold a slash. */
function goesDeeper(glob: string, base: string): boolean {
  const variable = glob.slice(base === '/' ? 1 : base.length + 1);
  return variable.includes('/') || variable.includes('**');
}

/** A link counts as the file it leads to; one that leads nowhere, or out of the root, is left out. */
async function resolveLink(connector: Connector, entry: Entry, signal: AbortSignal): Promise<ListedFile | null> {
  if (entry.kind === 'file') return asFile(entry.path, entry);
  try {
    const found = await statIfThere(connector, entry.path, signal);
    return found?.kind === 'file' ? asFile(entry.path, found) : null;
  } catch (error) {
    if (error instanceof WaybillError && error.kind === 'forbidden') return null;
    throw error;
  }
}

function asFile(path: string, { size, modified }: Entry): ListedFile {
  return { path, size, modified };
}
