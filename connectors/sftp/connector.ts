import { WaybillError } from '../../schema/errors.ts';
import type { Capabilities, Connector, ConnectorContext, Entry, Health } from '../contract.ts';
import { temporaryOf } from '../temporary.ts';
import { SftpConnection } from './connection.ts';
import { canCopy, copyFile } from './copy.ts';
import { makeFolders, removeFolder } from './folders.ts';
import { openSession } from './handshake.ts';
import { listFolder, sweepFolder } from './listing.ts';
import { ConnectionPool } from './pool.ts';
import { probeHardlink } from './probe.ts';
import { isAtomicNoReplace, isOpenssh, publish, removeFile } from './publish.ts';
import { ReadBuffers } from './readBuffers.ts';
import { statEntry } from './requests.ts';
import { blockBytes, filesPerConnection, type SftpPatience, type SftpSettings, sftpPatience } from './settings.ts';
import { beginSink } from './sink.ts';
import { openSource } from './source.ts';

const requestsInFlight = 32;

/** Connects on the first call, and again on the next call after a connection died. */
export function openSftp(
  settings: SftpSettings,
  secrets: Record<string, string>,
  context: ConnectorContext,
  patience: SftpPatience = sftpPatience,
): Connector {
  const { root } = settings;
  const { log } = context;
  const writesInOrder = settings.writesInOrder ?? false;
  const buffers = new ReadBuffers();
  const pool = new ConnectionPool(settings.connections, async (onEnd, signal) => {
    const session = await openSession(settings, secrets, context.dialler, patience, signal);
    const connection = new SftpConnection(session, settings, patience, onEnd);
    // OpenSSH keeps what it offers; asking it would only cost a round trip.
    if (!isOpenssh(connection)) await probeHardlink(connection, root, signal);
    return connection;
  });
  return {
    get capabilities() {
      return capabilitiesOf(settings, pool.sample);
    },
    check: (signal) => pool.use(signal, (connection) => check(connection, root, signal)),
    stat: (path, signal) => pool.use(signal, (connection) => statEntry(connection, root, path, signal)),
    list: (folder, options, signal) =>
      listOver(pool, signal, (connection) => listFolder(connection, root, folder, options, log, signal)),
    open: async (path, options, signal) => openSource(await pool.lease(signal), buffers, root, path, options, signal),
    begin: async (path, options, signal) =>
      beginSink({ pool, root, log, writesInOrder }, await pool.lease(signal), path, options, signal),
    remove: (path, signal) =>
      pool.use(signal, async (connection) => {
        await removeFile(connection, root, path, signal);
      }),
    rename: (from, to, { replace }, signal) =>
      pool.use(signal, async (connection) => {
        if (from === to) await statEntry(connection, root, from, signal);
        else await publish(connection, root, from, to, replace, signal);
      }),
    copy: (from, to, options, signal) => copyFile({ pool, root, log, writesInOrder }, from, to, options, signal),
    removeFolder: (path, signal) => pool.use(signal, (connection) => removeFolder(connection, root, path, signal)),
    makeFolder: (path, signal) => pool.use(signal, (connection) => makeFolders(connection, root, path, signal)),
    discard: (token, signal) =>
      pool.use(signal, async (connection) => {
        const temporary = temporaryOf(token);
        if (temporary !== undefined) await removeFile(connection, root, temporary, signal);
      }),
    sweep: (folder, olderThanMs, signal, kept = []) =>
      pool.use(signal, (connection) => sweepFolder(connection, root, folder, { olderThanMs, kept }, signal)),
    close: () => pool.close(),
  };
}

/** The share in the connection is held while pages are taken, and given back when the caller stops early. */
async function* listOver(
  pool: ConnectionPool,
  signal: AbortSignal,
  list: (connection: SftpConnection) => AsyncIterable<Entry[]>,
): AsyncIterable<Entry[]> {
  const { connection, release } = await pool.lease(signal);
  try {
    yield* list(connection);
  } finally {
    release();
  }
}

async function check(connection: SftpConnection, root: string, signal: AbortSignal): Promise<Health> {
  const startedAt = performance.now();
  const entry = await statEntry(connection, root, '/', signal);
  const roundTripMs = Math.round(performance.now() - startedAt);
  if (entry.kind !== 'folder')
    throw new WaybillError('invalid', `root ${root} is not a folder on the server`, { field: 'root' });
  return { server: connection.session.server, roundTripMs, identity: connection.session.hostKey.fingerprint };
}

/** Before a connection stands, nothing is promised that depends on the server. */
function capabilitiesOf(settings: SftpSettings, connection: SftpConnection | undefined): Capabilities {
  return {
    rename: true,
    atomicNoReplace: connection !== undefined && isAtomicNoReplace(connection),
    readsInFlight: requestsInFlight,
    writesInFlight: settings.writesInOrder ? 1 : requestsInFlight,
    blockBytes,
    filesInFlight: filesPerConnection * settings.connections,
    modifiedTimeKept: true,
    parts: null,
    resume: !settings.writesInOrder,
    serverCopy: connection !== undefined && canCopy(connection),
    caseSensitive: settings.caseSensitive ?? true,
    listAfter: false,
  };
}
