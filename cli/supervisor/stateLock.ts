import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { WaybillError } from '../../schema/errors.ts';
import { isRunning, processStart } from '../embedded/processes.ts';

interface Holder {
  pid: number;
  /** Tells a living holder from another process that got its number. */
  processStart: string;
  since: string;
  url: string | null;
}

export interface StateLock {
  /** Lets the next one that is refused say where this one answers. */
  announce(url: string): void;
  /** Safe twice. */
  release(): void;
}

const attempts = 10;

/**
 * Holds the state folder for this process. A lock whose holder is dead is taken over. Throws conflict, saying who holds it
 * (pid, since when, where it answers), when the holder lives.
 */
export async function lockState(stateFolder: string): Promise<StateLock> {
  const path = join(stateFolder, 'lock');
  const own: Holder = {
    pid: process.pid,
    processStart: await processStart(process.pid),
    since: new Date().toISOString(),
    url: null,
  };
  for (let attempt = 0; attempt < attempts; attempt++) {
    if (create(path, own)) return held(path, own);
    const holder = read(path);
    if (holder === undefined) continue;
    if (await isAlive(holder)) throw heldBy(stateFolder, holder);
    removeStale(path, holder);
  }
  throw new WaybillError('conflict', `cannot take ${path}: others keep taking it`);
}

function held(path: string, own: Holder): StateLock {
  const isOwn = (): boolean => read(path)?.pid === own.pid;
  return {
    announce(url) {
      const draft = `${path}.${own.pid}`;
      writeFileSync(draft, JSON.stringify({ ...own, url }), { mode: 0o600 });
      renameSync(draft, path);
    },
    release() {
      if (isOwn()) rmSync(path, { force: true });
    },
  };
}

function heldBy(stateFolder: string, holder: Holder): WaybillError {
  const where = holder.url === null ? 'it is starting' : `it answers at ${holder.url}`;
  return new WaybillError(
    'conflict',
    `${stateFolder} is in use by another \`waybill dev\`: pid ${holder.pid}, since ${holder.since}; ${where}. Stop it, or choose another --state.`,
    { pid: holder.pid },
  );
}

// A link appears with its content, so that nobody ever reads half a lock.
function create(path: string, own: Holder): boolean {
  const draft = `${path}.${own.pid}`;
  writeFileSync(draft, JSON.stringify(own), { mode: 0o600 });
  try {
    linkSync(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

function read(path: string): Holder | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Holder;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    // Cut short by a full disk or a crash: nobody holds it.
    if (error instanceof SyntaxError) return { pid: 0, processStart: '', since: '', url: null };
    throw error;
  }
}

async function isAlive(holder: Holder): Promise<boolean> {
  return holder.pid > 0 && isRunning(holder.pid) && (await processStart(holder.pid)) === holder.processStart;
}

// Of several that see the same dead holder one wins the rename, and looks at what it moved: a lock taken meanwhile goes back.
function removeStale(path: string, dead: Holder): void {
  const aside = `${path}.stale.${process.pid}`;
  try {
    renameSync(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  if (read(aside)?.pid !== dead.pid) linkSync(aside, path);
  rmSync(aside, { force: true });
}
