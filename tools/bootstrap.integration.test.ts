import { execFile, execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { packageRoot } from '../cli/version.ts';
import { isSupported } from './bootstrap/node.mjs';

const timeoutMs = 180_000;
let clone: string;

beforeAll(() => {
  clone = mkdtempSync(join(tmpdir(), 'waybill-clone-'));
  for (const name of ['package.json', 'package-lock.json', 'prisma.config.ts', 'tools', 'prisma/schema.prisma']) {
    cpSync(join(packageRoot(), name), join(clone, name), { recursive: true });
  }
  symlinkSync(join(packageRoot(), 'node_modules'), join(clone, 'node_modules'));
  mkdirSync(join(clone, 'elsewhere'));
  writeFileSync(
    join(clone, 'show.ts'),
    `const words: string[] = process.argv.slice(2);
     console.log(JSON.stringify({ version: process.version, folder: process.cwd(), words, nodedir: process.env.npm_config_nodedir ?? null }));
     process.exitCode = 7;`,
  );
});
afterAll(() => rmSync(clone, { recursive: true, force: true }));

/** The Node of the machine, outside our cache: the one that a newcomer has. */
function machineNode(): string {
  const places = ['/usr/bin/node', '/usr/local/bin/node', '/opt/homebrew/bin/node'].filter((place) =>
    existsSync(place),
  );
  return places[0] ?? process.execPath;
}

function bootstrap(
  node: string,
  words: string[],
): Promise<{ code: number; shown: Record<string, unknown>; stderr: string }> {
  return new Promise((resolve) => {
    const options = { cwd: join(clone, 'elsewhere'), env: process.env };
    execFile(node, [join(clone, 'tools/bootstrap.mjs'), ...words], options, (error, stdout, stderr) => {
      resolve({
        code: typeof error?.code === 'number' ? error.code : 0,
        shown: stdout === '' ? {} : JSON.parse(stdout),
        stderr,
      });
    });
  });
}

test("on the machine's own Node a script runs under a supported one, in the caller's folder, with its exit code", {
  timeout: timeoutMs,
}, async () => {
  const node = machineNode();
  const { code, shown, stderr } = await bootstrap(node, ['show.ts', '--json', 'a b']);
  expect(code, stderr).toBe(7);
  expect(isSupported(String(shown.version).slice(1))).toBe(true);
  expect(shown).toMatchObject({ folder: join(clone, 'elsewhere'), words: ['--json', 'a b'] });
  const version = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim();
  if (!isSupported(version.slice(1))) expect(shown.version).toBe('v22.23.3');
  expect(existsSync(join(clone, 'prisma/generated/client.ts'))).toBe(true);
});

test('the second time it changes nothing; a changed schema is generated again', { timeout: timeoutMs }, async () => {
  await bootstrap(machineNode(), ['show.ts']);
  const stamp = readFileSync(join(clone, 'prisma/generated/.waybill-schema'), 'utf8');
  const client = join(clone, 'prisma/generated/client.ts');
  writeFileSync(client, '// untouched');
  await bootstrap(machineNode(), ['show.ts']);
  expect(readFileSync(client, 'utf8')).toBe('// untouched');

  writeFileSync(
    join(clone, 'prisma/schema.prisma'),
    `${readFileSync(join(clone, 'prisma/schema.prisma'), 'utf8')}\n// changed\n`,
  );
  await bootstrap(machineNode(), ['show.ts']);
  expect(readFileSync(client, 'utf8')).not.toBe('// untouched');
  expect(readFileSync(join(clone, 'prisma/generated/.waybill-schema'), 'utf8')).not.toBe(stamp);
});

test('a version can be asked for, and comes with its headers', { timeout: timeoutMs }, async () => {
  const { shown, stderr } = await bootstrap(process.execPath, ['--node', '24.21.0', 'show.ts']);
  expect(shown.version, stderr).toBe('v24.21.0');
  expect(process.version === 'v24.21.0' || existsSync(join(String(shown.nodedir), 'include/node/node.h'))).toBe(true);
});

test('a version without a pinned checksum is refused in one line', async () => {
  const { code, stderr } = await bootstrap(process.execPath, ['--node', '19.0.0', 'show.ts']);
  expect(code).toBe(1);
  expect(stderr).toMatch(/^waybill: .*Node 19\.0\.0 cannot be had.*\n$/);
});
