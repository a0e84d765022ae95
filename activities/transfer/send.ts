import type { Entry, EvidenceClass, Sink, Source } from '../../connectors/contract.ts';
import { isSameVersion } from '../../connectors/temporary.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { Reservation } from './buffers.ts';
import { expectContent } from './contentKey.ts';
import { limits } from './context.ts';
import { atEndpoints, atTarget, awaitTurn, type Copy, type CopyWork, stepTaken } from './copyWork.ts';
import { hashFile } from './hashFile.ts';
import { placeBelow } from './options.ts';
import { chooseFlow, type Flow, pump } from './pump.ts';
import { readBack, verifyPublished } from './readBack.ts';
import { freePath, isKind, nextVersion, statIfThere } from './relocate.ts';
import { beginAnew, beginOrTakeUp, letGo } from './unfinished.ts';
import { versionOf } from './version.ts';

/** What a delivery leaves in the ledger when its file is at the target. */
export interface Receipt {
  targetPath: string;
  /** hexadecimal */
  sha256: string;
  evidence: EvidenceClass;
}

/**
 * Copies the file to a temporary name, verifies it, writes that down and publishes it atomically. Throws conflict when
 * the source is not the planned version, or this attempt has lost its claim; not-found; exists; integrity; whatever the
 * endpoints throw. When it throws, nothing is visible at the target unless the answer to its last request was lost: then
 * the row says `verified`. The temporary file is then gone, or named by the row's token for another attempt to go on.
 */
export async function send(work: CopyWork, copy: Copy): Promise<Receipt> {
  const begun: { sink: Sink | null } = { sink: null };
  const intended = intendedPath(copy);
  try {
    const receipt = await atEndpoints(work, copy, () => sendToTemporary(work, copy, begun));
    await writeVerified(work, copy, begun.sink!.temporaryPath, receipt);
    return await atTarget(work, copy, () => publish(work, copy, begun.sink!, receipt, intended));
  } catch (error) {
    if (begun.sink !== null) await letGo(work, copy, begun.sink, error);
    throw error;
  }
}

/** The name under which an earlier attempt was about to publish, and may yet; null: none was. */
function intendedPath({ row }: Copy): string | null {
  return row.state === 'verified' ? row.targetPath : null;
}

async function sendToTemporary(work: CopyWork, copy: Copy, begun: { sink: Sink | null }): Promise<Receipt> {
  const { source, target } = work;
  const { row, signal } = copy;
  const targetPath = await chooseTarget(work, copy);
  const flow = chooseFlow(row.sourceSize, source.connector.capabilities, target.connector.capabilities);
  const memory = await awaitTurn(copy, work.dependencies.buffers.reserve(flow.blocks, flow.blockBytes, signal));
  let sha256: string;
  try {
    sha256 = await transport(work, copy, targetPath, flow, memory, begun);
  } finally {
    memory.release();
  }
  await stepTaken(work, copy, 'written');
  expectContent(work, copy, sha256);
  await copy.fence.pass();
  const proven = await begun.sink!.seal({ sha256 }, signal);
  await stepTaken(work, copy, 'sealed');
  return { targetPath, sha256, evidence: await verify(work, copy, begun.sink!.temporaryPath, { sha256, proven }) };
}

/** The name to begin under. Throws exists when a large file would be sent in vain. */
async function chooseTarget(work: CopyWork, copy: Copy): Promise<string> {
  const { row, signal } = copy;
  const { options, target, to } = work;
  if (options.onConflict === 'version')
    return (
      (await stillIntended(work, copy)) ??
      freePath(target.connector, placeBelow(to, row.sourcePath, options.base), signal)
    );
  if (options.onConflict === 'fail' && row.sourceSize >= limits.lookAheadBytes) {
    const there = await statIfThere(target.connector, row.targetPath, signal);
    // Perhaps it is of an earlier attempt, which publishing will find out.
    const mayBeOurs = row.attempt > 1 && there?.size === row.sourceSize;
    if (there !== null && !mayBeOurs) throw targetExists(work, row.targetPath);
  }
  return row.targetPath;
}

/** With another name than that of the earlier attempt there could be two: null only when that one is somebody else's now. */
async function stillIntended(work: CopyWork, copy: Copy): Promise<string | null> {
  const path = intendedPath(copy);
  if (path === null) return null;
  const there = await statIfThere(work.target.connector, path, copy.signal);
  return there === null || (await hasBytes(work, copy, there, copy.row.sha256)) ? path : null;
}

async function transport(
  work: CopyWork,
  copy: Copy,
  targetPath: string,
  flow: Flow,
  memory: Reservation,
  begun: { sink: Sink | null },
): Promise<string> {
  const { row, signal } = copy;
  const version = versionOf(row);
  const file = await (copy.seat?.open(version, signal) ??
    work.source.connector.open(row.sourcePath, { ifMatch: version }, signal));
  try {
    const opened = (sink: Sink) => {
      begun.sink = sink;
    };
    const sink = await beginOrTakeUp(work, copy, { path: targetPath, flow }, opened);
    let sha256: string;
    try {
      sha256 = await carry(work, copy, file, sink, flow, memory);
    } catch (error) {
      if (!(error instanceof WaybillError) || error.context.keptDiffers !== true) throw error;
      const anew = await beginAnew(work, copy, { path: targetPath, flow, why: error.message }, sink, opened);
      sha256 = await carry(work, copy, file, anew, flow, memory);
    }
    const after = await work.source.connector.stat(row.sourcePath, signal);
    if (!isSameVersion(after, version))
      throw new WaybillError('conflict', 'the source changed while it was read', {
        operation: 'reading',
        endpoint: work.source.name,
        path: row.sourcePath,
      });
    return sha256;
  } finally {
    await file.close();
  }
}

/** Brings the bytes that the target lacks, in blocks of which it has all or nothing. Gives the SHA-256 of the whole. */
async function carry(
  work: CopyWork,
  copy: Copy,
  file: Source,
  sink: Sink,
  flow: Flow,
  memory: Reservation,
): Promise<string> {
  const { row, signal, fence } = copy;
  const { size, blockBytes } = { size: row.sourceSize, ...flow };
  const from = sink.received >= size ? size : sink.received - (sink.received % blockBytes);
  copy.bytesDone = from;
  const keeps = row.sinkToken !== null;
  let first = true;
  return pump(file, {
    size,
    flow,
    buffers: memory.buffers,
    from,
    holds: sink.holds && ((bytes, at, aborted) => sink.holds!(bytes, at, aborted)),
    async write(bytes, at, aborted) {
      const confirming = fence.pass();
      if (confirming !== undefined) await confirming;
      await sink.write(bytes, at, aborted);
      if (!first) return;
      first = false;
      await stepTaken(work, copy, 'first-write');
    },
    onBytes(bytes, sent) {
      copy.moved(sent ? bytes : 0);
      if (!sent) return;
      work.done.bytes += bytes;
      if (keeps) work.done.kept += Math.min(bytes, Math.max(0, copy.bytesDone - row.bytesDone));
    },
    signal,
    ...(keeps && { drainMs: limits.drainMs }),
  });
}

/** Checks what is at the target and says how strong the proof is. Throws integrity. */
async function verify(
  work: CopyWork,
  copy: Copy,
  temporaryPath: string | null,
  { sha256, proven }: { sha256: string; proven: EvidenceClass },
): Promise<EvidenceClass> {
  if (work.options.verify === 'size') return 'size';
  if (work.options.verify === 'hash') return proven;
  // What has no name yet is read back when it has one.
  return temporaryPath === null ? proven : readBack(work, copy, temporaryPath, sha256);
}

/** After this a crash can be told from a copy that never was. It also renews the claim, or finds that it is lost. */
async function writeVerified(
  work: CopyWork,
  copy: Copy,
  temporaryPath: string | null,
  receipt: Receipt,
): Promise<void> {
  await work.ledger.write({
    delivery: copy.row,
    change: {
      state: 'verified',
      bytesDone: copy.row.sourceSize,
      ...(temporaryPath !== null && { temporaryPath }),
      ...receipt,
      error: null,
    },
    claim: 'extend',
  });
  copy.row = { ...copy.row, ...receipt, temporaryPath, state: 'verified' };
  await stepTaken(work, copy, 'verified');
}

async function publish(
  work: CopyWork,
  copy: Copy,
  sink: Sink,
  receipt: Receipt,
  intended: string | null,
): Promise<Receipt> {
  const { connector } = work.target;
  const { signal } = copy;
  signal.throwIfAborted();
  await copy.fence.pass();
  try {
    await sink.commit(withGrace(signal));
    await stepTaken(work, copy, 'committed');
    return await verifyPublished(work, copy, sink, receipt);
  } catch (error) {
    if (!isKind(error, 'exists')) throw error;
    if (await isOfEarlierAttempt(work, copy, receipt, intended)) {
      await sink.abort();
      return receipt;
    }
    if (work.options.onConflict === 'fail') throw targetExists(work, receipt.targetPath);
    if (work.options.onConflict === 'overwrite') throw error;
    if (work.options.onConflict === 'skip-identical' || connector.rename === undefined || sink.temporaryPath === null)
      throw new WaybillError('conflict', 'somebody else put a file there meanwhile', {
        operation: 'publishing',
        endpoint: work.target.name,
        path: receipt.targetPath,
        cause: error,
      });
  }
  const { temporaryPath } = sink;
  const base = placeBelow(work.to, copy.row.sourcePath, work.options.base);
  const intend = (targetPath: string) => writeVerified(work, copy, temporaryPath, { ...receipt, targetPath });
  const targetPath = await nextVersion(base, { connector, signal, intend }, (path) =>
    connector.rename!(temporaryPath, path, { replace: false }, signal),
  );
  await stepTaken(work, copy, 'committed');
  await sink.abort();
  return { ...receipt, targetPath };
}

/**
 * An attempt that was cut off from us, but not from the target, may have published after this one took over: the ledger has
 * refused to write that down. The same bytes under the same name are then what was to be delivered. With `version` the name
 * must be the one that attempt has chosen: elsewhere the same bytes are another delivery's.
 */
async function isOfEarlierAttempt(
  work: CopyWork,
  copy: Copy,
  { targetPath, sha256 }: Receipt,
  intended: string | null,
): Promise<boolean> {
  const { onConflict } = work.options;
  if (onConflict !== 'fail' && onConflict !== 'version') return false;
  if (intended !== targetPath && (onConflict === 'version' || copy.row.attempt === 1)) return false;
  const there = await statIfThere(work.target.connector, targetPath, copy.signal);
  return there !== null && hasBytes(work, copy, there, sha256);
}

async function hasBytes(work: CopyWork, copy: Copy, there: Entry, sha256: string | null): Promise<boolean> {
  if (there.kind !== 'file' || there.size !== copy.row.sourceSize) return false;
  const reading = { buffers: work.dependencies.buffers, signal: copy.signal, onBytes: () => copy.moved() };
  return (await hashFile(work.target.connector, there.path, there, reading)) === sha256;
}

/** A cancellation lets a rename that is under way come to its end: the ledger is to know whether the file was published. */
function withGrace(signal: AbortSignal): AbortSignal {
  const late = new AbortController();
  signal.addEventListener('abort', () => setTimeout(() => late.abort(signal.reason), limits.commitGraceMs).unref(), {
    once: true,
    signal: late.signal,
  });
  return late.signal;
}

function targetExists(work: CopyWork, path: string): WaybillError {
  return new WaybillError('exists', 'the target exists already', {
    operation: 'publishing',
    endpoint: work.target.name,
    path,
  });
}
