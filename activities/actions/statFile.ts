import { parseLocation } from '../../language/location.ts';
import { baseName } from '../../schema/paths.ts';
import type { ActivityContext, TransferDependencies } from '../transfer/context.ts';
import type { FilesInput } from '../transfer/files.ts';
import { statIfThere } from '../transfer/relocate.ts';
import { onePlace } from './place.ts';

export interface FoundFile {
  found: boolean;
  path: string;
  name: string;
  kind: 'file' | 'folder' | 'link' | 'other' | null;
  size: number;
  modified: string | null;
}

/** `files.stat`: what is at a path. That nothing is there is an answer; throws whatever the endpoint throws besides. */
export async function statFile(
  { endpoints }: Pick<TransferDependencies, 'endpoints'>,
  input: FilesInput,
  { signal }: ActivityContext,
): Promise<FoundFile> {
  const { endpoint, path } = onePlace(parseLocation(input.with.at ?? null, input.endpoints), 'at');
  const entry = await endpoints.use(input.tenantId, endpoint, (connector) => statIfThere(connector, path, signal));
  const { kind = null, size = 0, modified = null } = entry ?? {};
  return { found: entry !== null, path, name: baseName(path), kind, size, modified };
}
