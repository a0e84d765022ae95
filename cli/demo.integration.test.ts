import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { waybill } from '../test/commandLine.ts';
import { demoFiles } from './demo/files.ts';

test('the demo moves every file with proof, prints one JSON object last, and leaves nothing', {
  timeout: 180_000,
}, async () => {
  const { code, stdout, stderr } = await waybill(['demo']);
  expect(code, stderr).toBe(0);
  const lines = stdout.trimEnd().split('\n');
  const report = JSON.parse(lines.at(-1)!);
  expect(report).toEqual({
    ok: true,
    run: { id: expect.stringMatching(/^run_/), pipeline: 'acme-orders-inbound', status: 'succeeded' },
    files: demoFiles.length,
    bytes: demoFiles.reduce((sum, { bytes }) => sum + bytes, 0),
    deliveries: expect.any(Array),
    webhook: { verified: true },
    urls: {
      graphql: expect.stringMatching(/^http:.*\/graphql$/),
      temporalUi: expect.stringMatching(/^http:.*\/namespaces\/default\/workflows\/.+/),
    },
    seconds: expect.any(Number),
  });
  expect(report.deliveries.map(({ source }: { source: string }) => source).sort()).toEqual(
    demoFiles.map(({ name }) => `/out/${name}`).sort(),
  );
  for (const { sha256, state } of report.deliveries)
    expect([sha256, state]).toEqual([expect.stringMatching(/^[0-9a-f]{64}$/), 'settled']);
  expect(stdout).toContain('signature verified');
  expect(stdout + stderr).not.toMatch(/PRIVATE KEY|whsec_|\bwb_[a-z]+_[0-9A-Za-z]|\bwbs_[0-9A-Za-z]|password:/);
  expect(stderr).toMatch(/SFTP partner: (this machine's OpenSSH sshd|a small one on ssh2)/);

  // Another demo may run on this machine; this one's folder has a name of its own.
  const folder = /Files +(\S+waybill-demo-[^/]+)/.exec(stdout)?.[1];
  expect(folder).toBeDefined();
  expect(existsSync(folder!)).toBe(false);
  const processes = execFileSync('ps', ['-A', '-o', 'command='], { encoding: 'utf8' });
  expect(processes.split('\n').filter((line) => line.includes(folder!))).toEqual([]);
});

test('files of the demo are at least 20, from nothing to 64 MiB, under difficult names', () => {
  expect(demoFiles.length).toBeGreaterThanOrEqual(20);
  const sizes = demoFiles.map(({ bytes }) => bytes);
  expect([Math.min(...sizes), Math.max(...sizes)]).toEqual([0, 64 * 2 ** 20]);
  const names = demoFiles.map(({ name }) => name).join('');
  for (const sign of [' ', "'", '"', '#', '%', '注', 'з', 'ط']) expect(names).toContain(sign);
  expect(Math.max(...demoFiles.map(({ name }) => Buffer.byteLength(name)))).toBe(255);
});
