import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { processStart } from '../embedded/processes.ts';
import { lockState } from './stateLock.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'waybill-lock-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const lockFile = (): string => join(folder, 'lock');
/** Above the highest number that any system gives. */
const deadPid = 2 ** 22 + 12_345;

test('a second one is told who holds the state, since when, and where it answers', async () => {
  const lock = await lockState(folder);
  await expect(lockState(folder)).rejects.toMatchObject({
    kind: 'conflict',
    message: expect.stringContaining('it is starting'),
  });
  lock.announce('http://127.0.0.1:4000');
  const refusal = await lockState(folder).catch((error: Error) => error.message);
  expect(refusal).toContain(`pid ${process.pid}`);
  expect(refusal).toContain('http://127.0.0.1:4000');
  expect(refusal).toMatch(/since \d{4}-\d\d-\d\dT/);
});

test('a released state can be taken again', async () => {
  const lock = await lockState(folder);
  lock.release();
  lock.release();
  (await lockState(folder)).release();
});

test('the lock of a dead process is taken over', async () => {
  writeFileSync(lockFile(), JSON.stringify({ pid: deadPid, processStart: '1', since: '', url: null }));
  await lockState(folder);
  expect(JSON.parse(readFileSync(lockFile(), 'utf8')).pid).toBe(process.pid);
});

test('a living process that only got the number of the dead holder does not keep it', async () => {
  const other = { pid: process.ppid, processStart: 'another time', since: '', url: null };
  writeFileSync(lockFile(), JSON.stringify(other));
  await lockState(folder);
  expect(await processStart(process.ppid)).not.toBe('another time');
});

test('a lock file that was cut short is taken over', async () => {
  writeFileSync(lockFile(), '{"pid": 1');
  await lockState(folder);
});

test('of many at once exactly one gets a stale lock', async () => {
  writeFileSync(lockFile(), JSON.stringify({ pid: deadPid, processStart: '1', since: '', url: null }));
  const results = await Promise.allSettled(Array.from({ length: 8 }, () => lockState(folder)));
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
});
