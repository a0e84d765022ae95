import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { proveTicket } from '../identity/tickets/proveTicket.ts';
import { verifyUploadToken } from '../identity/tickets/uploadToken.ts';
import { waybill } from '../test/commandLine.ts';
import { testIntegrations } from '../test/integrations.ts';
import { startTestApi, type TestApi } from '../test/servers/api.ts';

let api: TestApi;
let folder: string;
beforeAll(async () => {
  api = await startTestApi(null);
  folder = mkdtempSync(join(tmpdir(), 'waybill-tickets-'));
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await api.close();
});

const command = (words: string[], input = '') =>
  waybill(words, { environment: { WAYBILL_URL: api.url, WAYBILL_API_KEY: api.keys.a }, input });

/** The one JSON object of a command that went well. */
async function json(...words: string[]) {
  const { code, stdout, stderr } = await command([...words, '--json']);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  return JSON.parse(stdout);
}

test('integrations create, rotate and list; ticket create; token create', { timeout: 120_000 }, async () => {
  const made = await json('integrations', 'create', 'acme-portal', '--site', 'files.acme.example', '--legacy');
  expect(Object.keys(made)).toEqual(['name', 'site', 'keyBase64', 'ivBase64', 'kid']);
  expect(made).toMatchObject({ name: 'acme-portal', site: 'files.acme.example' });
  expect([made.keyBase64, made.ivBase64].map((text) => Buffer.from(text, 'base64').length)).toEqual([32, 16]);

  const dependencies = { store: api.database.store, secretBox: api.secretBox };
  const { tenantId } = api.database.tenants.a;
  const ticket = await command(['ticket', 'create', '--integration', 'acme-portal', '--user', 'ACME\\jane']);
  expect(ticket.stderr).toMatch(/^version 1, good once, until /);
  expect(await proveTicket(dependencies, tenantId, ticket.stdout.trim())).toMatchObject({ userName: 'jane' });

  const { session } = await testIntegrations(api.database).openSession();
  writeFileSync(join(folder, 'session'), `${session}\n`);
  const words = [
    '--integration',
    'acme-portal',
    '--folder',
    '1056',
    '--email',
    'jane@acme.example',
    '--ip',
    '192.0.2.7',
  ];
  for (const version of ['1', '2']) {
    const file = ['--session-file', join(folder, 'session'), '--version', version];
    const answer = await json('token', 'create', ...words, ...file);
    expect(answer).toEqual({ token: expect.any(String), version: Number(version), expiresAt: expect.any(String) });
    const proof = await verifyUploadToken(dependencies, tenantId, answer.token, { address: '192.0.2.7' });
    expect(proof).toMatchObject({ folderId: '1056', email: 'jane@acme.example' });
  }
  const fromInput = await command(['token', 'create', ...words, '--session-file', '-'], session);
  expect(fromInput.code).toBe(0);
  for (const [option, value, says] of [
    ['--folder', 'a/b', 'id of a folder'],
    ['--email', 'jane', 'e-mail address'],
    ['--ip', '192.0.2.700', 'IP'],
  ] as const) {
    const wrong = words.with(words.indexOf(option) + 1, value);
    const { code, stderr } = await command(['token', 'create', ...wrong, '--session-file', '-'], session);
    expect([code, stderr]).toEqual([2, expect.stringContaining(says)]);
  }
  const noSession = await command(['token', 'create', ...words, '--session-file', '-'], 'no session');
  expect([noSession.code, noSession.stderr]).toEqual([2, expect.stringContaining('sessionId')]);

  const rotated = await json('integrations', 'rotate', 'acme-portal');
  expect(rotated).toMatchObject({ name: 'acme-portal', oldKeyEndsAt: expect.any(String) });
  expect(rotated.kid).not.toBe(made.kid);
  const { stdout } = await command(['integrations', 'list']);
  expect(stdout).toContain(`${made.kid} ${rotated.kid}`);
  for (const secret of [made.keyBase64, rotated.keyBase64]) expect(stdout).not.toContain(secret);

  expect((await command(['integrations', 'disable', 'acme-portal'])).stdout).toBe('acme-portal is disabled\n');
  const late = await command(['ticket', 'create', '--integration', 'acme-portal', '--user', 'jane']);
  expect([late.code, late.stdout]).toEqual([1, '']);
});
