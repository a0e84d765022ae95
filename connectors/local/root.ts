import { type BigIntStats, constants, lstatSync } from 'node:fs';
import { mkdir, realpath, stat } from 'node:fs/promises';
import { isAbsolute, join, sep } from 'node:path';
import { WaybillError } from '../../schema/errors.ts';
import { baseName, normalisePath, parentFolder } from '../../schema/paths.ts';
import { Disk } from './disk.ts';
import { hasCode, localError } from './failures.ts';
import { OpenFile } from './openFile.ts';

/**
 * The folder that an endpoint may touch. Every path is resolved through its symbolic links before use, and what is then
 * used is the resolved path, so that a link inside the root cannot lead out of it.
 */
export class Root {
  readonly #root: string;
  readonly #allowed: readonly string[];
  readonly disk: Disk;
  #found: FoundRoot | undefined;
  /** In this turn of the event loop. */
  #wasInPlace = false;
  readonly #syncs = new Map<string, FolderSync>();

  constructor(root: string, allowed: readonly string[], disk = new Disk()) {
    this.#root = root;
    this.#allowed = allowed;
    this.disk = disk;
  }

  /** The real path of the root. Throws not-found when it is absent, forbidden when the operator does not allow it. */
  async real(): Promise<string> {
    if (this.#found === undefined) {
      this.#found = await findRoot(this.#root, this.#allowed);
      this.disk.isAt(this.#found.real);
    }
    return this.#found.real;
  }

  /** The real path of what is at `path`, links followed. Throws not-found, or forbidden when it lies outside the root. */
  async existing(path: string): Promise<string> {
    const plain = withoutEndSlash(path);
    const seen = this.#look(plain);
    if (seen !== undefined) return seen.real;
    const root = await this.real();
    const real = await realpath(join(root, plain)).catch((error) => {
      throw localError(error, 'resolving', path);
    });
    if (!isWithin(real, root)) throw outside(path);
    return real;
  }

  /** Where an entry of that name is or would be: its folder resolved, its own name not followed. Throws not-found when the folder is absent. */
  async entry(path: string): Promise<string> {
    const plain = withoutEndSlash(path);
    if (plain === '/') throw new WaybillError('invalid', '/: is the root of the endpoint', { path });
    return join(await this.existing(parentFolder(plain)), baseName(plain));
  }

  /** As `entry`, and makes the missing folders above it, durably. */
  async entryToWrite(path: string): Promise<string> {
    const plain = withoutEndSlash(path);
    const folder = parentFolder(plain);
    const real = plain === '/' ? undefined : await this.#findFolder(folder);
    if (real !== undefined) return join(real, baseName(plain));
    await this.#makeFolders(folder);
    return this.entry(path);
  }

  /**
   * Makes a rename or a new name in that folder (a real path) survive a power cut. Calls that come while the folder is
   * synced share the next sync: many small files into one folder pay for few.
   */
  syncFolder(folder: string): Promise<void> {
    const present = this.#syncs.get(folder);
    if (present === undefined) return this.#sync(folder);
    const again = () => this.#sync(folder);
    present.next ??= present.running.then(again, again);
    return present.next;
  }

  #sync(folder: string): Promise<void> {
    const sync: FolderSync = { running: this.#syncOnce(folder), next: undefined };
    this.#syncs.set(folder, sync);
    const forget = () => {
      if (sync.next === undefined) this.#syncs.delete(folder);
    };
    sync.running.then(forget, forget);
    return sync.running;
  }

  async #syncOnce(folder: string): Promise<void> {
    const handle = await OpenFile.open(this.disk, folder, constants.O_RDONLY);
    try {
      await handle.sync();
    } catch (error) {
      // Some network filesystems cannot sync a folder; they make names durable in their own way.
      if (!hasCode(error, 'EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'EBADF')) throw error;
    } finally {
      await handle.close();
    }
  }

  /** Makes the folder and what is missing above it, durably; gives whether anything was missing. Throws exists when a file is in the way. */
  async makeFolder(path: string): Promise<boolean> {
    const folder = withoutEndSlash(path);
    if ((await this.#findFolder(folder)) !== undefined) return false;
    await this.#makeFolders(folder);
    return true;
  }

  async #makeFolders(folder: string): Promise<void> {
    const missing: string[] = [];
    let above = folder;
    while (above !== '/' && (await this.#findFolder(above)) === undefined) {
      missing.unshift(baseName(above));
      above = parentFolder(above);
    }
    let real = await this.existing(above);
    for (const name of missing) {
      const made = join(real, name);
      await mkdir(made).catch((error) => {
        if (!hasCode(error, 'EEXIST')) throw localError(error, 'making a folder', folder);
      });
      await this.syncFolder(real);
      real = made;
    }
  }

  /**
   * What is at the path, when it is there without a symbolic link on the way, and the disk answers at once; else undefined.
   * It follows nothing: a link may lead to a filesystem that does not answer.
   */
  #look(plain: string): { real: string; isFolder: boolean } | undefined {
    const found = this.#found;
    if (found === undefined || !this.disk.answersAtOnce()) return undefined;
    const startedMs = performance.now();
    try {
      if (!this.#isInPlace(found)) return undefined;
      let real = found.real;
      let isFolder = true;
      for (const name of plain.split('/')) {
        if (name === '') continue;
        real = real === sep ? sep + name : real + sep + name;
        const facts = lstatSync(real, { throwIfNoEntry: false });
        if (facts === undefined || facts.isSymbolicLink()) return undefined;
        isFolder = facts.isDirectory();
      }
      return { real, isFolder };
    } catch {
      // Why not is said by who asks in the usual way.
      return undefined;
    } finally {
      this.disk.took(performance.now() - startedMs);
    }
  }

  /** Whether the root is still the folder that the operator allowed; looked at once in a turn of the event loop. */
  #isInPlace({ real, facts }: FoundRoot): boolean {
    if (this.#wasInPlace) return true;
    const { dev, ino } = lstatSync(real, { bigint: true });
    if (dev !== facts.dev || ino !== facts.ino) return false;
    this.#wasInPlace = true;
    setImmediate(() => {
      this.#wasInPlace = false;
    });
    return true;
  }

  /** Its real path, or undefined. Throws exists when what is there is not a folder. */
  async #findFolder(path: string): Promise<string | undefined> {
    const seen = this.#look(path);
    if (seen?.isFolder) return seen.real;
    try {
      const real = await this.existing(path);
      if ((await stat(real)).isDirectory()) return real;
    } catch (error) {
      if (error instanceof WaybillError && error.kind === 'not-found') return undefined;
      throw localError(error, 'resolving', path);
    }
    throw new WaybillError('exists', `${path}: is a file where a folder is needed`, {
      operation: 'making a folder',
      path,
    });
  }
}

interface FolderSync {
  running: Promise<void>;
  /** Of the calls that came after `running` had begun, which may not see their change. */
  next: Promise<void> | undefined;
}

interface FoundRoot {
  real: string;
  facts: BigIntStats;
}

async function findRoot(root: string, allowed: readonly string[]): Promise<FoundRoot> {
  if (!isAbsolute(root))
    throw new WaybillError('invalid', `root ${JSON.stringify(root)} must be an absolute path`, { field: 'root' });
  const real = await realpath(root).catch((error) => {
    throw localError(error, 'opening the root', root);
  });
  const facts = await stat(real, { bigint: true });
  if (!facts.isDirectory()) throw new WaybillError('invalid', `root ${root} is not a folder`, { field: 'root' });
  if (allowed.includes('*')) return { real, facts };
  for (const folder of allowed) {
    const within = await realpath(folder).catch(() => undefined);
    if (within !== undefined && isWithin(real, within)) return { real, facts };
  }
  throw new WaybillError('forbidden', `root ${root} is outside the folders that the operator allows`, {
    field: 'root',
  });
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}

function withoutEndSlash(path: string): string {
  const normal = normalisePath(path);
  return normal.length > 1 && normal.endsWith('/') ? normal.slice(0, -1) : normal;
}

function outside(path: string): WaybillError {
  return new WaybillError('forbidden', `${path}: leads outside the root of the endpoint through a symbolic link`, {
    operation: 'resolving',
    path,
  });
}
