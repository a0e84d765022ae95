import { WaybillError } from '../schema/errors.ts';
import { maxPathBytes, normalisePath } from '../schema/paths.ts';
import type { Json } from '../schema/plan.ts';
import { compileGlob, hasGlobSigns } from './glob.ts';

/** A place at an endpoint. Exactly one of `path` and `glob` is set, and normalised. */
export interface Location {
  alias: string;
  endpoint: string;
  path: string | null;
  glob: string | null;
}

/** The two parts of `alias:/path`, as written, or null when the text has no alias. */
export function splitLocation(text: string): { alias: string; rest: string } | null {
  const match = /^([A-Za-z_][A-Za-z0-9_-]*):/.exec(text);
  return match ? { alias: match[1]!, rest: text.slice(match[0].length) } : null;
}

/**
 * The location a filled `with` names: `alias:/path` (a glob when it holds `* ? [ {`), or `{ endpoint, path | glob }`.
 * `endpoints` are the aliases of the plan. Throws `invalid` for anything else, an unknown alias, or a path that is not allowed.
 */
export function parseLocation(value: Json, endpoints: Record<string, string>): Location {
  const { alias, path, glob } = readLocation(value);
  const endpoint = Object.hasOwn(endpoints, alias) ? endpoints[alias] : undefined;
  if (endpoint === undefined) throw invalidLocation(`the endpoint alias ${JSON.stringify(alias)} is not declared`);
  return {
    alias,
    endpoint,
    path: path === null ? null : normalisePath(path),
    glob: glob === null ? null : normaliseGlob(glob),
  };
}

/** An absolute glob with slashes collapsed. Throws `invalid` for `.` and `..` segments, a trailing slash, or bad syntax. */
export function normaliseGlob(glob: string): string {
  if (glob.length > maxPathBytes) throw invalidLocation(`the glob has more than ${maxPathBytes} characters`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
  if (/[\u0000-\u001f\u007f]/.test(glob)) throw invalidLocation('the glob holds a control character');
  if (!glob.isWellFormed()) throw invalidLocation('the glob is not valid Unicode');
  if (/(^|[/{,])\.{1,2}([/},]|$)/.test(glob)) {
    throw invalidLocation(
      `the glob ${JSON.stringify(glob)} holds a "." or ".." segment; it cannot leave the endpoint's root`,
    );
  }
  const normal = `/${glob
    .split('/')
    .filter((segment) => segment !== '')
    .join('/')}`;
  if (glob.endsWith('/'))
    throw invalidLocation(`the glob ${JSON.stringify(glob)} names a folder; add a pattern for its files`);
  compileGlob(normal);
  return normal;
}

/** The folder that a glob cannot leave: `/out` of `/out/*.csv`, `/` of `/*`. */
export function globBase(glob: string): string {
  const segments = glob.split('/').filter((segment) => segment !== '');
  const first = segments.findIndex((segment) => hasGlobSigns(segment));
  const fixed = segments.slice(0, first < 0 ? Math.max(0, segments.length - 1) : first);
  return `/${fixed.map((segment) => segment.replace(/\\(.)/g, '$1')).join('/')}`;
}

/** What every path that a normalised glob matches begins with: `/out/ORD_` of `/out/ORD_*`, `/` of `/*`. */
export function globPrefix(glob: string): string {
  const fixed = /^(?:\\.|[^\\*?[{])*/.exec(glob)![0];
  return fixed.replace(/\\(.)/g, '$1');
}

/** Whether a path matches any of the globs. Relative globs are relative to the endpoint's root. Throws `invalid` for a bad one. */
export function globMatcher(globs: string[]): (path: string) => boolean {
  const compiled = globs.map((glob) => compileGlob(normaliseGlob(glob)));
  return (path) => compiled.some((glob) => glob.matches(path));
}

function readLocation(value: Json): { alias: string; path: string | null; glob: string | null } {
  if (typeof value === 'string') {
    const parts = splitLocation(value);
    if (!parts)
      throw invalidLocation(`${JSON.stringify(value.slice(0, 300))} does not begin with the alias of an endpoint`);
    const isGlob = hasGlobSigns(parts.rest);
    return { alias: parts.alias, path: isGlob ? null : parts.rest, glob: isGlob ? parts.rest : null };
  }
  if (value !== null && typeof value === 'object' && !Array.isArray(value)) {
    const { endpoint, path, glob } = value;
    if (typeof endpoint === 'string' && typeof path === 'string' && glob === undefined)
      return { alias: endpoint, path, glob: null };
    if (typeof endpoint === 'string' && typeof glob === 'string' && path === undefined)
      return { alias: endpoint, path: null, glob };
  }
  throw invalidLocation('a location is alias:/path, or { endpoint, path } or { endpoint, glob }');
}

function invalidLocation(message: string): WaybillError {
  return new WaybillError('invalid', message, { field: 'location' });
}
