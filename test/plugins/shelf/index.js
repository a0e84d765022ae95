import { link, mkdir, open, opendir, rename, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import * as waybill from 'waybill';

const { WaybillError, isSameVersion, isTemporaryName, joinPath, normalisePath, throwIfCancelled } = waybill;

export default waybill.defineConnector({
  kind: 'shelf',
  serves: 'files',
  summary: 'A folder of the machine that the worker runs on.',
  config: {
    type: 'object',
    properties: { folder: { type: 'string', pattern: '^/', description: 'Absolute path of the folder.' } },
    required: ['folder'],
    additionalProperties: false,
  },
  secrets: {},
  open: ({ folder }) => shelfIn(folder),
});

const capabilities = {
  rename: true,
  atomicNoReplace: true,
  readsInFlight: 4,
  writesInFlight: 4,
  blockBytes: 256 * 1024,
  parts: null,
  filesInFlight: 8,
  modifiedTimeKept: true,
  resume: false,
  serverCopy: false,
  caseSensitive: true,
  listAfter: false,
};

function shelfIn(folder) {
  const real = (path) => join(folder, normalisePath(path));
  const facts = async (path) => entryOf(path, await said(path, () => stat(real(path))));
  return {
    capabilities,
    check: async (signal) => {
      throwIfCancelled(signal);
      await facts('/');
      return { server: 'a shelf', roundTripMs: 0, identity: null };
    },
    stat: async (path, signal) => {
      throwIfCancelled(signal);
      return facts(path);
    },
    async *list(path, { recursive }, signal) {
      for (const waiting = [path]; waiting.length > 0; ) {
        const current = waiting.shift();
        const names = await said(current, () => opendir(real(current))).catch((error) => {
          // A folder that has gone since it was listed is left out; the one that was asked for is missed.
          if (current === path || error.kind !== 'not-found') throw error;
          return [];
        });
        const page = [];
        for await (const { name } of names) {
          throwIfCancelled(signal);
          const entry = isTemporaryName(name) ? undefined : await facts(joinPath(current, name)).catch(() => undefined);
          if (entry !== undefined) page.push(entry);
          if (recursive && entry?.kind === 'folder') waiting.push(entry.path);
          if (page.length === 500) yield page.splice(0);
        }
        if (page.length > 0) yield page;
      }
    },
    async open(path, { ifMatch }, signal) {
      throwIfCancelled(signal);
      const { kind, size, modified } = await facts(path);
      if (kind !== 'file') throw new WaybillError('invalid', `${path}: is not a file`);
      if (ifMatch && !isSameVersion({ size, modified }, ifMatch))
        throw new WaybillError('conflict', `${path}: changed since it was listed`);
      const file = await said(path, () => open(real(path)));
      return {
        size,
        version: { size, modified },
        read: async (buffer, at, reading) => {
          throwIfCancelled(reading);
          return (await said(path, () => file.read(buffer, 0, buffer.length, at))).bytesRead;
        },
        close: () => file.close(),
      };
    },
    async begin(path, options, signal) {
      throwIfCancelled(signal);
      const temporaryPath = waybill.temporaryPath(path, options.deliveryId);
      await makeFolder(dirname(real(path)), path);
      await remove(real(temporaryPath));
      const file = await said(path, () => open(real(temporaryPath), 'wx'));
      return sinkOf(path, real(path), temporaryPath, real(temporaryPath), file, options);
    },
    async remove(path, signal) {
      throwIfCancelled(signal);
      const found = await facts(path).catch(() => undefined);
      if (found?.kind === 'folder') throw new WaybillError('invalid', `${path}: is a folder`);
      await said(path, () => remove(real(path)));
    },
    async rename(from, to, { replace }, signal) {
      throwIfCancelled(signal);
      await facts(from);
      await makeFolder(dirname(real(to)), to);
      if (from !== to) await said(to, () => publish(real(from), real(to), replace));
    },
    close: async () => {},
  };
}

function sinkOf(path, target, temporaryPath, temporary, file, { size, replace, modified }) {
  let entry;
  let isOver = false;
  const end = async (work) => {
    if (!isOver) await work();
    isOver = true;
    await file.close();
  };
  return {
    temporaryPath,
    token: { kind: 'temporary', path: temporaryPath },
    received: 0,
    async write(bytes, at, signal) {
      throwIfCancelled(signal);
      await said(path, () => file.write(bytes, 0, bytes.length, at));
    },
    async seal(_sent, signal) {
      throwIfCancelled(signal);
      if (modified !== null) await file.utimes(new Date(modified), new Date(modified));
      await said(path, () => file.sync());
      entry = entryOf(path, await file.stat());
      if (entry.size !== size) throw new WaybillError('integrity', `${path}: has ${entry.size} bytes of ${size}`);
      return 'acknowledged-size';
    },
    async commit(signal) {
      throwIfCancelled(signal);
      if (!isOver) await said(path, () => publish(temporary, target, replace));
      await end(async () => {});
      return entry;
    },
    abort: () => end(() => remove(temporary)),
    leave: () => end(async () => {}),
  };
}

async function publish(from, to, replace) {
  if (replace) return rename(from, to);
  await link(from, to);
  await unlink(from);
}

async function makeFolder(folder, path) {
  await mkdir(folder, { recursive: true }).catch((error) => {
    throw ['ENOTDIR', 'EEXIST'].includes(error.code)
      ? new WaybillError('exists', `${path}: a file is where a folder is needed`)
      : error;
  });
}

const remove = (path) => unlink(path).catch((error) => ({ ENOENT: 0 })[error.code] ?? Promise.reject(error));

function entryOf(path, facts) {
  const kind = facts.isFile() ? 'file' : facts.isDirectory() ? 'folder' : 'other';
  const modified = new Date(Math.round(facts.mtimeMs)).toISOString();
  return { path, name: waybill.baseName(path), kind, size: kind === 'file' ? facts.size : 0, modified };
}

const kinds = { ENOENT: 'not-found', ENOTDIR: 'not-found', EEXIST: 'exists', EISDIR: 'exists', ENOSPC: 'disk-full' };

/** What the system says, as a kind. Everything else is `internal`. */
async function said(path, work) {
  try {
    return await work();
  } catch (error) {
    if (error instanceof WaybillError) throw error;
    throw new WaybillError(kinds[error.code] ?? 'internal', `${path}: ${error.code ?? error.message}`, {
      cause: error,
    });
  }
}
