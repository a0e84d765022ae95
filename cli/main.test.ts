import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { waybill } from '../test/commandLine.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'waybill-cli-'));
  writeFileSync(
    join(folder, 'good.yaml'),
    'pipeline: good-one\napiVersion: waybill/v1\nendpoints: { a: one-place, b: other-place }\nsteps:\n  - id: copy\n    use: transfer.copy@1\n    with: { from: "a:/x.csv", to: "b:/y/" }\n',
  );
  writeFileSync(join(folder, 'bad.yaml'), 'pipeline: bad-one\napiVersion: waybill/v1\nstepz: []\n');
  writeFileSync(join(folder, 'foreign.yaml'), 'services: { web: { image: nginx } }\n');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const timeoutMs = 30_000;

describe('exit codes', { timeout: timeoutMs }, () => {
  test('an unknown command, an unknown option and a port that is none are wrong usage: 2', async () => {
    for (const words of [
      ['publish'],
      ['runs', '--all'],
      ['dev', '--port', '70000'],
      ['run'],
      ['runs', '--status', 'great'],
    ]) {
      const { code, stderr } = await waybill(words, { cwd: folder });
      expect([words, code]).toEqual([words, 2]);
      expect(stderr).toContain('error:');
    }
  });

  test('help and version are done: 0', async () => {
    expect((await waybill(['--help'])).code).toBe(0);
    const { code, stdout } = await waybill(['--version']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  test('no server is 3, says how to name one, and is one JSON object with --json', async () => {
    const { code, stdout, stderr } = await waybill(['runs', '--json'], { cwd: folder });
    expect(code).toBe(3);
    expect(JSON.parse(stdout)).toMatchObject({ ok: false, error: { kind: 'unavailable' } });
    expect(stderr).toContain('WAYBILL_URL');
  });

  test('a server that refuses the connection is 3', async () => {
    const environment = { WAYBILL_URL: 'http://127.0.0.1:1', WAYBILL_API_KEY: 'wb_x' };
    expect((await waybill(['runs'], { environment })).code).toBe(3);
  });

  test('a server without a key is 4', async () => {
    const { code, stderr } = await waybill(['runs'], { environment: { WAYBILL_URL: 'http://127.0.0.1:1' } });
    expect(code).toBe(4);
    expect(stderr).toContain('WAYBILL_API_KEY');
  });

  test('a service without settings is 2, and names every missing one at once', async () => {
    const environment = { DATABASE_URL: '', DATABASE_SYSTEM_URL: 'nonsense', WAYBILL_MASTER_KEY: 'short' };
    const { code, stderr } = await waybill(['api'], { environment });
    expect(code).toBe(2);
    for (const name of ['DATABASE_URL', 'DATABASE_SYSTEM_URL', 'WAYBILL_MASTER_KEY']) expect(stderr).toContain(name);
    expect(stderr).not.toContain('short');
  });
});

describe('validate', { timeout: timeoutMs }, () => {
  test('a good file is 0 and needs no server', async () => {
    const { code, stdout } = await waybill(['validate', 'good.yaml', '--format', 'json'], { cwd: folder });
    expect(JSON.parse(stdout)).toMatchObject({ ok: true });
    expect(code).toBe(0);
  });

  test('mistakes are 2, with file, line and column, as text and as JSON', async () => {
    const json = await waybill(['validate', 'bad.yaml', '--format', 'json'], { cwd: folder });
    expect(json.code).toBe(2);
    const { ok, diagnostics } = JSON.parse(json.stdout);
    expect(ok).toBe(false);
    expect(diagnostics).toContainEqual(
      expect.objectContaining({ file: 'bad.yaml', line: 3, column: 1, severity: 'error' }),
    );
    const text = await waybill(['validate', 'bad.yaml'], { cwd: folder });
    expect(text.code).toBe(2);
    expect(text.stdout).toContain('bad.yaml:3:1');
  });

  test('YAML that is not ours is ignored, and that is said', async () => {
    const { code, stderr } = await waybill(['validate', 'foreign.yaml', 'good.yaml'], { cwd: folder });
    expect(code).toBe(0);
    expect(stderr).toContain('ignored foreign.yaml');
  });

  test('a path that does not exist is 2', async () => {
    const { code, stderr } = await waybill(['validate', 'absent.yaml'], { cwd: folder });
    expect(code).toBe(2);
    expect(stderr).toContain('absent.yaml does not exist');
  });

  test('output for a pipe holds no colours', async () => {
    const { stdout } = await waybill(['validate', 'bad.yaml'], { cwd: folder });
    expect(stdout).not.toContain('\u001b[');
  });
});

test('doctor gives one finding for each thing, and advice with each failure', { timeout: timeoutMs }, async () => {
  const environment = { WAYBILL_TEMPORAL_BINARY: '/bin/false' };
  const { code, stdout } = await waybill(['doctor', '--json'], { cwd: folder, environment });
  const { ok, checks } = JSON.parse(stdout);
  expect(code).toBe(1);
  expect(ok).toBe(false);
  const names = checks.map(({ name }: { name: string }) => name);
  expect(names).toEqual(expect.arrayContaining(['Node', 'disk', 'clock', 'PostgreSQL', 'Temporal', 'port 4000']));
  for (const check of checks) expect(check.ok || check.advice.length > 10, check.name).toBe(true);
  const temporal = checks.find(({ name }: { name: string }) => name === 'Temporal');
  expect(temporal).toMatchObject({ ok: false, detail: expect.stringContaining('WAYBILL_TEMPORAL_BINARY') });
});
