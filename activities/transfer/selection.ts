import { evaluateCondition } from '../../language/evaluate.ts';
import { globMatcher } from '../../language/location.ts';
import type { ListedFile } from '../../prisma/ledger.ts';
import { asWaybillError, WaybillError } from '../../schema/errors.ts';
import { baseName } from '../../schema/paths.ts';
import type { FileFact, Json } from '../../schema/plan.ts';
import { parseDurationMs, parseSizeBytes } from '../../schema/quantities.ts';
import { choose, readGlobs } from './options.ts';

const linkRules = ['follow', 'skip', 'refuse'] as const;

/** Which of the files that a listing finds are meant. */
export interface Selection {
  links: (typeof linkRules)[number];
  /** By the path alone, before anything else is known of the file. */
  takesPath(path: string): boolean;
  /**
   * By size, age and condition. Throws invalid when `where` cannot be decided for the file, which the message names, and
   * unsupported when its age is asked for and the server does not say when it was modified.
   */
  takes(file: ListedFile): boolean;
}

/** The selection that a filled `with` asks for, of files at that endpoint. Ages count until `now`. Throws invalid. */
export function readSelection(given: Record<string, Json>, endpoint: string, now: Date): Selection {
  const include = readGlobs(given.include, 'include');
  const exclude = readGlobs(given.exclude, 'exclude');
  const isIncluded = include.length === 0 ? () => true : globMatcher(include);
  const isExcluded = exclude.length === 0 ? () => false : globMatcher(exclude);
  const conditions = [
    readSizes(given),
    readAges(given, endpoint, now.getTime()),
    readWhere(given.where, endpoint),
  ].filter((condition) => condition !== null);
  return {
    links: choose(given, 'links', linkRules),
    takesPath: (path) => isIncluded(path) && !isExcluded(path),
    takes: (file) => conditions.every((takes) => takes(file)),
  };
}

type Condition = (file: ListedFile) => boolean;

function readSizes(given: Record<string, Json>): Condition | null {
  const least = readQuantity(given, 'minSize', parseSizeBytes, 'a size such as 10KB');
  const most = readQuantity(given, 'maxSize', parseSizeBytes, 'a size such as 10KB');
  if (least === null && most === null) return null;
  refuseReversed(least, most, 'Size');
  return ({ size }) => size >= (least ?? 0) && size <= (most ?? Number.MAX_SAFE_INTEGER);
}

function readAges(given: Record<string, Json>, endpoint: string, nowMs: number): Condition | null {
  const least = readQuantity(given, 'minAge', parseDurationMs, 'a duration such as 5m');
  const most = readQuantity(given, 'maxAge', parseDurationMs, 'a duration such as 5m');
  if (least === null && most === null) return null;
  refuseReversed(least, most, 'Age');
  return ({ path, modified }) => {
    if (modified === null)
      throw new WaybillError(
        'unsupported',
        'the server does not say when the file was modified: leave `minAge` and `maxAge` out',
        { operation: 'listing', endpoint, path },
      );
    const ageMs = nowMs - Date.parse(modified);
    return ageMs >= (least ?? Number.NEGATIVE_INFINITY) && ageMs <= (most ?? Number.POSITIVE_INFINITY);
  };
}

function readQuantity(
  given: Record<string, Json>,
  field: string,
  parse: (text: string) => number | undefined,
  form: string,
): number | null {
  const value = given[field];
  if (value === undefined || value === null) return null;
  const quantity = typeof value === 'string' ? parse(value) : undefined;
  if (quantity === undefined)
    throw new WaybillError('invalid', `${field} is ${JSON.stringify(value)}; it must be ${form}`, { field });
  return quantity;
}

function refuseReversed(least: number | null, most: number | null, what: 'Size' | 'Age'): void {
  if (least !== null && most !== null && least > most)
    throw new WaybillError('invalid', `min${what} is more than max${what}: no file can match`, { field: `min${what}` });
}

function readWhere(cel: Json | undefined, endpoint: string): Condition | null {
  if (cel === undefined || cel === null) return null;
  if (typeof cel === 'boolean') return () => cel;
  if (typeof cel !== 'string') throw new WaybillError('invalid', '`where` must be an expression', { field: 'where' });
  return (file) => {
    try {
      return evaluateCondition(cel, { file: asFact(file, endpoint) });
    } catch (error) {
      const { kind, message } = asWaybillError(error);
      throw new WaybillError(kind, `\`where\` for ${file.path}: ${message}`, {
        endpoint,
        path: file.path,
        cause: error,
      });
    }
  };
}

/** A listed file, as expressions see it. */
export function asFact(file: ListedFile, endpoint: string): FileFact {
  return { endpoint, path: file.path, name: baseName(file.path), size: file.size, modified: file.modified };
}
