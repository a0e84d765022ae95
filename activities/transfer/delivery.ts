import { recordEvents } from '../../audit/record.ts';
import type { EvidenceClass, SinkToken } from '../../connectors/contract.ts';
import { isSameVersion } from '../../connectors/temporary.ts';
import { type DeliveryRow, replanDeliveries } from '../../prisma/ledger.ts';
import { WaybillError } from '../../schema/errors.ts';
import { nameContent } from './contentKey.ts';
import { atEndpoints, type Copy, type CopyWork, type SharedWork, type Skipped, stepTaken } from './copyWork.ts';
import { deliveryKey } from './deliveryKey.ts';
import { type Disposed, dispose } from './disposal.ts';
import { hashFile } from './hashFile.ts';
import { claimOrRecheck } from './recheck.ts';
import { statIfThere } from './relocate.ts';
import { findResent } from './resend.ts';
import { type Receipt, send } from './send.ts';
import { asNote, discardQuietly, spoil } from './unfinished.ts';
import { asSourceVersion, versionOf } from './version.ts';

/**
 * Takes one delivery as far as it goes: claimed, copied, published, its source disposed of (but for one of many targets:
 * see `settleSource`). Gives `busy` when another
 * run copies the same file version at this moment. May be called again after a crash at any point: what is done is not
 * done again. Throws what stopped it.
 */
export async function deliver(work: CopyWork, copy: Copy): Promise<'done' | 'busy'> {
  if (copy.row.state === 'published') return settle(work, copy);
  if (work.options.resend === true) await findResent(work, copy);
  else if (mayBeOutdated(copy.row)) await takeNewVersion(work, copy);
  await nameContent(work, copy);
  const claimedAtMs = copy.fence.now();
  const outcome = await claimOrRecheck(work, copy);
  if (outcome.claim === 'busy') return 'busy';
  if (outcome.claim === 'delivered')
    return outcome.by === copy.row.id ? settle(work, copy) : skip(work, copy, { duplicateOf: outcome.by });
  copy.row = outcome.row;
  copy.heirOf = outcome.heirOf;
  copy.claimed = true;
  copy.fence.renewed(claimedAtMs);
  await stepTaken(work, copy, 'claimed');
  if (work.options.onConflict === 'skip-identical' && copy.row.state !== 'verified') {
    const same = await atEndpoints(work, copy, () => findIdentical(work, copy));
    if (same !== null) return skip(work, copy, same);
  }
  const arrived = copy.row.state === 'verified' ? await atEndpoints(work, copy, () => recover(work, copy)) : null;
  await publish(work, copy, arrived ?? (await send(work, copy)));
  return work.options.then === null ? 'done' : settle(work, copy);
}

/**
 * The last attempt found another version of the source, or left a write that only this version may go on with. What was
 * verified may be at the target by now: that is found out first.
 */
function mayBeOutdated({ errorKind, sinkToken, state }: DeliveryRow): boolean {
  return errorKind === 'conflict' || (sinkToken !== null && state !== 'verified');
}

/** When the source has another version than was planned, the delivery is of this one from now on. */
async function takeNewVersion(work: CopyWork, copy: Copy): Promise<void> {
  const { row } = copy;
  const found = await atEndpoints(work, copy, () => statIfThere(work.source.connector, row.sourcePath, copy.signal));
  if (found === null || found.kind !== 'file' || isSameVersion(found, versionOf(row))) return;
  const version = asSourceVersion(found);
  const identity = {
    tenantId: work.tenantId,
    pipeline: work.pipeline,
    sourceEndpoint: work.source.name,
    sourcePath: row.sourcePath,
    ...version,
    targetEndpoint: work.target.name,
    targetPath: row.targetPath,
  };
  const replanned = {
    ...row,
    ...version,
    state: 'planned' as const,
    sinkToken: null,
    bytesDone: 0,
    sha256: null,
    deliveryKey: deliveryKey(identity, work.options.once),
  };
  const { sinkToken } = row;
  const why = 'the source has changed since';
  const events = sinkToken === null ? [] : [await atEndpoints(work, copy, () => spoil(work, copy, sinkToken, why))];
  await work.dependencies.store.sql(work.tenantId, async (sql) => {
    await replanDeliveries(sql, work.tenantId, [replanned]);
    if (events.length > 0) await recordEvents(sql, work.tenantId, events);
  });
  copy.row = replanned;
}

/**
 * A delivery that was verified and never written down as published was stopped around its commit. When the target has
 * those very bytes, it was published: only the ledger does not know yet.
 */
async function recover(work: CopyWork, copy: Copy): Promise<Receipt | null> {
  const { row, signal } = copy;
  if (row.sha256 === null) return null;
  const { connector } = work.target;
  const there = await statIfThere(connector, row.targetPath, signal);
  if (there?.kind !== 'file' || there.size !== row.sourceSize) return null;
  const reading = { buffers: work.dependencies.buffers, signal, onBytes: () => copy.moved() };
  if ((await hashFile(connector, row.targetPath, there, reading)) !== row.sha256) return null;
  if (row.temporaryPath !== null) await connector.remove(row.temporaryPath, signal);
  return { targetPath: row.targetPath, sha256: row.sha256, evidence: row.evidence as EvidenceClass };
}

/** The ledger row, the memory of the delivery and its event in one transaction. */
async function publish(work: CopyWork, copy: Copy, receipt: Receipt): Promise<void> {
  const { row } = copy;
  const { options, source, target } = work;
  await work.ledger.write({
    delivery: row,
    change: {
      state: options.then === null ? 'settled' : 'published',
      published: true,
      bytesDone: row.sourceSize,
      ...receipt,
      ...forgotten(row),
      error: asNote(copy),
    },
    claim: 'deliver',
    events: [
      work.events.delivery('delivery.published', row, {
        source: { endpoint: source.name, path: row.sourcePath, modified: row.sourceModified },
        target: { endpoint: target.name, path: receipt.targetPath },
        bytes: row.sourceSize,
        sha256: receipt.sha256,
        evidence: receipt.evidence,
      }),
    ],
  });
  copy.row = { ...row, ...receipt, sinkToken: null, state: options.then === null ? 'settled' : 'published' };
  copy.claimed = false;
  work.done.files++;
  await stepTaken(work, copy, 'published');
}

/** Disposes of the source of a published file, unless that waits for other targets. */
async function settle(work: CopyWork, copy: Copy): Promise<'done'> {
  if (work.isOneOfMany && work.options.then !== null) {
    copy.row = { ...copy.row, state: 'published' };
    return 'done';
  }
  const disposed = await atEndpoints(work, copy, () => dispose(work, copy));
  await stepTaken(work, copy, 'disposed');
  await writeSettled(work, copy, disposed);
  return 'done';
}

/** The delivery is at its end, and the source is where it says. */
export async function writeSettled(
  work: SharedWork,
  copy: Copy,
  { events, note, disposedPath }: Disposed,
): Promise<void> {
  await work.ledger.write({
    delivery: copy.row,
    change: {
      state: 'settled',
      ...(disposedPath !== null && { disposedPath }),
      error: note === null ? asNote(copy) : { kind: null, message: note },
    },
    claim: 'none',
    events,
  });
  copy.row = { ...copy.row, state: 'settled' };
  await stepTaken(work, copy, 'settled');
}

/** The file is at the target already; the source is disposed of all the same, before the row says that all is done. */
async function skip(work: CopyWork, copy: Copy, why: Skipped): Promise<'done'> {
  const { sinkToken } = copy.row;
  if (sinkToken !== null) await atEndpoints(work, copy, () => discardQuietly(work, sinkToken, copy.signal));
  if (work.isOneOfMany && work.options.then !== null) copy.skipped = why;
  else await writeSkipped(work, copy, why, await atEndpoints(work, copy, () => dispose(work, copy)));
  return 'done';
}

export async function writeSkipped(
  work: CopyWork,
  copy: Copy,
  why: Skipped,
  { events, disposedPath }: Disposed,
): Promise<void> {
  await work.ledger.write({
    delivery: copy.row,
    change: {
      state: 'skipped',
      ...why,
      ...forgotten(copy.row),
      ...(disposedPath !== null && { disposedPath }),
      error: null,
    },
    claim: copy.claimed ? 'deliver' : 'none',
    events: [
      ...events,
      work.events.delivery('delivery.skipped', copy.row, {
        source: { endpoint: work.source.name, path: copy.row.sourcePath },
        target: { endpoint: work.target.name, path: copy.row.targetPath },
        reason: 'duplicateOf' in why ? 'already delivered' : 'the target has the same bytes',
      }),
    ],
  });
  copy.claimed = false;
  copy.skipped = null;
  copy.row = { ...copy.row, state: 'skipped' };
}

/** Nothing is left to be taken up; a row that never had a token is not written for that. */
const forgotten = ({ sinkToken }: { sinkToken: SinkToken | null }) => (sinkToken === null ? {} : { sinkToken: null });

/** With `skip-identical`: the hash when the target has the same bytes, null when it has nothing. Throws exists otherwise. */
async function findIdentical(work: CopyWork, copy: Copy): Promise<{ sha256: string; evidence: EvidenceClass } | null> {
  const { row, signal } = copy;
  const there = await statIfThere(work.target.connector, row.targetPath, signal);
  if (there === null) return null;
  const reading = { buffers: work.dependencies.buffers, signal, onBytes: () => copy.moved() };
  const version = versionOf(row);
  if (there.kind === 'file' && there.size === row.sourceSize) {
    const sent = await hashFile(work.source.connector, row.sourcePath, version, reading);
    if ((await hashFile(work.target.connector, row.targetPath, there, reading)) === sent)
      return { sha256: sent, evidence: 'readback' };
  }
  throw new WaybillError('exists', 'the target exists and has other bytes', {
    operation: 'comparing',
    endpoint: work.target.name,
    path: row.targetPath,
  });
}
