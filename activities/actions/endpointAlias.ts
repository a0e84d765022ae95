import { WaybillError } from '../../schema/errors.ts';
import type { FilesInput } from '../transfer/files.ts';

/** The endpoint that an alias in the step's input stands for. Throws invalid. */
export function endpointOf({ with: given, endpoints }: FilesInput, field: string): string {
  const alias = given[field];
  if (typeof alias === 'string' && Object.hasOwn(endpoints, alias)) return endpoints[alias]!;
  throw new WaybillError(
    'invalid',
    `\`${field}\` is ${JSON.stringify(alias ?? null)}, which is no alias of an endpoint`,
    {
      field,
    },
  );
}
