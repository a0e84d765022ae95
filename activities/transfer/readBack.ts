import type { EvidenceClass, Sink } from '../../connectors/contract.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { Copy, CopyWork } from './copyWork.ts';
import { hashFile } from './hashFile.ts';
import { isKind } from './relocate.ts';

/** Reads again what the target has at a path, and compares. Throws integrity. */
export async function readBack(work: CopyWork, copy: Copy, path: string, sent: string): Promise<EvidenceClass> {
  const { connector, name } = work.target;
  const there = await connector.stat(path, copy.signal);
  const reading = { buffers: work.dependencies.buffers, signal: copy.signal, onBytes: () => copy.moved() };
  const found = await hashFile(connector, path, there, reading);
  if (found === sent) return 'readback';
  throw new WaybillError(
    'integrity',
    `the target gives back other bytes than were sent: SHA-256 ${found}, sent ${sent}`,
    { operation: 'verifying', endpoint: name, path: copy.row.targetPath },
  );
}

/**
 * With `verify: readback`, of a sink whose bytes could not be read before they were published: reads them now. What is not
 * what was sent is removed again, and integrity thrown. A file that somebody has taken away meanwhile is no failure: it
 * stays at what the sink has proven.
 */
export async function verifyPublished<Sent extends { targetPath: string; sha256: string; evidence: EvidenceClass }>(
  work: CopyWork,
  copy: Copy,
  sink: Sink,
  receipt: Sent,
): Promise<Sent> {
  if (work.options.verify !== 'readback' || sink.temporaryPath !== null) return receipt;
  const { targetPath, sha256 } = receipt;
  try {
    return { ...receipt, evidence: await readBack(work, copy, targetPath, sha256) };
  } catch (error) {
    if (isKind(error, 'integrity')) {
      await copy.fence.pass();
      await work.target.connector.remove(targetPath, copy.signal);
    }
    if (!isKind(error, 'not-found')) throw error;
    copy.note = 'somebody took the file away before it could be read back';
    return receipt;
  }
}
