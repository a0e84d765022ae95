import { randomUUID } from 'node:crypto';
import type { SFTPWrapper, Stats } from 'ssh2';
import { WaybillError } from '../../schema/errors.ts';
import type { CopyOptions, Entry, Version } from '../contract.ts';
import { isSameVersion } from '../temporary.ts';
import type { SftpConnection } from './connection.ts';
import { hasStatus, status } from './failures.ts';
import { closeQuietly, entryOf, openHandle, remotePath } from './requests.ts';
import { beginSink, type SinkPlace } from './sink.ts';

/** Bytes that the server is asked to copy at a time: while it does, it answers nothing, and silence is taken for its end. */
const stepBytes = 64 * 1024 * 1024;

/** Whether the server copies within itself: OpenSSH since 9.0, with the extension `copy-data`. */
export function canCopy(connection: SftpConnection): boolean {
  return connection.session.extensions.has('copy-data');
}

/** The server copies into a temporary file, which is then made durable and published as any other. */
export async function copyFile(
  place: SinkPlace,
  from: string,
  to: string,
  { replace, ifMatch }: CopyOptions,
  signal: AbortSignal,
): Promise<Entry> {
  const lease = await place.pool.lease(signal);
  const { connection } = lease;
  let source: Buffer | undefined;
  try {
    if (!canCopy(connection))
      throw new WaybillError('unsupported', `${from}: this server does not copy within itself`, { path: from });
    const handle = await openHandle(connection, signal, from, 'copying', (sftp, answer) =>
      sftp.open(remotePath(place.root, from), 'r', answer),
    );
    source = handle;
    const version = await versionOf(connection, handle, from, signal);
    if (ifMatch && !isSameVersion(version, ifMatch)) throw changed(from);
    const options = { size: version.size, deliveryId: randomUUID(), replace, modified: version.modified };
    // A share of its own, in the same connection: the sink gives its share back by itself.
    const sink = await beginSink(place, { connection, release: () => {} }, to, options, signal);
    try {
      for (let at = 0; at < version.size; at += stepBytes)
        await sink.fill((target, answer) => {
          const bytes = Math.min(stepBytes, version.size - at);
          (connection.session.sftp as CopyingSftp).ext_copy_data(handle, at, bytes, target, at, answer);
        }, signal);
      if (!isSameVersion(await versionOf(connection, handle, from, signal), version)) throw changed(from);
      await sink.seal({ sha256: '' }, signal);
      return await sink.commit(signal);
    } catch (error) {
      await sink.abort();
      throw hasStatus(error, status.eof) ? changed(from) : error;
    }
  } finally {
    if (source) closeQuietly(connection, source);
    lease.release();
  }
}

/** ssh2 1.17.0 has it; its types do not. */
type CopyingSftp = SFTPWrapper & {
  ext_copy_data(
    source: Buffer,
    sourceAt: number,
    bytes: number,
    target: Buffer,
    targetAt: number,
    answer: (error?: Error | null) => void,
  ): void;
};

async function versionOf(
  connection: SftpConnection,
  handle: Buffer,
  path: string,
  signal: AbortSignal,
): Promise<Version> {
  const facts = await connection.request<Stats>(signal, {
    operation: 'copying',
    path,
    send: (sftp, answer) => sftp.fstat(handle, answer),
  });
  const { kind, size, modified } = entryOf(path, facts);
  if (kind !== 'file') throw new WaybillError('invalid', `${path}: is not a file`, { operation: 'copying', path });
  return { size, modified };
}

function changed(path: string): WaybillError {
  return new WaybillError('conflict', `${path}: changed since it was listed`, { operation: 'copying', path });
}
