import { randomFillSync } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, open, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { inFlight } from '../benchmark.ts';

const blockBytes = 8 * 1024 ** 2;
const filesInFlight = 16;

/** One file that nothing can shorten: each of its blocks is other random bytes. */
export async function makeLarge(path: string, bytes: number): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const file = await open(path, 'w');
  const block = Buffer.allocUnsafe(blockBytes);
  for (let at = 0; at < bytes; at += blockBytes)
    await file.write(randomFillSync(block), 0, Math.min(blockBytes, bytes - at), at);
  await file.close();
}

/** `0.bin`, `1.bin` ... with random bytes. */
export async function makeSmall(folder: string, count: number, bytes: number): Promise<void> {
  await mkdir(folder, { recursive: true });
  await inFlight(filesInFlight, count, 1, (index) =>
    writeFile(join(folder, `${index}.bin`), randomFillSync(Buffer.allocUnsafe(bytes))),
  );
}

/** A file of that size that takes no disk: its bytes are zero. */
export async function makeSparse(path: string, bytes: number): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, '');
  await truncate(path, bytes);
}

/** An empty folder is there afterwards. */
export async function emptied(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
}

/** A folder in memory where the system has one: there an fsync costs nothing, and what is left is our own work. */
export function memoryFolder(): string {
  return existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
}
