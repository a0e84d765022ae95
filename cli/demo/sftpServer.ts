import { constants, type Stats } from 'node:fs';
import {
  type FileHandle,
  link,
  lstat,
  mkdir,
  open,
  readdir,
  realpath,
  rmdir,
  stat,
  unlink,
  utimes,
} from 'node:fs/promises';
import { join, posix, sep } from 'node:path';
import ssh2, { type Attributes, type SFTPWrapper } from 'ssh2';

const { STATUS_CODE, OPEN_MODE } = ssh2.utils.sftp;
const entriesPerAnswer = 100;
const maxHandles = 1000;
const maxReadBytes = 256 * 1024;

/**
 * Answers the file operations of SFTP 3 in `root`, which the client sees as `/`. Requests are worked off one after the
 * other: a close or a rename comes after the writes that were sent before it. As the protocol has it, a rename never
 * replaces. Links, owners and modes are not served.
 */
export function serveSftp(sftp: SFTPWrapper, root: string, onFiles: FilesListener = () => {}): void {
  const channel = new SftpChannel(sftp, onFiles);
  serveHandles(channel, root);
  serveReadsAndWrites(channel);
  serveFolders(channel, root);
  serveNames(channel, root);
  sftp.on('close', () => channel.closeAll());
}

/** Hears of each file that a client opens, and of each that it closes. */
export type FilesListener = (change: 1 | -1) => void;

class SftpChannel {
  readonly sftp: SFTPWrapper;
  readonly #onFiles: FilesListener;
  readonly #handles = new Map<number, OpenHandle>();
  #lastHandle = 0;
  #queue: Promise<void> = Promise.resolve();

  constructor(sftp: SFTPWrapper, onFiles: FilesListener) {
    this.sftp = sftp;
    this.#onFiles = onFiles;
  }

  /** Runs `work` when all earlier requests are answered; what it throws becomes the answer. */
  inTurn(request: number, work: () => Promise<void>): void {
    this.#queue = this.#queue.then(work).catch((error) => refuse(this.sftp, request, error));
  }

  done(request: number): void {
    this.sftp.status(request, STATUS_CODE.OK);
  }

  add(request: number, handle: OpenHandle): void {
    if (this.#handles.size >= maxHandles) throw failure('EMFILE');
    this.#handles.set(++this.#lastHandle, handle);
    if (handle.file) this.#onFiles(1);
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(this.#lastHandle);
    this.sftp.handle(request, bytes);
  }

  find(bytes: Buffer): OpenHandle {
    const found = bytes.length === 4 ? this.#handles.get(bytes.readUInt32BE()) : undefined;
    if (!found) throw failure('EBADF');
    return found;
  }

  file(bytes: Buffer): FileHandle {
    const { file } = this.find(bytes);
    if (!file) throw failure('EBADF');
    return file;
  }

  async close(bytes: Buffer): Promise<void> {
    const { file } = this.find(bytes);
    this.#handles.delete(bytes.readUInt32BE());
    if (file) this.#onFiles(-1);
    await file?.close();
  }

  /** After the last request, when the client has gone without closing what it opened. */
  closeAll(): void {
    this.#queue = this.#queue.then(async () => {
      for (const { file } of this.#handles.values()) {
        if (file) this.#onFiles(-1);
        await file?.close();
      }
      this.#handles.clear();
    });
  }
}

function serveHandles(channel: SftpChannel, root: string): void {
  const { sftp } = channel;
  sftp.on('OPEN', (request, path, flags) =>
    channel.inTurn(request, async () => {
      const where = flags & OPEN_MODE.CREAT ? await place(root, path) : await existing(root, path);
      channel.add(request, { file: await open(where, openFlags(flags), 0o666) });
    }),
  );
  sftp.on('OPENDIR', (request, path) =>
    channel.inTurn(request, async () => {
      const folder = await existing(root, path);
      channel.add(request, { folder, unread: await readdir(folder) });
    }),
  );
  sftp.on('CLOSE', (request, handle) =>
    channel.inTurn(request, async () => {
      await channel.close(handle);
      channel.done(request);
    }),
  );
}

function serveReadsAndWrites(channel: SftpChannel): void {
  const { sftp } = channel;
  sftp.on('READ', (request, handle, offset, length) =>
    channel.inTurn(request, async () => {
      const buffer = Buffer.allocUnsafe(Math.min(length, maxReadBytes));
      const { bytesRead } = await channel.file(handle).read(buffer, 0, buffer.length, offset);
      if (bytesRead === 0) sftp.status(request, STATUS_CODE.EOF);
      else sftp.data(request, buffer.subarray(0, bytesRead));
    }),
  );
  sftp.on('WRITE', (request, handle, offset, data) =>
    channel.inTurn(request, async () => {
      const file = channel.file(handle);
      for (let written = 0; written < data.length; ) {
        written += (await file.write(data, written, data.length - written, offset + written)).bytesWritten;
      }
      channel.done(request);
    }),
  );
  sftp.on('FSTAT', (request, handle) =>
    channel.inTurn(request, async () => sftp.attrs(request, attributes(await channel.file(handle).stat()))),
  );
  sftp.on('FSETSTAT', (request, handle, attrs) =>
    channel.inTurn(request, async () => {
      if (attrs.mtime !== undefined) await channel.file(handle).utimes(attrs.atime, attrs.mtime);
      channel.done(request);
    }),
  );
}

function serveFolders(channel: SftpChannel, root: string): void {
  const { sftp } = channel;
  sftp.on('READDIR', (request, handle) =>
    channel.inTurn(request, async () => {
      const { folder, unread } = channel.find(handle);
      if (folder === undefined || unread === undefined) throw failure('EBADF');
      const names = unread.splice(0, entriesPerAnswer);
      const entries = await Promise.all(names.map((name) => describe(folder, name)));
      if (names.length === 0) sftp.status(request, STATUS_CODE.EOF);
      else
        sftp.name(
          request,
          entries.filter((entry) => entry !== undefined),
        );
    }),
  );
  sftp.on('MKDIR', (request, path) =>
    channel.inTurn(request, async () => {
      await mkdir(await place(root, path));
      channel.done(request);
    }),
  );
  sftp.on('RMDIR', (request, path) =>
    channel.inTurn(request, async () => {
      await rmdir(await place(root, path));
      channel.done(request);
    }),
  );
}

function serveNames(channel: SftpChannel, root: string): void {
  const { sftp } = channel;
  sftp.on('REALPATH', (request, path) =>
    channel.inTurn(request, async () => {
      const filename = posix.normalize(`/${path}`);
      sftp.name(request, [{ filename, longname: filename, attrs: {} as Attributes }]);
    }),
  );
  sftp.on('STAT', (request, path) =>
    channel.inTurn(request, async () => sftp.attrs(request, attributes(await stat(await existing(root, path))))),
  );
  sftp.on('LSTAT', (request, path) =>
    channel.inTurn(request, async () => sftp.attrs(request, attributes(await lstat(await place(root, path))))),
  );
  sftp.on('SETSTAT', (request, path, attrs) =>
    channel.inTurn(request, async () => {
      if (attrs.mtime !== undefined) await utimes(await existing(root, path), attrs.atime, attrs.mtime);
      channel.done(request);
    }),
  );
  sftp.on('REMOVE', (request, path) =>
    channel.inTurn(request, async () => {
      await unlink(await place(root, path));
      channel.done(request);
    }),
  );
  sftp.on('RENAME', (request, from, to) =>
    channel.inTurn(request, async () => {
      const source = await place(root, from);
      await link(source, await place(root, to));
      await unlink(source);
      channel.done(request);
    }),
  );
}

interface OpenHandle {
  file?: FileHandle;
  folder?: string;
  unread?: string[];
}

/** The real path of what is there, which must lie within the root. */
async function existing(root: string, path: string): Promise<string> {
  const real = await realpath(join(root, posix.normalize(`/${path}`)));
  if (real !== root && !real.startsWith(root + sep)) throw failure('EACCES');
  return real;
}

/** Where an entry is or would be: its folder is resolved, its own name is not followed. */
async function place(root: string, path: string): Promise<string> {
  const normal = posix.normalize(`/${path}`).replace(/(.)\/$/, '$1');
  if (normal === '/') return root;
  return join(await existing(root, posix.dirname(normal)), posix.basename(normal));
}

function openFlags(flags: number): number {
  const canRead = (flags & OPEN_MODE.READ) !== 0;
  const canWrite = (flags & OPEN_MODE.WRITE) !== 0;
  let wanted = canRead && canWrite ? constants.O_RDWR : canWrite ? constants.O_WRONLY : constants.O_RDONLY;
  if (flags & OPEN_MODE.CREAT) wanted |= constants.O_CREAT;
  if (flags & OPEN_MODE.TRUNC) wanted |= constants.O_TRUNC;
  if (flags & OPEN_MODE.EXCL) wanted |= constants.O_EXCL;
  return wanted | constants.O_NOFOLLOW | constants.O_NONBLOCK;
}

async function describe(
  folder: string,
  name: string,
): Promise<{ filename: string; longname: string; attrs: Attributes } | undefined> {
  try {
    const facts = await lstat(join(folder, name));
    const type = facts.isDirectory() ? 'd' : facts.isSymbolicLink() ? 'l' : '-';
    return {
      filename: name,
      longname: `${type}rw-r--r-- 1 partner partner ${facts.size} ${name}`,
      attrs: attributes(facts),
    };
  } catch {
    // Removed while the folder was read.
    return undefined;
  }
}

function attributes(facts: Stats): Attributes {
  return {
    mode: facts.mode,
    uid: facts.uid,
    gid: facts.gid,
    size: facts.size,
    atime: Math.floor(facts.atimeMs / 1000),
    mtime: Math.floor(facts.mtimeMs / 1000),
  };
}

function failure(code: string): Error {
  return Object.assign(new Error(code), { code });
}

/** The code of the operating system as SFTP says it, as OpenSSH's server does (errno_to_portable). */
function refuse(sftp: SFTPWrapper, request: number, error: NodeJS.ErrnoException): void {
  const statusOf: Record<string, number> = {
    ENOENT: STATUS_CODE.NO_SUCH_FILE,
    ENOTDIR: STATUS_CODE.NO_SUCH_FILE,
    EBADF: STATUS_CODE.NO_SUCH_FILE,
    ELOOP: STATUS_CODE.NO_SUCH_FILE,
    EACCES: STATUS_CODE.PERMISSION_DENIED,
    EPERM: STATUS_CODE.PERMISSION_DENIED,
    ENAMETOOLONG: STATUS_CODE.BAD_MESSAGE,
    EINVAL: STATUS_CODE.BAD_MESSAGE,
  };
  const code = error.code ?? '';
  const words: Record<string, string> = {
    EEXIST: 'file exists',
    ENOSPC: 'no space left on device',
    EDQUOT: 'disk quota exceeded',
  };
  sftp.status(request, statusOf[code] ?? STATUS_CODE.FAILURE, words[code] ?? 'Failure');
}
