import type { Location } from '../../language/location.ts';
import { WaybillError } from '../../schema/errors.ts';

/** A path that may be a folder's, without the slash at its end. Throws invalid for a glob. */
export function onePlace({ endpoint, path }: Location, field: string): { endpoint: string; path: string } {
  if (path === null) throw new WaybillError('invalid', `\`${field}\` names one path, not a glob`, { field });
  return { endpoint, path: path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path };
}
