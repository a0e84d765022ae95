import { nameSources } from '../../prisma/ledger.ts';
import { WaybillError } from '../../schema/errors.ts';
import { limits } from './context.ts';
import { atEndpoints, type Copy, type CopyWork } from './copyWork.ts';
import { contentKey } from './deliveryKey.ts';
import { createGroupCommit } from './groupCommit.ts';
import { hashFile } from './hashFile.ts';
import { versionOf } from './version.ts';

/**
 * With `once: content`: reads the source for its SHA-256, and gives the delivery the key that follows from it. What was
 * found out by an earlier attempt is not read again, unless the source has changed since. Throws not-found, conflict.
 */
export async function nameContent(work: CopyWork, copy: Copy): Promise<void> {
  const { row, signal } = copy;
  const isNamed = row.state === 'verified' || (row.sha256 !== null && row.errorKind !== 'conflict');
  if (work.options.once !== 'content' || isNamed) return;
  const reading = { buffers: work.dependencies.buffers, signal, onBytes: () => copy.moved() };
  const sha256 = await atEndpoints(work, copy, () =>
    hashFile(work.source.connector, row.sourcePath, versionOf(row), reading),
  );
  const identity = {
    tenantId: work.tenantId,
    pipeline: work.pipeline,
    sourceEndpoint: work.source.name,
    ...row,
    targetEndpoint: work.target.name,
  };
  copy.row = { ...row, sha256, deliveryKey: contentKey(identity, sha256) };
  await nameSource(work, copy);
}

/** Writes down what the source of a delivery is; what many files of a batch want at the same time goes in one transaction. */
export async function nameSource(work: CopyWork, { row }: Copy): Promise<void> {
  let commit = commits.get(work);
  if (commit === undefined) {
    const { dependencies, tenantId } = work;
    commit = createGroupCommit(
      (rows: readonly Copy['row'][]) =>
        dependencies.store.sql(tenantId, async (sql) => {
          await nameSources(sql, tenantId, rows);
          return rows.map(() => undefined);
        }),
      limits.commitRows,
    );
    commits.set(work, commit);
  }
  await commit(row);
}

const commits = new WeakMap<CopyWork, (row: Copy['row']) => Promise<undefined>>();

/**
 * Where the content was known before it was sent (`once: content`, a resend), what was sent must be that. Call before
 * anything is published. Throws conflict, or not-found for a resend, which no further attempt can make good.
 */
export function expectContent({ options, source }: CopyWork, { row }: Copy, sha256: string): void {
  const isExpected = options.once === 'content' || options.resend === true;
  if (!isExpected || row.sha256 === null || row.sha256 === sha256) return;
  if (options.resend) throw notDelivered(source.name, row.sourcePath);
  throw new WaybillError('conflict', 'the source has other bytes than a moment before, with the same size and time', {
    operation: 'reading',
    endpoint: source.name,
    path: row.sourcePath,
  });
}

/** The version that is to be sent once more is not there any more. */
export function notDelivered(endpoint: string, path: string): WaybillError {
  return new WaybillError('not-found', 'the source has other bytes than those that were delivered', {
    operation: 'sending again',
    endpoint,
    path,
    advice: 'Start a run of the pipeline: it delivers the new version. Or put the old one back, and resend.',
  });
}
