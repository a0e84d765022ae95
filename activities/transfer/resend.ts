import { isSameVersion } from '../../connectors/temporary.ts';
import { WaybillError } from '../../schema/errors.ts';
import { nameSource, notDelivered } from './contentKey.ts';
import { atEndpoints, type Copy, type CopyWork } from './copyWork.ts';
import { hashFile } from './hashFile.ts';
import { statIfThere } from './relocate.ts';
import { asSourceVersion, versionOf } from './version.ts';

/**
 * For a file that is sent although it was delivered: looks for that very version at its source. One that has another time
 * is taken when it has the same bytes: it was moved aside after its delivery, or touched. Throws not-found when it is gone,
 * or has other bytes.
 */
export async function findResent(work: CopyWork, copy: Copy): Promise<void> {
  const { row, signal } = copy;
  if (row.state === 'verified') return;
  const { connector, name } = work.source;
  await atEndpoints(work, copy, async () => {
    const found = await statIfThere(connector, row.sourcePath, signal);
    if (found === null || found.kind !== 'file')
      throw new WaybillError('not-found', 'the source is gone: there is nothing to send again', {
        operation: 'sending again',
        endpoint: name,
        path: row.sourcePath,
        advice: 'Put the file back to this path, and resend; or ask the partner for it.',
      });
    if (isSameVersion(found, versionOf(row))) return;
    const reading = { buffers: work.dependencies.buffers, signal, onBytes: () => copy.moved() };
    const isIt =
      found.size === row.sourceSize && (await hashFile(connector, row.sourcePath, found, reading)) === row.sha256;
    if (!isIt) throw notDelivered(name, row.sourcePath);
    copy.row = { ...row, ...asSourceVersion(found) };
  });
  if (copy.row !== row) await nameSource(work, copy);
}
