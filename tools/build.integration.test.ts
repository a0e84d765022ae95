import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { packageRoot } from '../cli/version.ts';

const run = promisify(execFile);
const maxOutputBytes = 64 * 1024 * 1024;

test('the npm package holds every file that is read or started by its name', { timeout: 120_000 }, async () => {
  await run(process.execPath, [join(packageRoot(), 'tools', 'build.ts')]);
  const built = (...words: string[]) =>
    run(process.execPath, [join(packageRoot(), 'dist', 'cli', words[0]!), ...words.slice(1)], {
      maxBuffer: maxOutputBytes,
    });
  expect((await built('main.js', '--version')).stdout).toMatch(/^\d+\.\d+\.\d+/);
  // What the worker asks for when it starts: the workflows and all that they load.
  const { stdout } = await built('services/bundleProcess.js');
  expect(Object.keys(JSON.parse(stdout))).toEqual(['runs', 'system']);
});
