import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createPasswordCheck } from '../identity/passwords.ts';
import { type CommandOptions, waybill } from '../test/commandLine.ts';
import { startTestApi, type TestApi } from '../test/servers/api.ts';

let api: TestApi;
let folder: string;
beforeAll(async () => {
  api = await startTestApi(null);
  folder = mkdtempSync(join(tmpdir(), 'waybill-users-'));
  writeFileSync(join(folder, 'password'), 'correct horse battery\n');
});
afterAll(async () => {
  await api?.close();
  rmSync(folder, { recursive: true, force: true });
});

async function run(words: string[], options: CommandOptions = {}) {
  const environment = { WAYBILL_URL: api.url, WAYBILL_API_KEY: api.keys.a };
  const { code, stdout, stderr } = await waybill([...words, '--json'], { cwd: folder, environment, ...options });
  return { code, answer: stdout === '' ? undefined : JSON.parse(stdout), stderr };
}
const prove = (userName: string, password: string) =>
  createPasswordCheck({ secretBox: api.secretBox })
    .prove(api.database.store, api.database.tenants.a.tenantId, { userName, password })
    .then(({ role }) => role);

describe('the verbs of people and applications', { timeout: 60_000 }, () => {
  test('users create takes the password from a file, without its newline, or from standard input', async () => {
    const words = ['--email', 'jane@example.com', '--first', 'Jane', '--last', 'Doe', '--role', 'operator'];
    const { answer } = await run(['users', 'create', 'jane', ...words, '--password-file', 'password']);
    expect(answer.user).toMatchObject({
      userName: 'jane',
      email: 'jane@example.com',
      firstName: 'Jane',
      role: 'operator',
    });
    expect(await prove('jane', 'correct horse battery')).toBe('operator');
    const input = { input: 'from standard input\r\n' };
    const other = ['users', 'create', 'john', '--email', 'john@example.com', '--password-file', '-'];
    expect((await run(other, input)).answer.user.role).toBe('uploader');
    expect(await prove('john', 'from standard input')).toBe('uploader');
    const listed = (await run(['users', 'list'])).answer.items.map(({ userName }: { userName: string }) => userName);
    expect(listed).toEqual(['jane', 'john', 'owner']);
  });

  test('users create refuses an empty file, one that is not there, a role that is none, and a password as an argument', async () => {
    writeFileSync(join(folder, 'empty'), '\n');
    writeFileSync(join(folder, 'several'), 'correct horse\nbattery staple\n');
    const words = ['users', 'create', 'nobody', '--email', 'nobody@example.com'];
    for (const more of [
      ['--password-file', 'empty'],
      ['--password-file', 'nowhere'],
      ['--password-file', 'several'],
      ['--password-file', 'password', '--role', 'root'],
      ['--password', 'correct horse battery'],
    ])
      expect((await run([...words, ...more])).code, more.join(' ')).toBe(2);
    expect((await run(['users', 'list'])).answer.items).toHaveLength(3);
  });

  test('users disable and enable, set-role and set-password do what they say', async () => {
    expect((await run(['users', 'disable', 'jane'])).answer.user.disabledAt).toEqual(expect.any(String));
    await expect(prove('jane', 'correct horse battery')).rejects.toMatchObject({ context: { reason: 'disabled' } });
    expect((await run(['users', 'enable', 'jane'])).answer.user.disabledAt).toBeNull();
    expect((await run(['users', 'set-role', 'jane', 'auditor'])).answer.user.role).toBe('auditor');
    const words = ['users', 'set-password', 'jane', '--password-file', '-', '--one-time'];
    await run(words, { input: 'another horse battery' });
    expect(await prove('jane', 'another horse battery')).toBe('auditor');
    await expect(prove('jane', 'another horse battery')).rejects.toMatchObject({ kind: 'unauthenticated' });
    expect((await run(['users', 'disable', 'nobody'])).answer.error).toMatchObject({ kind: 'not-found' });
  });

  test('users update changes what is given, and nothing else', async () => {
    const update = (...words: string[]) => run(['users', 'update', 'john', ...words]);
    const all = ['--email', 'john.doe@example.com', '--first', 'John', '--last', 'Doe', '--role', 'operator'];
    const changed = { email: 'john.doe@example.com', firstName: 'John', lastName: 'Doe', role: 'operator' };
    expect((await update(...all)).answer.user).toMatchObject({ userName: 'john', ...changed });
    expect((await update('--first', '')).answer.user).toMatchObject({ ...changed, firstName: null });
    for (const wrong of [[], ['--role', 'root']]) expect((await update(...wrong)).code, wrong.join(' ')).toBe(2);
    expect((await update('--email', 'JANE@example.com')).answer.error.kind).toBe('conflict');
    const { items } = (await run(['users', 'list'])).answer;
    expect(items.find(({ userName }: { userName: string }) => userName === 'john')).toMatchObject({
      ...changed,
      firstName: null,
    });
  });

  test('apps register, list and disable', async () => {
    const register = (id: string, name: string) => run(['apps', 'register', '--id', id, '--name', name]);
    expect((await register('1001', 'billing')).answer.application).toEqual({
      applicationId: 1001,
      name: 'billing',
      disabledAt: null,
    });
    expect((await register('1001', 'other')).answer.error.kind).toBe('conflict');
    expect((await register('1002', 'billing')).answer.error.kind).toBe('conflict');
    for (const [id, name] of [
      ['999', 'reserved'],
      ['2147483648', 'large'],
      ['1e3', 'odd'],
      ['1003', 'bell\u0007'],
      ['1003', ''],
    ] as const)
      expect((await register(id, name)).code, `${id} ${name}`).toBe(2);
    expect((await run(['apps', 'disable', '1001'])).answer.application.disabledAt).toEqual(expect.any(String));
    expect((await register('1001', 'billing again')).answer.application.disabledAt).toBeNull();
    expect((await run(['apps', 'list'])).answer.items).toEqual([
      { applicationId: 1001, name: 'billing again', disabledAt: null },
    ]);
    const events = await api.database.asOwner<{ type: string }>(
      `select type from audit_event where type like 'application.%' order by id`,
    );
    expect(events.map(({ type }) => type)).toEqual([
      'application.registered',
      'application.disabled',
      'application.registered',
    ]);
  });

  test('keys rotate prints a key with the same rights, and when the one before ends; keys list says when each was used', async () => {
    const { apiKey: old, secret } = (await run(['keys', 'create', 'nightly', '--scope', 'run:read', '--days', '30']))
      .answer;
    const rotated = (await run(['keys', 'rotate', old.id, '--overlap', '2h'])).answer;
    expect(rotated.apiKey).toMatchObject({ name: 'nightly', scopes: ['run:read'] });
    for (const { expiresAt } of [rotated.apiKey, old])
      expect((Date.parse(expiresAt) - Date.now()) / 86_400_000).toBeLessThan(30.1);
    expect(Date.parse(rotated.replacedUntil) - Date.now()).toBeLessThan(2.1 * 3_600_000);
    for (const key of [secret, rotated.secret])
      expect((await api.graphql(key, '{ runs { edges { cursor } } }')).body.errors).toBeUndefined();
    const keys = (await run(['keys', 'list', '--first', '100'])).answer.items as { id: string; lastUsedAt: string }[];
    for (const id of [old.id, rotated.apiKey.id])
      expect(Date.now() - Date.parse(keys.find((key) => key.id === id)!.lastUsedAt)).toBeLessThan(60_000);
    expect((await run(['keys', 'rotate', old.id])).answer.error.kind).toBe('conflict');
    expect((await run(['keys', 'rotate', rotated.apiKey.id, '--overlap', 'long'])).code).toBe(2);
    const events = await api.database.asOwner(`select data from audit_event where type = 'credential.rotated'`);
    expect(events).toEqual([{ data: expect.objectContaining({ name: 'nightly', replaces: old.keyId }) }]);
    expect(JSON.stringify(events)).not.toContain(rotated.secret);
  });

  test('keys rotate gives nobody a key that may more than the asking one', async () => {
    const narrow = await api.key(api.database.tenants.a, ['key:*', 'run:read']);
    const wide = (await run(['keys', 'create', 'wide'])).answer.apiKey;
    const environment = { WAYBILL_URL: api.url, WAYBILL_API_KEY: narrow };
    expect((await run(['keys', 'rotate', wide.id], { environment })).code).toBe(4);
  });

  test('service-accounts create gives a role, no more than the asking key has', async () => {
    expect((await run(['service-accounts', 'create', 'svc-plain'])).answer.account.role).toBe('service');
    const words = ['service-accounts', 'create', 'svc-reads', '--role', 'auditor'];
    expect((await run(words)).answer.account.role).toBe('auditor');
    const narrow = await api.key(api.database.tenants.a, ['account:*']);
    const environment = { WAYBILL_URL: api.url, WAYBILL_API_KEY: narrow };
    expect((await run(['service-accounts', 'create', 'svc-own', '--role', 'owner'], { environment })).code).toBe(4);
  });
});

test('migrate prints the one-time password of a new tenant’s owner once, on stderr', { timeout: 60_000 }, async () => {
  const { ownerUrl, applicationUrl, systemUrl, store } = api.database;
  const environment = { DATABASE_OWNER_URL: ownerUrl, DATABASE_URL: applicationUrl, DATABASE_SYSTEM_URL: systemUrl };
  const migrate = (file: string) =>
    waybill(['migrate', '--tenant', 'newcomer', '--api-key-file', file], { cwd: folder, environment });
  const first = await migrate('first-key');
  const [, password] = /^administrator: owner, one-time password: (\S{20}) /m.exec(first.stderr) ?? [];
  expect(password, first.stderr).toBeDefined();
  expect(first.stdout).not.toContain(password);
  const [tenant] = await api.database.asOwner<{ id: string }>(`select id from tenant where name = 'newcomer'`);
  const attempt = { userName: 'owner', password: password! };
  const check = createPasswordCheck({ secretBox: api.secretBox });
  expect(await check.prove(store, tenant!.id, attempt)).toMatchObject({ role: 'owner' });
  expect((await migrate('second-key')).stderr).not.toContain('one-time');
});
