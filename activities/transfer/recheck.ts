import { recordEvents } from '../../audit/record.ts';
import { type ClaimOutcome, type Delivered, findDelivered, forgetDelivered } from '../../prisma/ledger.ts';
import { atEndpoints, type Copy, type CopyWork } from './copyWork.ts';
import { hashFile } from './hashFile.ts';
import { statIfThere } from './relocate.ts';

/**
 * Claims the delivery. With `recheck`, one that was delivered before is looked for at the target: when it is not there any
 * more, that memory is taken back, and it is claimed like a new one.
 */
export async function claimOrRecheck(work: CopyWork, copy: Copy): Promise<ClaimOutcome> {
  const outcome = await work.ledger.claim(copy.row);
  if (!work.options.recheck || outcome.claim !== 'delivered' || outcome.by === copy.row.id) return outcome;
  return (await forgetMissing(work, copy, outcome.by)) ? work.ledger.claim(copy.row) : outcome;
}

/** Gives whether what the delivery `by` has delivered is gone, and forgotten with an event that says why. */
async function forgetMissing(work: CopyWork, copy: Copy, by: string): Promise<boolean> {
  const { tenantId, dependencies, source, target } = work;
  const { row } = copy;
  const [delivered] = await dependencies.store.sql(tenantId, (sql) => findDelivered(sql, tenantId, [by]));
  if (delivered === undefined) return false;
  const reason = await atEndpoints(work, copy, () => whatIsWrong(work, copy, delivered));
  if (reason === null) return false;
  const event = work.events.delivery('delivery.rechecked', row, {
    source: { endpoint: source.name, path: row.sourcePath },
    target: { endpoint: target.name, path: delivered.targetPath },
    reason,
  });
  await dependencies.store.sql(tenantId, async (sql) => {
    await forgetDelivered(sql, tenantId, { deliveryKey: row.deliveryKey, by });
    await recordEvents(sql, tenantId, [event]);
  });
  copy.note = `delivered again: ${reason}`;
  return true;
}

/** Why the file at the target is not what was delivered, or null. It is read only when its time says that somebody wrote to it. */
async function whatIsWrong(work: CopyWork, copy: Copy, delivered: Delivered): Promise<string | null> {
  const { connector } = work.target;
  const { targetPath, size, modified, sha256 } = delivered;
  const there = await statIfThere(connector, targetPath, copy.signal);
  if (there === null) return 'the target has the file no more';
  if (there.kind !== 'file') return `the target has a ${there.kind} instead of the file`;
  if (there.size !== size) return `the target has ${there.size} bytes instead of ${size}`;
  const tells = connector.capabilities.modifiedTimeKept && modified !== null && there.modified !== null;
  if (!tells || sha256 === null || inSeconds(there.modified!) === inSeconds(modified)) return null;
  const reading = { buffers: work.dependencies.buffers, signal: copy.signal, onBytes: () => copy.moved() };
  return (await hashFile(connector, targetPath, there, reading)) === sha256 ? null : 'the target has other bytes';
}

/** Some servers keep no more than seconds. */
function inSeconds(time: string): number {
  return Math.floor(Date.parse(time) / 1_000);
}
