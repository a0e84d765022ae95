import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { unpack } from './bootstrap/archive.mjs';
import { isSupported } from './bootstrap/node.mjs';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'waybill-bootstrap-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('a Node older than 22.19, or one that the suite does not run on, is not used', () => {
  const versions = ['18.20.0', '20.20.2', '22.18.0', '22.19.0', '22.23.3', '23.1.0', '24.21.0', '26.0.0'];
  expect(versions.filter(isSupported)).toEqual(['22.19.0', '22.23.3', '24.21.0']);
});

describe('the archive of npm pack', () => {
  test('is unpacked without its first folder, with executable files executable', () => {
    unpack(
      gzipSync(
        Buffer.concat([entry('package/bin/node', 'binary', '755'), entry('package/README.md', 'text', '644'), end]),
      ),
      folder,
    );
    expect(readFileSync(join(folder, 'README.md'), 'utf8')).toBe('text');
    expect(statSync(join(folder, 'bin/node')).mode & 0o777).toBe(0o755);
    expect(statSync(join(folder, 'README.md')).mode & 0o111).toBe(0);
  });

  test('cannot write outside', () => {
    const archive = gzipSync(Buffer.concat([entry('package/../../evil', 'x', '644'), end]));
    expect(() => unpack(archive, folder)).toThrow('refused');
    expect(existsSync(join(folder, '../evil'))).toBe(false);
  });

  test('takes names of more than 100 letters from a pax header', () => {
    const long = `package/${'n'.repeat(150)}`;
    const record = ` path=${long}\n`;
    const pax = `${record.length + 3}${record}`;
    unpack(
      gzipSync(Buffer.concat([entry('PaxHeader', pax, '644', 'x'), entry('package/short', 'long name', '644'), end])),
      folder,
    );
    expect(readFileSync(join(folder, 'n'.repeat(150)), 'utf8')).toBe('long name');
  });
});

describe('the lock', () => {
  test('lets one bootstrap work at a time', async () => {
    const log = join(folder, 'log');
    const codes = await Promise.all([1, 2, 3].map(() => holdLock(log)));
    expect(codes).toEqual([0, 0, 0]);
    expect(readFileSync(log, 'utf8')).toBe('begin end '.repeat(3));
    expect(existsSync(join(folder, 'lock'))).toBe(false);
  });

  test('of a dead bootstrap is taken over', async () => {
    writeFileSync(join(folder, 'lock'), String(2 ** 22 + 12_345));
    expect(await holdLock(join(folder, 'log'))).toBe(0);
  });

  async function holdLock(log: string): Promise<number> {
    const script = `
      import { appendFileSync } from 'node:fs';
      import { withLock } from ${JSON.stringify(new URL('./bootstrap/lock.mjs', import.meta.url).href)};
      await withLock(${JSON.stringify(join(folder, 'lock'))}, async () => {
        appendFileSync(${JSON.stringify(log)}, 'begin ');
        await new Promise((resolve) => setTimeout(resolve, 100));
        appendFileSync(${JSON.stringify(log)}, 'end ');
      });`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'ignore' });
    const [code] = await once(child, 'exit');
    return code;
  }
});

const end = Buffer.alloc(1024);

/** One entry of a ustar archive. */
function entry(name: string, content: string, mode: string, type = '0'): Buffer {
  const header = Buffer.alloc(512);
  header.write(name, 0);
  header.write(mode.padStart(7, '0'), 100);
  header.write(Buffer.byteLength(content).toString(8).padStart(11, '0'), 124);
  header.write(type, 156);
  header.write('ustar', 257);
  const body = Buffer.alloc(Math.ceil(Buffer.byteLength(content) / 512) * 512);
  body.write(content);
  return Buffer.concat([header, body]);
}
