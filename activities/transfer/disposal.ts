import type { NewEvent } from '../../audit/record.ts';
import { isSameVersion } from '../../connectors/temporary.ts';
import type { Copy, SharedWork } from './copyWork.ts';
import { type Disposal, placeBelow } from './options.ts';
import { relocate, statIfThere } from './relocate.ts';
import { versionOf } from './version.ts';

export interface Disposed {
  /** Where the source was moved to. */
  disposedPath: string | null;
  /** Why the source was left as it is, for people. */
  note: string | null;
  events: readonly NewEvent[];
}

/**
 * Moves or deletes the source of a delivered file, as the pipeline says. Only the version that was delivered is touched:
 * a newer file of the same name stays. A source that is gone is no failure, since the file has arrived. Safe twice.
 */
export async function dispose(work: SharedWork, copy: Copy): Promise<Disposed> {
  const { then } = work.options;
  if (then === null) return { disposedPath: null, note: null, events: [] };
  const { row, signal } = copy;
  const found = await statIfThere(work.source.connector, row.sourcePath, signal);
  if (found === null) return findDisposed(work, copy, then);
  if (!isSameVersion(found, versionOf(row)))
    return {
      disposedPath: null,
      note: 'the source has changed since it was delivered; it was left in place',
      events: [],
    };
  if ('delete' in then) {
    await work.source.connector.remove(row.sourcePath, signal);
    return deleted(work, copy);
  }
  const planned = placeBelow(then.move, row.sourcePath, work.options.base);
  const path = await relocate(row.sourcePath, planned, then.onConflict, {
    connector: work.source.connector,
    buffers: work.dependencies.buffers,
    signal,
    intend: (chosen) => intend(work, copy, chosen),
  });
  return moved(work, copy, path);
}

/** The source is gone: an earlier attempt has disposed of it, or somebody else has. */
async function findDisposed(work: SharedWork, copy: Copy, then: Disposal): Promise<Disposed> {
  const { row, signal } = copy;
  if ('delete' in then) return deleted(work, copy);
  const expected = row.disposedPath ?? placeBelow(then.move, row.sourcePath, work.options.base);
  const there = await statIfThere(work.source.connector, expected, signal);
  // Where a move makes a new version, only the size is left to compare.
  const { modifiedTimeKept } = work.source.connector.capabilities;
  const wanted = modifiedTimeKept ? versionOf(row) : { size: row.sourceSize, modified: null };
  if (there !== null && isSameVersion(there, wanted)) return moved(work, copy, expected);
  return {
    disposedPath: null,
    note: 'the source had vanished after it was delivered; there was nothing to move',
    events: [],
  };
}

/** Writes down a name that the conflict rule has chosen before the file gets it: after a crash it is looked for there. */
async function intend(work: SharedWork, copy: Copy, disposedPath: string): Promise<void> {
  await work.ledger.write({
    delivery: copy.row,
    change: { state: copy.row.state, disposedPath, error: null },
    claim: 'none',
  });
  copy.row = { ...copy.row, disposedPath };
}

function moved(work: SharedWork, { row }: Copy, to: string): Disposed {
  const data = { endpoint: work.source.name, from: row.sourcePath, to };
  return { disposedPath: to, note: null, events: [work.events.delivery('file.moved', row, data)] };
}

function deleted(work: SharedWork, { row }: Copy): Disposed {
  const data = { endpoint: work.source.name, path: row.sourcePath };
  return { disposedPath: null, note: null, events: [work.events.delivery('file.deleted', row, data)] };
}
