import type { DeliveryRow } from '../../prisma/ledger.ts';
import type { Branch } from './branches.ts';
import { atSource, type Copy, type SharedWork, type Skipped, startCopy, stepTaken } from './copyWork.ts';
import { writeSettled, writeSkipped } from './delivery.ts';
import { type Disposed, dispose } from './disposal.ts';

/** The deliveries of one source file: one for each target. */
export interface SourceFile {
  members: Member[];
  /** Those that earlier attempts have brought to their end. */
  ended: readonly DeliveryRow[];
}

export interface Member {
  branch: Branch;
  row: DeliveryRow;
  /** This attempt has begun it. */
  copy: Copy | null;
}

/** In the order of the rows, which is that in which they are begun. */
export function sourceFilesOf(rows: readonly DeliveryRow[], branches: ReadonlyMap<number, Branch>): SourceFile[] {
  const files = new Map<string, { members: Member[]; ended: DeliveryRow[] }>();
  for (const row of rows) {
    const file = files.get(row.sourcePath) ?? { members: [], ended: [] };
    files.set(row.sourcePath, file);
    if (hasEnded(row)) file.ended.push(row);
    else file.members.push({ branch: branches.get(row.target)!, row, copy: null });
  }
  return [...files.values()].filter(({ members }) => members.length > 0);
}

export const hasEnded = ({ state }: DeliveryRow) => state === 'settled' || state === 'skipped' || state === 'failed';

/**
 * Disposes of a source file with many targets, once: when every required target has it, and each optional one has it or has
 * failed for good. Else it stays, and whoever brings the last of its deliveries to an end comes here again. `fail` is told
 * what kept it from being disposed of, and in the name of which delivery. Throws when the ledger cannot be written.
 */
export async function settleSource(
  shared: SharedWork,
  file: SourceFile,
  fail: (member: Member, error: unknown) => Promise<void>,
): Promise<void> {
  const { targets, then } = shared.options;
  if (then === null) return;
  for (const member of file.members)
    if (member.row.state === 'published') member.copy ??= startCopy(shared, member.row);
  const arrived = file.members.filter(isArrived);
  const rows = [...file.ended, ...file.members.map(rowOf)];
  const lacking = rows.filter(({ state }) => state === 'failed').map(({ target }) => targets[target]!);
  if (file.members.some(isPending) || lacking.some(({ required }) => required)) return writeSkips(arrived, nothingDone);
  const main = mainOf(shared, file, arrived);
  if (main === null) return;
  const others = arrived.filter((member) => member.copy !== main);
  let disposed: Disposed;
  try {
    disposed = await disposeOnce(shared, file, main);
  } catch (error) {
    // The others are at their end: what is left to do is done in the name of one.
    await writeSkips(others, nothingDone);
    const member = arrived.find(({ copy }) => copy === main);
    if (member === undefined) throw error;
    return fail(member, error);
  }
  const notes = [disposed.note, ...lacking.map(({ endpoint }) => `${endpoint}, which is optional, has not got it`)];
  const note = notes.filter((one) => one !== null).join('; ') || null;
  const member = arrived.find(({ copy }) => copy === main);
  if (member === undefined) await writeDisposed(shared, main, { ...disposed, note });
  else await write(shared, member, { ...disposed, note });
  await Promise.all(others.map((other) => write(shared, other, { ...disposed, note, events: [] })));
}

const nothingDone: Disposed = { disposedPath: null, note: null, events: [] };
const rowOf = ({ copy, row }: Member) => copy?.row ?? row;
/** Neither at the target nor failed for good. */
export const isPending = (member: Member) => !isArrived(member) && !hasEnded(rowOf(member));

/** The file when these of its deliveries have failed for good. */
export function withFailed(file: SourceFile, failed: readonly Member[]): SourceFile {
  const ended = failed.map((member) => ({ ...rowOf(member), state: 'failed' as const }));
  return { members: file.members.filter((member) => !failed.includes(member)), ended: [...file.ended, ...ended] };
}

const isArrived = (member: Member) => rowOf(member).state === 'published' || (member.copy?.skipped ?? null) !== null;

/**
 * In whose name the source is disposed of: whoever has written down where it is to go, since a crashed attempt has perhaps
 * moved it there. When all that are left have failed, it is one that an earlier attempt has skipped; null: nobody has it.
 */
function mainOf(shared: SharedWork, { ended }: SourceFile, arrived: readonly Member[]): Copy | null {
  const inOrder = [...arrived].sort((one, other) => (one.row.id < other.row.id ? -1 : 1)).map(({ copy }) => copy!);
  const known = inOrder.find(({ row }) => row.disposedPath !== null) ?? inOrder[0];
  if (known !== undefined) return known;
  const skipped = ended.find(({ state }) => state === 'skipped');
  return skipped === undefined ? null : startCopy(shared, skipped);
}

async function disposeOnce(shared: SharedWork, { ended }: SourceFile, main: Copy): Promise<Disposed> {
  // What is settled says that it was done, and told of.
  const done = ended.find(({ state, disposedPath }) => state === 'settled' || disposedPath !== null);
  if (done !== undefined) return { ...nothingDone, disposedPath: done.disposedPath };
  const disposed = await atSource(main, () => dispose(shared, main));
  await stepTaken(shared, main, 'disposed');
  return disposed;
}

function write(shared: SharedWork, member: Member, disposed: Disposed): Promise<void> {
  const copy = member.copy!;
  const { skipped } = copy;
  return skipped === null ? writeSettled(shared, copy, disposed) : writeSkip(member, skipped, disposed);
}

async function writeSkips(members: readonly Member[], disposed: Disposed): Promise<void> {
  const skips = members.flatMap((member) => {
    const skipped = member.copy?.skipped ?? null;
    return skipped === null ? [] : [writeSkip(member, skipped, disposed)];
  });
  await Promise.all(skips);
}

async function writeSkip({ branch, copy }: Member, skipped: Skipped, disposed: Disposed): Promise<void> {
  try {
    await writeSkipped(branch.work!, copy!, skipped, disposed);
  } finally {
    branch.inFlight.delete(copy!);
  }
}

/** Of a delivery that has ended before. */
async function writeDisposed({ ledger }: SharedWork, { row }: Copy, disposed: Disposed): Promise<void> {
  const { disposedPath, note, events } = disposed;
  await ledger.write({
    delivery: row,
    change: {
      state: row.state,
      ...(disposedPath !== null && { disposedPath }),
      error: note === null ? null : { kind: null, message: note },
    },
    claim: 'none',
    events,
  });
}
