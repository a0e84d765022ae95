import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { ConnectorContext } from '../../connectors/contract.ts';
import { openLocal } from '../../connectors/local/connector.ts';
import { mountSmall, whyNoFilesystem } from '../servers/filesystem.ts';
import type { Arranged } from './withFaults.ts';

/** What can go wrong in a local folder, for group G of the conformance suite; nothing where this machine mounts nothing for us. */
export async function openLocalFaults(context: ConnectorContext): Promise<Arranged> {
  if ((await whyNoFilesystem()) !== undefined) return { faults: {}, close: async () => {} };
  const [full, readOnly] = [await mountSmall('6m'), await mountSmall('1m')];
  await mkdir(path.join(full.folder, 'root'));
  await writeFile(path.join(readOnly.folder, 'there.txt'), 'there');
  await readOnly.makeReadOnly();
  return {
    faults: {
      fullDisk: openLocal(path.join(full.folder, 'root'), context),
      readOnly: openLocal(readOnly.folder, context),
    },
    async close() {
      await full.remove();
      await readOnly.remove();
    },
  };
}
