import { parseLocation } from '../../language/location.ts';
import { targetsAtMost } from '../../schema/actions/terms.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { Json } from '../../schema/plan.ts';
import type { OnceRule, TransferTarget } from './options.ts';

interface TargetTerms {
  /** alias -> endpoint */
  endpoints: Record<string, string>;
  manyFiles: boolean;
  once: OnceRule;
}

/** The `to` of a copy: one place, or a list of places. Throws invalid; two of them must not be the same place. */
export function readTargets(given: Json | undefined, terms: TargetTerms): TransferTarget[] {
  const places = Array.isArray(given) ? given : [given ?? null];
  if (places.length === 0 || places.length > targetsAtMost)
    throw invalid(`\`to\` has ${places.length} targets; it must have 1 to ${targetsAtMost}`);
  const targets = places.map((place) => readTarget(place, terms));
  const seen = new Set<string>();
  for (const { endpoint, to } of targets) {
    // The memory of `once: version` leaves the path out: a second place there would count as delivered.
    const place = JSON.stringify(terms.once === 'version' ? [endpoint] : [endpoint, to]);
    if (seen.has(place))
      throw invalid(
        terms.once === 'version'
          ? `with \`once: version\` each endpoint gets a file once, and ${endpoint} is in \`to\` twice`
          : `${endpoint} ${to} is in \`to\` twice`,
      );
    seen.add(place);
  }
  return targets;
}

function readTarget(place: Json, { endpoints, manyFiles }: TargetTerms): TransferTarget {
  const { endpoint, path } = parseLocation(place, endpoints);
  if (path === null) throw invalid('`to` is a file or a folder, not a glob');
  if (manyFiles && !path.endsWith('/')) throw invalid('`to` must be a folder (end in /), since `from` is a glob');
  const isMapping = place !== null && typeof place === 'object' && !Array.isArray(place);
  const required = isMapping ? (place.required ?? true) : true;
  if (typeof required !== 'boolean')
    throw invalid(`\`required\` of a target is ${JSON.stringify(required)}; it must be true or false`);
  return { endpoint, to: path, required };
}

function invalid(message: string): WaybillError {
  return new WaybillError('invalid', message, { field: 'to' });
}
