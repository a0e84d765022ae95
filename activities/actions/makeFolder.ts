import { parseLocation } from '../../language/location.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { ActivityContext, TransferDependencies } from '../transfer/context.ts';
import { type FilesInput, recordOfStep } from '../transfer/files.ts';
import { onePlace } from './place.ts';

/** `files.makeFolder`: makes a folder and what is missing above it. Throws exists when a file is in the way, unsupported when the endpoint knows no folders. */
export async function makeFolder(
  dependencies: Pick<TransferDependencies, 'endpoints' | 'store'>,
  input: FilesInput,
  { signal }: ActivityContext,
): Promise<{ path: string; created: boolean }> {
  const { endpoint, path } = onePlace(parseLocation(input.with.at ?? null, input.endpoints), 'at');
  const created = await dependencies.endpoints.use(input.tenantId, endpoint, async (connector) => {
    if (connector.makeFolder === undefined)
      throw new WaybillError('unsupported', 'this endpoint cannot make folders', {
        operation: 'making a folder',
        endpoint,
        path,
      });
    return connector.makeFolder(path, signal);
  });
  if (created)
    await recordOfStep(dependencies, input, (events) => [
      events.step('file.folder-made', input.stepKey, { endpoint, path }),
    ]);
  return { path, created };
}
