import { WaybillError } from '../schema/errors.ts';
import { normalisePath } from '../schema/paths.ts';
import type { Json } from '../schema/plan.ts';
import { checkTemplate, offset } from './checking.ts';
import { didYouMean, typeWords } from './expressions.ts';
import { hasGlobSigns } from './glob.ts';
import { normaliseGlob, splitLocation } from './location.ts';
import type { Report, SourceRange } from './report.ts';
import type { ExpressionScope } from './scope.ts';
import type { Located } from './source.ts';
import { hasExpression, withoutExpressions } from './template.ts';

export interface LocationContext {
  scope: ExpressionScope;
  report: Report;
  /** alias -> endpoint */
  aliases: Readonly<Record<string, string>>;
  usedAliases: Set<string>;
}

/** One file, a glob too, a file or folder to deliver to, or whatever is at a path. */
export type LocationKind = 'file' | 'files' | 'target' | 'place';

/**
 * Checks a location and gives it as `{ endpoint, path | glob }`: which of the two it is is settled here, from what is
 * written, so that the name of a file that is filled in later cannot turn a path into a glob.
 */
export function checkLocation(location: Located, accepts: LocationKind, context: LocationContext): Json {
  const parts = typeof location.value === 'string' ? fromText(location, context) : fromMapping(location, context);
  if (!parts) return location.value;
  const { alias, kind, place } = parts;
  checkAlias(alias.name, alias.range, context);
  if (kind === 'glob' && accepts !== 'files') {
    const message =
      accepts === 'target'
        ? 'a target cannot be a glob'
        : `this takes one ${accepts === 'place' ? 'path' : 'file'}, not a glob`;
    context.report.add(
      'GLOB_NOT_ALLOWED',
      place.range,
      message,
      typeof location.value === 'string' ? 'when the signs are part of the name, write { endpoint, path }' : undefined,
    );
    return location.value;
  }
  const text = checkPlace(place, kind, accepts, context);
  return { endpoint: alias.name, [kind]: text };
}

interface Place {
  source: string;
  /** The compiled template. */
  compiled: string;
  range: SourceRange;
}

interface LocationParts {
  alias: { name: string; range: SourceRange };
  kind: 'path' | 'glob';
  place: Place;
}

function fromText(location: Located, context: LocationContext): LocationParts | null {
  const source = String(location.value);
  const compiled = checkTemplate(location, context.scope, context.report).text;
  const parts = splitLocation(source);
  if (!parts) {
    if (hasExpression(source))
      context.report.add(
        'EXPRESSION_NOT_ALLOWED',
        location.range,
        'the alias of an endpoint must be written out: alias:/path',
      );
    else
      context.report.add(
        'INVALID_LOCATION',
        location.range,
        'a location begins with the alias of an endpoint: alias:/path',
        aliasHint(context),
      );
    return null;
  }
  const at = parts.alias.length;
  const rest: SourceRange = [offset(location, at + 1), offset(location, source.length)];
  const kind = hasGlobSigns(withoutExpressions(parts.rest)) ? 'glob' : 'path';
  if (parts.rest === '') {
    context.report.add('INVALID_LOCATION', location.range, `a path is missing after "${parts.alias}:"`);
    return null;
  }
  return {
    alias: { name: parts.alias, range: [offset(location, 0), offset(location, at)] },
    kind,
    place: { source: parts.rest, compiled: compiled.slice(at + 1), range: rest },
  };
}

function fromMapping(location: Located, context: LocationContext): LocationParts | null {
  const endpoint = location.entries?.get('endpoint')?.value;
  const kind = location.entries?.has('glob') ? 'glob' : 'path';
  const place = location.entries?.get(kind)?.value;
  // What else is wrong with the mapping has been said by the check against the schema.
  if (typeof endpoint?.value !== 'string' || typeof place?.value !== 'string') return null;
  if (hasExpression(endpoint.value)) {
    context.report.add('EXPRESSION_NOT_ALLOWED', endpoint.range, 'the alias of an endpoint must be written out');
    return null;
  }
  const { type, text } = checkTemplate(place, context.scope, context.report);
  if (type !== 'text' && type !== 'any') {
    context.report.add(
      'TYPE_MISMATCH',
      place.range,
      `a ${kind} is a text, but the expression gives ${typeWords(type)}`,
    );
  }
  return {
    alias: { name: endpoint.value, range: endpoint.range },
    kind,
    place: { source: place.value, compiled: text, range: place.range },
  };
}

/** An alias that stands alone: of an endpoint that does not move files. Gives it as it is written. */
export function checkEndpointAlias(alias: Located, context: LocationContext): Json {
  const name = alias.value;
  if (typeof name !== 'string') return name;
  if (hasExpression(name))
    context.report.add('EXPRESSION_NOT_ALLOWED', alias.range, 'the alias of an endpoint must be written out');
  else checkAlias(name, alias.range, context);
  return name;
}

function checkAlias(name: string, range: SourceRange, context: LocationContext): void {
  if (Object.hasOwn(context.aliases, name)) {
    context.usedAliases.add(name);
    return;
  }
  const byEndpoint = Object.entries(context.aliases).find(([, endpoint]) => endpoint === name)?.[0];
  const suggestion = byEndpoint
    ? `use its alias: ${byEndpoint}`
    : (didYouMean(name, Object.keys(context.aliases)) ?? aliasHint(context));
  context.report.add(
    'UNKNOWN_ENDPOINT_ALIAS',
    range,
    `there is no endpoint alias "${name}" under \`endpoints:\``,
    suggestion,
  );
}

/** Normalises what is written out; a place with expressions is looked at as if each were a name, and kept as written. */
function checkPlace(place: Place, kind: 'path' | 'glob', accepts: LocationKind, { report }: LocationContext): string {
  const sample = withoutExpressions(place.source);
  const isFixed = sample === place.source;
  try {
    const normal = kind === 'glob' ? normaliseGlob(sample) : normalisePath(sample);
    if (kind === 'path' && (accepts === 'file' || accepts === 'files') && normal.endsWith('/')) {
      const orGlob = accepts === 'files' ? ', or a glob such as /out/*' : '';
      report.add('INVALID_LOCATION', place.range, `this names a folder; name a file${orGlob}`);
    }
    if (kind === 'glob' && isFixed && /^\/(\*+\/)*\*+$/.test(normal)) {
      report.add(
        'GLOB_MATCHES_EVERYTHING',
        place.range,
        `the glob ${normal} matches ${normal.includes('**') ? 'every file of the endpoint' : 'every file of the root folder'}`,
      );
    }
    return isFixed ? normal : place.compiled;
  } catch (error) {
    if (!(error instanceof WaybillError)) throw error;
    report.add('INVALID_PATH', place.range, error.message);
    return place.compiled;
  }
}

function aliasHint(context: LocationContext): string | undefined {
  const names = Object.keys(context.aliases);
  return names.length === 0
    ? 'declare it: `endpoints: { alias: endpoint-name }`'
    : `known aliases: ${names.slice(0, 8).join(', ')}`;
}
