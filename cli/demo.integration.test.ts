import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { findNeedles, type Needle, needleOf } from '../test/canary/needles.ts';
import { startWaybill } from '../test/commandLine.ts';
import { demoFiles } from './demo/files.ts';

test('the demo moves every file with proof, prints one JSON object last, and leaves nothing', {
  timeout: 180_000,
}, async () => {
  const command = startWaybill(['demo']);
  const needles: Needle[] = [];
  let written = '';
  command.child.stdout?.on('data', (chunk: Buffer) => {
    written += chunk.toString();
    // It names its folder just before it stops everything, and removes the folder last of all.
    const named = /Files +(\S+waybill-demo-[^/]+)/.exec(written)?.[1];
    if (named !== undefined && needles.length === 0) needles.push(...secretsOf(named));
  });
  const { code, stdout, stderr } = await command.ended;
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
  expect(needles.length).toBeGreaterThan(8);
  expect(findNeedles(needles, outputs(stdout, stderr))).toEqual([]);
  expect(findNeedles([needleOf('name of a file', 'archive.csv')], outputs(stdout, stderr))).not.toEqual([]);
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

const outputs = (stdout: string, stderr: string) =>
  new Map(Object.entries({ stdout, stderr }).map(([name, text]) => [name, Buffer.from(text)]));

/** What stands in the files of a demo that goes on: of its state, of its documents, of its database. */
function secretsOf(folder: string): Needle[] {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  const named = (name: string): string => {
    const path = files.find((file) => file.endsWith(name));
    expect(path, `${name} in ${folder}`).toBeDefined();
    return readFileSync(join(folder, path!), 'utf8').trim();
  };
  const { passwords } = JSON.parse(named('postgres.json')) as { passwords: Record<string, string> };
  const privateKey = named('acme_ed25519').split('\n').slice(1, -1);
  return [
    needleOf('master key', Buffer.from(named('master.key'), 'base64')),
    needleOf('API key', named('api-key')),
    needleOf('codec token', named('codec-token')),
    needleOf('signing secret', named('whsec').slice('whsec_'.length)),
    ...Object.entries(passwords).map(([role, password]) => needleOf(`password of the database's ${role}`, password)),
    ...privateKey.slice(1, 4).map((line, index) => needleOf(`private key, line ${index + 3}`, line)),
  ];
}
