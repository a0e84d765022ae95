import {
  chmodSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type CommandOptions, type Ended, waybill } from '../test/commandLine.ts';

const untidy = 'apiVersion: "waybill/v1"\npipeline:   acme-orders # why\nsteps: [ {wait: 1s} ]\n';
const tidy = 'pipeline: acme-orders # why\napiVersion: waybill/v1\nsteps: [{ wait: 1s }]\n';
const broken = 'pipeline: acme-broken\napiVersion: waybill/v1\nsteps: [\n';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'waybill-authoring-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const write = (name: string, text: string | Buffer) => writeFileSync(join(folder, name), text);
const read = (name: string) => readFileSync(join(folder, name), 'utf8');
const run = (words: string[], options: CommandOptions = {}): Promise<Ended> =>
  waybill(words, { cwd: folder, ...options });
const timeout = 60_000;

describe('fmt', { timeout }, () => {
  test('lays out what is ours, names it, and leaves the rest with a reason', async () => {
    write('untidy.yaml', untidy);
    write('tidy.yaml', tidy);
    write('foreign.yaml', 'services:   { web: 1 }\n');
    const { code, stdout, stderr } = await run(['fmt']);
    expect([code, stdout]).toEqual([0, 'untidy.yaml\n']);
    expect(stderr).toContain('left alone foreign.yaml');
    expect([read('untidy.yaml'), read('tidy.yaml'), read('foreign.yaml')]).toEqual([
      tidy,
      tidy,
      'services:   { web: 1 }\n',
    ]);
    expect(readdirSync(folder).sort()).toEqual(['foreign.yaml', 'tidy.yaml', 'untidy.yaml']);
  });

  test('--check writes nothing, and ends with 1 as long as there is something to do', async () => {
    write('untidy.yaml', untidy);
    const { code, stdout } = await run(['fmt', '.', '--check']);
    expect([code, stdout, read('untidy.yaml')]).toEqual([1, 'untidy.yaml\n', untidy]);
    await run(['fmt', 'untidy.yaml']);
    expect((await run(['fmt', '--check', '--json'])).stdout).toBe(
      '{"ok":true,"changed":[],"leftAlone":[],"diagnostics":[]}\n',
    );
  });

  test('a file that cannot be read stays as it is: 2, with its mistakes, and the others are laid out', async () => {
    write('broken.yaml', broken);
    write('untidy.yaml', untidy);
    const { code, stderr } = await run(['fmt']);
    expect(code).toBe(2);
    expect(stderr).toContain('broken.yaml:4:1: error YAML_SYNTAX');
    expect([read('broken.yaml'), read('untidy.yaml')]).toEqual([broken, tidy]);
  });

  test('keeps the mode of a file, a link as a link, and bytes that are no text', async () => {
    write('real.yml', untidy);
    chmodSync(join(folder, 'real.yml'), 0o640);
    symlinkSync('real.yml', join(folder, 'link.yaml'));
    const bytes = Buffer.concat([Buffer.from(untidy), Buffer.from([0x23, 0xff, 0x0a])]);
    write('latin.yaml', bytes);
    expect((await run(['fmt', 'link.yaml', 'latin.yaml'])).code).toBe(0);
    expect(read('real.yml')).toBe(tidy);
    expect(statSync(join(folder, 'real.yml')).mode & 0o777).toBe(0o640);
    expect(lstatSync(join(folder, 'link.yaml')).isSymbolicLink()).toBe(true);
    expect(readFileSync(join(folder, 'latin.yaml'))).toEqual(bytes);
  });

  test('- takes stdin and writes stdout; what cannot be read comes back as it was', async () => {
    expect(await run(['fmt', '-'], { input: untidy })).toMatchObject({ code: 0, stdout: tidy });
    expect(await run(['fmt', '-'], { input: broken })).toMatchObject({ code: 2, stdout: broken });
    expect(await run(['fmt', '-', '--check'], { input: untidy })).toMatchObject({ code: 1, stdout: '-\n' });
  });
});

describe('explain', { timeout }, () => {
  test.each([
    ['UNKNOWN_KEY', 'mistake in a file'],
    ['unknown-key', 'mistake in a file'],
    ['not-found', 'kind of failure'],
    ['IDEMPOTENCY_KEY_CONFLICT', 'error of the API'],
    ['transfer.copy@1', 'Copies a file'],
    ['transfer.copy', 'verify'],
    ['forEach', 'CEL that gives a list or a file set'],
    ['retry.notOn', 'list of kinds of failure'],
    ['notOn', 'defaults.retry.notOn'],
    ['concurrency.onLimit', 'cancel-oldest'],
    ['addDays', 'function'],
    ['sftp', 'hostKeys'],
    ['exclude', 'transfer.copy@1'],
  ])('%s', async (word, told) => {
    const { code, stdout } = await run(['explain', word]);
    expect(code).toBe(0);
    expect(stdout).toContain(told);
  });

  test('--json gives one object', async () => {
    const { word, topics } = JSON.parse((await run(['explain', 'maxParallel', '--json'])).stdout);
    expect(word).toBe('maxParallel');
    expect(topics.map(({ kind, name }: { kind: string; name: string }) => [kind, name])).toContainEqual([
      'key',
      'maxParallel',
    ]);
  });

  test('a word that means nothing is 2, with the one that was meant', async () => {
    const { code, stderr } = await run(['explain', 'maxParalel']);
    expect(code).toBe(2);
    expect(stderr).toContain('did you mean maxParallel?');
    expect((await run(['explain', 'constructor'])).code).toBe(2);
  });
});

describe('what programs read', { timeout }, () => {
  test('schema is the committed one, as JSON', async () => {
    const { code, stdout } = await run(['schema']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout).definitions).toHaveProperty('connector-sftp');
    expect(stdout).toBe(readFileSync(new URL('../schema/pipeline.v1.json', import.meta.url), 'utf8'));
  });

  test('validate as SARIF and for GitHub ends as the text does', async () => {
    write('bad.yaml', 'pipeline: acme-orders\napiVersion: waybill/v1\nstepz: []\n');
    const sarif = await run(['validate', 'bad.yaml', '--format', 'sarif']);
    expect(sarif.code).toBe(2);
    expect(JSON.parse(sarif.stdout).runs[0].results[0]).toMatchObject({ ruleId: 'MISSING_KEY' });
    const github = await run(['validate', 'bad.yaml', '--format', 'github']);
    expect(github.code).toBe(2);
    expect(github.stdout).toContain('::error file=bad.yaml,line=3,col=1,endLine=3,endColumn=6,title=UNKNOWN_KEY::');
    write('good.yaml', tidy);
    expect(await run(['validate', 'good.yaml', '--format', 'github'])).toMatchObject({ code: 0, stdout: '' });
    expect((await run(['validate', 'good.yaml', '--format', 'sarif'])).code).toBe(0);
  });
});
