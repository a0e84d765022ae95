import { afterAll, beforeAll, expect, test } from 'vitest';
import { openStore } from '../prisma/store.ts';
import { createTestDatabase, silentLog, type TestDatabase } from '../test/servers/database.ts';
import { createApiKey, type NewApiKey, replaceApiKey, revokeApiKey, verifyApiKey } from './apiKeys.ts';
import { newApiKeyText } from './apiKeyText.ts';
import { ensureTenant } from './firstRun.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

const refused = { kind: 'unauthenticated' };
const create = (tenant: 'a' | 'b' = 'a', more: Partial<NewApiKey> = {}) =>
  createApiKey(database.store, { ...database.tenants[tenant], name: 'test', scopes: ['*'], ...more });

test('a key proves its tenant, principal, role and scopes', async () => {
  const { id, secret, expiresAt } = await create('b', { scopes: ['run:read', 'endpoint:*'], environment: 'dev' });
  expect(secret).toMatch(/^wb_dev_/);
  expect(await verifyApiKey(database.store, secret)).toEqual({
    ...database.tenants.b,
    tenantName: 'tenant-b',
    principalName: 'owner',
    role: 'owner',
    scopes: ['run:read', 'endpoint:*'],
    allowedCidrs: [],
    credential: { kind: 'key', id },
  });
  const days = (expiresAt.getTime() - Date.now()) / 86_400_000;
  expect(days).toBeGreaterThan(89.9);
  expect(days).toBeLessThan(90.1);
});

test('neither the key nor its secret part is stored anywhere', async () => {
  const { secret } = await create();
  const tail = secret.split('_').at(-1)!;
  const [found] = await database.asOwner<{ text: string }>(
    `select (select string_agg(k::text, '') from api_key k) || (select string_agg(c::text, '') from credential_index c) as text`,
  );
  expect(found!.text.length).toBeGreaterThan(100);
  expect(found!.text).not.toContain(tail);
  expect(found!.text).not.toContain(tail.slice(0, 43));
  expect(found!.text).not.toContain(Buffer.from(secret).toString('hex'));
});

test('garbage, a mistyped key and a well-formed unknown one are refused alike', async () => {
  const { secret } = await create();
  const mistyped = secret.slice(0, -1) + (secret.endsWith('0') ? '1' : '0');
  const answers = await Promise.all(
    ['', 'x', mistyped, newApiKeyText('live').text].map((text) =>
      verifyApiKey(database.store, text).catch((error: Error) => error),
    ),
  );
  for (const answer of answers) expect(answer).toMatchObject({ ...refused, message: 'the API key is not valid' });
});

test('what is not a key is refused without asking the database', async () => {
  const nowhere = openStore({
    applicationUrl: 'postgresql://x@127.0.0.1:1/x',
    systemUrl: 'postgresql://x@127.0.0.1:1/x',
    log: silentLog,
  });
  await expect(verifyApiKey(nowhere, 'wb_live_garbage')).rejects.toMatchObject(refused);
  await expect(verifyApiKey(nowhere, newApiKeyText('live').text)).rejects.toMatchObject({ kind: 'unavailable' });
  await nowhere.close();
});

test('a hash in the index that leads to another key does not let it in', async () => {
  const [one, other] = [await create('a'), await create('b')];
  await database.asOwner(
    `update credential_index i set tenant_id = o.tenant_id, credential_id = o.id from api_key o, api_key m
     where m.id = '${one.id}' and o.id = '${other.id}' and i.hash = m.hash`,
  );
  await expect(verifyApiKey(database.store, one.secret)).rejects.toMatchObject(refused);
});

test('a revoked key is refused at once, and revoking again says that there was nothing to do', async () => {
  const { id, secret } = await create();
  const { tenantId } = database.tenants.a;
  await verifyApiKey(database.store, secret);
  expect(await revokeApiKey(database.store, { tenantId, id })).toBe(true);
  await expect(verifyApiKey(database.store, secret)).rejects.toMatchObject({
    ...refused,
    message: 'the API key was revoked',
  });
  expect(await revokeApiKey(database.store, { tenantId, id })).toBe(false);
});

test('another tenant cannot revoke it, nor make a key for a principal that is not its own', async () => {
  const { id, secret } = await create('a');
  expect(await revokeApiKey(database.store, { tenantId: database.tenants.b.tenantId, id })).toBe(false);
  await verifyApiKey(database.store, secret);
  const stolen = {
    tenantId: database.tenants.b.tenantId,
    principalId: database.tenants.a.principalId,
    name: 'x',
    scopes: ['*'],
  };
  await expect(createApiKey(database.store, stolen)).rejects.toMatchObject({ kind: 'conflict' });
});

test('an expired key is refused', async () => {
  const { id, secret } = await create();
  await database.asOwner(`update api_key set expires_at = now() where id = '${id}'`);
  await expect(verifyApiKey(database.store, secret)).rejects.toMatchObject({
    ...refused,
    message: 'the API key has expired',
  });
});

test('a disabled principal is refused with all its keys', async () => {
  const { secret } = await create('b');
  await database.asOwner(`update principal set disabled_at = now() where id = '${database.tenants.b.principalId}'`);
  await expect(verifyApiKey(database.store, secret)).rejects.toMatchObject({
    ...refused,
    message: expect.stringContaining('disabled'),
  });
  await database.asOwner(`update principal set disabled_at = null where id = '${database.tenants.b.principalId}'`);
  await verifyApiKey(database.store, secret);
});

test('a key with networks proves its caller inside them only, and its words outside are those of an unknown key', async () => {
  const { id, secret } = await create('a', { allowedCidrs: ['10.0.0.0/8', '2001:DB8::/32'] });
  const stored = ['10.0.0.0/8', '2001:db8::/32'];
  for (const address of ['10.1.2.3', '::ffff:10.1.2.3', '2001:db8::1'])
    expect(await verifyApiKey(database.store, secret, address)).toMatchObject({
      credential: { id },
      allowedCidrs: stored,
    });
  const keyId = secret.split('_')[2];
  for (const address of ['11.1.2.3', '::ffff:11.1.2.3', '2001:db9::1', 'garbage', undefined])
    await expect(verifyApiKey(database.store, secret, address), address).rejects.toMatchObject({
      ...refused,
      message: 'the API key is not valid',
      context: { reason: 'address-not-allowed', keyId, address },
    });
});

test('a key at a foreign address notes no use, and does not tell that it has ended', async () => {
  const { id, secret } = await create('a', { allowedCidrs: ['192.0.2.0/24'] });
  const foreign = () => verifyApiKey(database.store, secret, '198.51.100.1').catch((error: Error) => error.message);
  expect(await foreign()).toBe('the API key is not valid');
  expect(await database.asOwner(`select last_used_at from api_key where id = '${id}'`)).toEqual([
    { last_used_at: null },
  ]);
  await revokeApiKey(database.store, { tenantId: database.tenants.a.tenantId, id });
  expect(await foreign()).toBe('the API key is not valid');
  await expect(verifyApiKey(database.store, secret, '192.0.2.1')).rejects.toThrow('was revoked');
});

test('the last use is noted, at most once a minute', async () => {
  const { id, secret } = await create();
  const lastUse = async () =>
    (await database.asOwner<{ at: Date | null }>(`select last_used_at as at from api_key where id = '${id}'`))[0]!.at;
  expect(await lastUse()).toBeNull();
  await Promise.all(Array.from({ length: 20 }, () => verifyApiKey(database.store, secret)));
  const first = await lastUse();
  expect(first).toBeInstanceOf(Date);
  await verifyApiKey(database.store, secret);
  expect(await lastUse()).toEqual(first);
  await database.asOwner(`update api_key set last_used_at = now() - interval '61 seconds' where id = '${id}'`);
  await verifyApiKey(database.store, secret);
  expect((await lastUse())!.getTime()).toBeGreaterThanOrEqual(first!.getTime());
});

test.each<[Partial<NewApiKey>, string]>([
  [{ scopes: [] }, 'scopes'],
  [{ scopes: ['run:fly'] }, 'scopes'],
  [{ expiresInDays: 0 }, 'expiresInDays'],
  [{ expiresInDays: 91 }, 'expiresInDays'],
  [{ expiresInDays: 1.5 }, 'expiresInDays'],
  [{ name: ' ' }, 'name'],
  [{ name: 'nightly\0' }, 'name'],
  [{ name: 'nightly\u001b[2J' }, 'name'],
  [{ allowedCidrs: ['10.0.0.0/8', '10.0.0.0/33'] }, 'allowedCidrs'],
])('a key with %j is refused', async (more, field) => {
  await expect(create('a', more)).rejects.toMatchObject({ kind: 'invalid', context: { field } });
});

test('a tenant is made once, also when many start at once', async () => {
  const made = await Promise.all(Array.from({ length: 8 }, () => ensureTenant(database.store, 'newcomer')));
  expect(new Set(made.map(({ tenantId, principalId }) => tenantId + principalId)).size).toBe(1);
});

const hourMs = 3_600_000;
const rotate = (id: string, overlapMs = 24 * hourMs, tenant: 'a' | 'b' = 'a') => {
  const { tenantId } = database.tenants[tenant];
  return database.store.sql(tenantId, (sql) => replaceApiKey(sql, { tenantId, id, overlapMs }));
};

test('a key that is rotated and the one in its place are good together for the overlap, with the same rights', async () => {
  const rights = { scopes: ['run:read', 'endpoint:*'], allowedCidrs: ['192.0.2.0/24'], expiresInDays: 30 };
  const old = await create('a', rights);
  const fresh = await rotate(old.id);
  const at = '192.0.2.7';
  const before = await verifyApiKey(database.store, old.secret, at);
  expect(await verifyApiKey(database.store, fresh.secret, at)).toEqual({
    ...before,
    credential: { kind: 'key', id: fresh.id },
  });
  expect(before).toMatchObject({ scopes: rights.scopes, allowedCidrs: rights.allowedCidrs });
  expect(fresh.oldEndsAt.getTime() - Date.now()).toBeGreaterThan(23.9 * hourMs);
  expect(fresh.oldEndsAt.getTime() - Date.now()).toBeLessThan(24.1 * hourMs);
  expect(fresh.expiresAt.getTime() - Date.now()).toBeGreaterThan(29.9 * 24 * hourMs);
  expect(fresh.expiresAt.getTime() - Date.now()).toBeLessThan(30.1 * 24 * hourMs);
  await database.asOwner(
    `update api_key set expires_at = expires_at - interval '24 hours 1 second' where id = '${old.id}'`,
  );
  await expect(verifyApiKey(database.store, old.secret, at)).rejects.toThrow('has expired');
  await verifyApiKey(database.store, fresh.secret, at);
});

test('without an overlap the old key ends at once, and a key never lives longer for having been rotated', async () => {
  const [now, short] = [await create(), await create()];
  await rotate(now.id, 0);
  await expect(verifyApiKey(database.store, now.secret)).rejects.toThrow('has expired');
  await database.asOwner(`update api_key set expires_at = now() + interval '1 hour' where id = '${short.id}'`);
  const { oldEndsAt } = await rotate(short.id);
  expect(oldEndsAt.getTime() - Date.now()).toBeLessThanOrEqual(hourMs);
});

test('a key is rotated once, also when several ask at once; one that has ended, or is of another tenant, is not', async () => {
  const key = await create();
  const all = await Promise.allSettled([1, 2, 3].map(() => rotate(key.id)));
  expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  await expect(rotate(key.id)).rejects.toMatchObject({ kind: 'conflict' });
  const revoked = await create();
  await revokeApiKey(database.store, { tenantId: database.tenants.a.tenantId, id: revoked.id });
  await expect(rotate(revoked.id)).rejects.toMatchObject({ kind: 'conflict' });
  const other = await create();
  await expect(rotate(other.id, hourMs, 'b')).rejects.toMatchObject({ kind: 'not-found' });
  for (const overlapMs of [-1, 0.5, 8 * 24 * hourMs])
    await expect(rotate(other.id, overlapMs)).rejects.toMatchObject({ kind: 'invalid', context: { field: 'overlap' } });
});

test('where a key leads is remembered, and what it is good for is not', async () => {
  const { a } = database.tenants;
  const { secret, id } = await createApiKey(database.store, { ...a, name: 'remembered', scopes: ['*'] });
  expect(await verifyApiKey(database.store, secret)).toMatchObject({ tenantId: a.tenantId });
  await revokeApiKey(database.store, { tenantId: a.tenantId, id });
  await expect(verifyApiKey(database.store, secret)).rejects.toThrow(/revoked/);
  await database.asOwner('delete from api_key where id = $1', [id]);
  await expect(verifyApiKey(database.store, secret)).rejects.toMatchObject({ kind: 'unauthenticated' });
});
