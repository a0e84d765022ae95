import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { CheckedDocument } from '../../language/check.ts';
import { collectFiles } from './collect.ts';
import { readDocumentSecrets } from './secrets.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'waybill-configuration-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const write = (name: string, text = ''): string => {
  const path = join(folder, name);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, text);
  return path;
};

describe('files of a path', () => {
  test('are the YAML below a folder, in a stable order, without hidden folders and node_modules', async () => {
    for (const name of ['b.yaml', 'a/z.yml', 'a/notes.txt', '.git/x.yaml', 'node_modules/y.yaml', '.hidden.yaml'])
      write(name);
    const files = await collectFiles([folder]);
    expect(files.map(({ file }) => file)).toEqual([join(folder, 'a/z.yml'), join(folder, 'b.yaml')]);
  });

  test('come once when named twice, and whatever its name when a file is named', async () => {
    const file = write('pipeline.txt', 'x: 1');
    expect(await collectFiles([file, file])).toEqual([{ file, text: 'x: 1' }]);
  });

  test('do not follow a link to a folder, which may go round in a circle', async () => {
    write('a.yaml');
    symlinkSync(folder, join(folder, 'loop.yaml'));
    await expect(collectFiles([folder])).rejects.toMatchObject({ kind: 'invalid' });
    rmSync(join(folder, 'loop.yaml'));
    symlinkSync(folder, join(folder, 'loop'));
    expect(await collectFiles([folder])).toHaveLength(1);
  });
});

describe('secrets of documents', () => {
  const endpoint = (secrets: Record<string, object>): CheckedDocument =>
    ({
      kind: 'endpoint',
      name: 'acme-sftp',
      file: join(folder, 'etc/acme.yaml'),
      secrets,
    }) as unknown as CheckedDocument;

  test('are read relative to the file that names them; one line loses its newline, a key in lines keeps all', async () => {
    write('etc/acme_key', 'line 1\nline 2\n');
    write('password', 'hunter2\n');
    const document = endpoint({
      privateKey: { file: './acme_key' },
      password: { file: '../password' },
      passphrase: { env: 'P' },
    });
    expect(await readDocumentSecrets([document], { P: 'from the environment' })).toEqual([
      { kind: 'endpoint', name: 'acme-sftp', secret: 'privateKey', value: 'line 1\nline 2\n' },
      { kind: 'endpoint', name: 'acme-sftp', secret: 'password', value: 'hunter2' },
      { kind: 'endpoint', name: 'acme-sftp', secret: 'passphrase', value: 'from the environment' },
    ]);
  });

  test('that the server keeps are not sent', async () => {
    expect(await readDocumentSecrets([endpoint({ password: { secret: 'acme-password' } })], {})).toEqual([]);
  });

  test('that cannot be read are named all at once', async () => {
    const document = endpoint({ privateKey: { file: './absent' }, passphrase: { env: 'ABSENT' } });
    const refusal = readDocumentSecrets([document], {});
    await expect(refusal).rejects.toMatchObject({ kind: 'invalid' });
    await expect(refusal).rejects.toThrow(/secret privateKey.*ENOENT.*secret passphrase.*ABSENT is not set/s);
  });
});
