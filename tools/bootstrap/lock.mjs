// One bootstrap at a time: the others wait for it, and take over when it died.
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { say } from './progress.mjs';

const pollMs = 200;

/** Runs `work` while holding the lock file. Waits for a living holder, saying so once; a dead holder's lock is taken over. */
export async function withLock(lockPath, work) {
  await acquire(lockPath);
  const release = () => rmSync(lockPath, { force: true });
  process.once('exit', release);
  try {
    return await work();
  } finally {
    process.off('exit', release);
    release();
  }
}

async function acquire(lockPath) {
  mkdirSync(dirname(lockPath), { recursive: true });
  let said = false;
  while (!createLock(lockPath)) {
    const holder = readHolder(lockPath);
    if (holder !== undefined && !isAlive(holder)) {
      removeStale(lockPath, holder);
      continue;
    }
    if (!said && holder !== undefined) {
      say(`another bootstrap (pid ${holder}) is at work; waiting for it`);
      said = true;
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

// A link appears with its content, so that nobody ever reads an empty lock.
function createLock(lockPath) {
  const own = `${lockPath}.${process.pid}`;
  writeFileSync(own, String(process.pid));
  try {
    linkSync(own, lockPath);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(own, { force: true });
  }
}

function readHolder(lockPath) {
  try {
    return Number(readFileSync(lockPath, 'utf8'));
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}

// Of several that see the same dead holder one wins the rename. It looks at what it moved: a lock that somebody took in
// between goes back.
function removeStale(lockPath, deadHolder) {
  const aside = `${lockPath}.stale.${process.pid}`;
  try {
    renameSync(lockPath, aside);
  } catch (error) {
    if (error.code === 'ENOENT') return;
    throw error;
  }
  if (readHolder(aside) !== deadHolder) linkSync(aside, lockPath);
  rmSync(aside, { force: true });
}

function isAlive(pid) {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}
