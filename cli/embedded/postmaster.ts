import { execFile } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';

export interface Postmaster {
  pid: number;
  port: number;
  /** It accepts connections. */
  ready: boolean;
}

/** Lines of postmaster.pid, counted from zero (PostgreSQL's `utils/pidfile.h`). */
const line = { pid: 0, port: 3, status: 7 } as const;

/**
 * The server that lives on this data folder, read from its postmaster.pid, or undefined. A file that a crash left behind
 * does not count, even when its process id now belongs to something else: the process must be a postgres of this folder.
 */
export async function readPostmaster(dataFolder: string): Promise<Postmaster | undefined> {
  const lines = await readLines(dataFolder);
  // PostgreSQL's standalone mode writes a negative process id.
  const pid = Math.abs(Number(lines[line.pid]));
  if (!Number.isSafeInteger(pid) || pid < 2 || !(await isPostgresOf(pid, dataFolder))) return undefined;
  return { pid, port: Number(lines[line.port]), ready: lines[line.status]?.trim() === 'ready' };
}

/**
 * Removes a postmaster.pid whose process id now belongs to something else, as after a reboot: PostgreSQL itself refuses to
 * start when that something runs under its own account. One whose process is gone is left to PostgreSQL, which then also
 * makes sure that no process of its own still uses the data.
 */
export async function removeReusedPid(dataFolder: string): Promise<void> {
  const pid = Math.abs(Number((await readLines(dataFolder))[line.pid]));
  if (!Number.isSafeInteger(pid) || pid < 2 || !isAlive(pid) || (await isPostgresOf(pid, dataFolder))) return;
  await rm(path.join(dataFolder, 'postmaster.pid'), { force: true });
}

async function readLines(dataFolder: string): Promise<string[]> {
  const text = await readFile(path.join(dataFolder, 'postmaster.pid'), 'utf8').catch(() => '');
  return text.split('\n');
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** `ps` gives an empty or bracketed command for a dead process that nobody has waited for yet. */
async function isPostgresOf(pid: number, dataFolder: string): Promise<boolean> {
  const command =
    process.platform === 'linux'
      ? await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
      : await promisify(execFile)('ps', ['-ww', '-o', 'command=', '-p', String(pid)]).then(
          ({ stdout }) => stdout,
          () => '',
        );
  return command.includes('postgres') && command.includes(dataFolder);
}
