import type { EvidenceClass, Sink } from '../../connectors/contract.ts';
import { isSameVersion } from '../../connectors/temporary.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { Reservation } from './buffers.ts';
import { limits } from './context.ts';
import { atEndpoints, awaitTurn, type Copy, type CopyWork, stepTaken } from './copyWork.ts';
import { hashFile } from './hashFile.ts';
import { placeBelow } from './options.ts';
import { chooseFlow, type Flow, pump } from './pump.ts';
import { freePath, isKind, nextVersion, statIfThere } from './relocate.ts';

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
 * endpoints throw. When it throws, the temporary file is gone, and nothing is visible at the target unless the answer to
 * its last request was lost: then the row says `verified`.
 */
export async function send(work: CopyWork, copy: Copy): Promise<Receipt> {
  const begun: { sink: Sink | null } = { sink: null };
  try {
    const receipt = await atEndpoints(work, copy, () => sendToTemporary(work, copy, begun));
    await writeVerified(work, copy, begun.sink!.temporaryPath, receipt);
    return await atEndpoints(work, copy, () => publish(work, copy, begun.sink!, receipt));
  } catch (error) {
    if (begun.sink !== null) await abortSink(work, begun.sink);
    throw error;
  }
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
  const proven = await begun.sink!.seal({ sha256 }, signal);
  return { targetPath, sha256, evidence: await verify(work, copy, begun.sink!.temporaryPath, { sha256, proven }) };
}

/** The name to begin under. Throws exists when a large file would be sent in vain. */
async function chooseTarget(work: CopyWork, { row, signal }: Copy): Promise<string> {
  const { options, target } = work;
  if (options.onConflict === 'version')
    return freePath(target.connector, placeBelow(options.to, row.sourcePath, options.base), signal);
  if (options.onConflict === 'fail' && row.sourceSize >= limits.lookAheadBytes) {
    if ((await statIfThere(target.connector, row.targetPath, signal)) !== null)
      throw targetExists(work, row.targetPath);
  }
  return row.targetPath;
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
  const version = { size: row.sourceSize, modified: row.sourceModified };
  const file = await work.source.connector.open(row.sourcePath, { ifMatch: version }, signal);
  try {
    const sink = await work.target.connector.begin(
      targetPath,
      {
        size: row.sourceSize,
        // The attempt is in the name: an earlier one that still lives writes into its own file, never into this one.
        deliveryId: `${row.id}-${row.attempt}`,
        replace: work.options.onConflict === 'overwrite',
        modified: row.sourceModified,
      },
      signal,
    );
    begun.sink = sink;
    await removeEarlier(work, copy, sink.temporaryPath);
    const sha256 = await pump(file, {
      size: row.sourceSize,
      flow,
      buffers: memory.buffers,
      write: (bytes, at, aborted) => sink.write(bytes, at, aborted),
      onBytes: (bytes) => {
        copy.moved(bytes);
        work.done.bytes += bytes;
      },
      signal,
    });
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

/** Removes what killed attempts at this delivery left beside the target. */
async function removeEarlier(work: CopyWork, { row, signal }: Copy, temporaryPath: string | null): Promise<void> {
  const ending = `-${row.attempt}.part`;
  if (!temporaryPath?.endsWith(ending)) return;
  for (let attempt = Math.max(1, row.attempt - limits.earlierAttempts); attempt < row.attempt; attempt++)
    await work.target.connector.remove(`${temporaryPath.slice(0, -ending.length)}-${attempt}.part`, signal);
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
  if (temporaryPath === null)
    throw new WaybillError('unsupported', 'cannot be read back before it is published', { operation: 'verifying' });
  const { connector, name } = work.target;
  const there = await connector.stat(temporaryPath, copy.signal);
  const found = await hashFile(connector, temporaryPath, there, {
    buffers: work.dependencies.buffers,
    signal: copy.signal,
    onBytes: () => copy.moved(),
  });
  if (found === sha256) return 'readback';
  throw new WaybillError(
    'integrity',
    `the target gives back other bytes than were sent: SHA-256 ${found}, sent ${sha256}`,
    {
      operation: 'verifying',
      endpoint: name,
      path: copy.row.targetPath,
    },
  );
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

async function publish(work: CopyWork, copy: Copy, sink: Sink, receipt: Receipt): Promise<Receipt> {
  const { connector } = work.target;
  const { signal } = copy;
  signal.throwIfAborted();
  try {
    await sink.commit(withGrace(signal));
    await stepTaken(work, copy, 'committed');
    return receipt;
  } catch (error) {
    if (!isKind(error, 'exists')) throw error;
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
  const base = placeBelow(work.options.to, copy.row.sourcePath, work.options.base);
  const intend = (targetPath: string) => writeVerified(work, copy, temporaryPath, { ...receipt, targetPath });
  const targetPath = await nextVersion(base, { connector, signal, intend }, (path) =>
    connector.rename!(temporaryPath, path, { replace: false }, signal),
  );
  await stepTaken(work, copy, 'committed');
  await sink.abort();
  return { ...receipt, targetPath };
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

/** A dead connection must not hold up the end of the attempt: what stays is removed by the next one, or swept. */
async function abortSink(work: CopyWork, sink: Sink): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const patience = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, limits.abortWaitMs);
  });
  try {
    await Promise.race([sink.abort(), patience]);
  } catch (error) {
    work.dependencies.log.warn(
      { endpoint: work.target.name, path: sink.temporaryPath, error: String(error) },
      'a temporary file could not be removed',
    );
  } finally {
    clearTimeout(timer);
  }
}

function targetExists(work: CopyWork, path: string): WaybillError {
  return new WaybillError('exists', 'the target exists already', {
    operation: 'publishing',
    endpoint: work.target.name,
    path,
  });
}
