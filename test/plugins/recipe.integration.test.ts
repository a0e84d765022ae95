import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readPage, repositoryRoot } from '../documents.ts';
import { type Installation, startInstallation } from '../servers/installation.ts';

const page = readPage('docs/connectors.md');
const [install, use] = page.blocks.filter(({ language }) => language === 'sh');
const run = promisify(execFile);

let installation: Installation;
let installed = '';
beforeAll(async () => {
  installation = await startInstallation(async (folder) => {
    await mkdir(join(folder, 'bin'));
    const waybill = `#!/bin/sh\nexec '${process.execPath}' '${join(repositoryRoot, 'cli/main.ts')}' "$@"\n`;
    await writeFile(join(folder, 'bin/waybill'), waybill, { mode: 0o755 });
    await symlink(join(repositoryRoot, 'test'), join(folder, 'test'));
    installed = await shell(folder, install!.text, {});
    return { WAYBILL_PLUGINS: join(folder, 'plugins.yaml') };
  });
}, 240_000);
afterAll(() => installation?.stop(), 120_000);

test('docs/connectors.md, followed: a plugin is pinned, and moves a file in a real run', {
  timeout: 180_000,
}, async () => {
  expect(installed).toMatch(/waybill-shelf +1\.0\.0 +shelf/);
  const { folder, environment } = installation;
  for (const name of ['shelf-files', 'landing']) await mkdir(join(folder, name));
  await writeFile(join(folder, 'shelf-files/orders.csv'), 'id;amount\n1;10\n');
  for (const { info, text } of page.blocks.filter(({ info }) => info.startsWith('file=')))
    await writeFile(
      join(folder, info.slice('file='.length)),
      text.replace('/srv/shelf', join(folder, 'shelf-files')).replace('/srv/in', join(folder, 'landing')),
    );
  await shell(folder, use!.text, environment);
  expect(await readFile(join(folder, 'landing/orders.csv'), 'utf8')).toBe('id;amount\n1;10\n');
  expect(await readdir(join(folder, 'shelf-files'))).toEqual([]);
});

test('the code that docs/connectors.md shows is that of the plugin that the tests run', async () => {
  const code = await readFile(join(import.meta.dirname, 'shelf/index.js'), 'utf8');
  const shown = page.blocks.filter(({ language }) => language === 'js').map(({ text }) => text);
  expect(shown).toHaveLength(3);
  for (const text of shown.slice(0, 2)) expect(code).toContain(text);
});

async function shell(folder: string, script: string, environment: Record<string, string>): Promise<string> {
  // What is wrong with a file is said on stdout, which a failure does not quote.
  const { stdout } = await run('/bin/sh', ['-e', '-c', script], {
    cwd: folder,
    env: { ...environment, HOME: folder, NO_COLOR: '1', PATH: `${join(folder, 'bin')}:/usr/bin:/bin` },
  }).catch((error: { stdout: string; stderr: string }) => {
    throw new Error(`${script}\n${error.stdout}${error.stderr}`);
  });
  return stdout;
}
