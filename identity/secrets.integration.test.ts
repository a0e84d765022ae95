import { createCipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { testKeys, testMasterKey } from '../test/keys.ts';
import { createTestDatabase, type TestDatabase } from '../test/servers/database.ts';
import { createMasterKeys } from './keys/masterKeys.ts';
import { createTenantKeys } from './keys/tenantKeys.ts';
import { createSecretBox, type SecretBox } from './secrets.ts';

let database: TestDatabase;
let box: SecretBox;
let tenant: string;
let other: string;
beforeAll(async () => {
  database = await createTestDatabase();
  box = testKeys(database.store).secretBox;
  [tenant, other] = [database.tenants.a.tenantId, database.tenants.b.tenantId];
});
afterAll(() => database.drop());

const refused = expect.objectContaining({ kind: 'integrity' });
const boxUnder = (...masterKeys: [Buffer, ...Buffer[]]) => {
  const [present, ...previous] = masterKeys;
  return createSecretBox(createTenantKeys(database.store, createMasterKeys(present, previous)));
};

test('a sealed secret opens to the same text, also when it is empty or not Latin', async () => {
  for (const text of ['hunter2', '', 'ключ\n🔑', 'x'.repeat(100_000)]) {
    expect(await box.open(tenant, 'acme', await box.seal(tenant, 'acme', text))).toBe(text);
  }
});

test('the sealed bytes do not hold the text, and are never the same twice', async () => {
  const sealed = await box.seal(tenant, 'acme', 'hunter2');
  expect(sealed.includes('hunter2')).toBe(false);
  expect(await box.seal(tenant, 'acme', 'hunter2')).not.toEqual(sealed);
});

test('changing any one byte is noticed', async () => {
  const sealed = await box.seal(tenant, 'acme', 'hunter2');
  for (let index = 0; index < sealed.length; index += 1) {
    const changed = Buffer.from(sealed);
    changed[index] = changed[index]! ^ 1;
    await expect(box.open(tenant, 'acme', changed), `byte ${index}`).rejects.toThrow(refused);
  }
});

test('cutting it anywhere is noticed', async () => {
  const sealed = await box.seal(tenant, 'acme', 'hunter2');
  for (let length = 0; length < sealed.length; length += 1) {
    await expect(box.open(tenant, 'acme', sealed.subarray(0, length)), `${length} bytes`).rejects.toThrow(refused);
  }
});

test('a secret does not open for another tenant, or under another name', async () => {
  const sealed = await box.seal(tenant, 'acme', 'hunter2');
  await expect(box.open(other, 'acme', sealed)).rejects.toThrow(refused);
  await expect(box.open(tenant, 'globex', sealed)).rejects.toThrow(refused);
});

test('under another master key nothing opens and nothing is sealed, and the error names the one that is missing', async () => {
  const sealed = await box.seal(tenant, 'acme', 'hunter2');
  const { id } = createMasterKeys(testMasterKey);
  const stranger = boxUnder(randomBytes(32));
  const named = expect.objectContaining({ kind: 'integrity', message: expect.stringContaining(`master key ${id}`) });
  await expect(stranger.open(tenant, 'acme', sealed)).rejects.toThrow(named);
  await expect(stranger.seal(tenant, 'acme', 'hunter2')).rejects.toThrow(named);
  expect(await boxUnder(randomBytes(32), testMasterKey).open(tenant, 'acme', sealed)).toBe('hunter2');
});

test('a secret from before tenants had keys opens, also under a master key that was replaced since', async () => {
  const sealed = sealedByMasterKey(testMasterKey, tenant, 'acme', 'hunter2');
  expect(await box.open(tenant, 'acme', sealed)).toBe('hunter2');
  expect(await boxUnder(randomBytes(32), testMasterKey).open(tenant, 'acme', sealed)).toBe('hunter2');
  await expect(boxUnder(randomBytes(32)).open(tenant, 'acme', sealed)).rejects.toThrow(refused);
});

test('a digest tells equal plaintexts of one tenant, and nothing across tenants', async () => {
  expect(await box.digest(tenant, 'hunter2')).toBe(await testKeys(database.store).secretBox.digest(tenant, 'hunter2'));
  expect(await box.digest(tenant, 'hunter2')).not.toBe(await box.digest(tenant, 'hunter3'));
  expect(await box.digest(tenant, 'hunter2')).not.toBe(await box.digest(other, 'hunter2'));
});

test('an error does not tell the secret', async () => {
  const sealed = await box.seal(tenant, 'acme', 'hunter2');
  const error = await box.open(other, 'acme', sealed).catch((thrown: unknown) => thrown);
  expect(JSON.stringify(error) + String(error)).not.toContain('hunter2');
});

test('a master key of another length is refused', () => {
  expect(() => createMasterKeys(randomBytes(16))).toThrow(expect.objectContaining({ kind: 'invalid' }));
});

test('many processes that need the key of a new tenant at once have the same one', async () => {
  await database.asOwner('delete from tenant_key where tenant_id = $1', [other]);
  const boxes = Array.from({ length: 8 }, () => testKeys(database.store).secretBox);
  const sealed = await Promise.all(boxes.map((each) => each.seal(other, 'acme', 'hunter2')));
  for (const bytes of sealed) expect(await boxes[0]!.open(other, 'acme', bytes)).toBe('hunter2');
  expect(await database.asOwner('select version from tenant_key where tenant_id = $1', [other])).toHaveLength(1);
});

test('a tenant that there is not gets no key', async () => {
  const nobody = '01a20255-b915-7c46-a405-92c409c47997';
  await expect(box.seal(nobody, 'acme', 'hunter2')).rejects.toThrow(expect.objectContaining({ kind: 'not-found' }));
  expect(await database.asOwner('select version from tenant_key where tenant_id = $1', [nobody])).toEqual([]);
});

test('keys are had while every other connection waits for them in a transaction', async () => {
  const boxes = Array.from({ length: 40 }, () => testKeys(database.store).secretBox);
  const opened = boxes.map((each) => database.store.sql(tenant, () => each.stamp(tenant, 'session')));
  expect(new Set((await Promise.all(opened)).map((stamp) => stamp.toString('hex'))).size).toBe(1);
});

/** As releases before this one did. */
function sealedByMasterKey(masterKey: Buffer, tenantId: string, name: string, text: string): Buffer {
  const key = Buffer.from(hkdfSync('sha256', masterKey, tenantId, 'waybill/secret/seal/v1', 32));
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(`${tenantId}\n${name}`));
  const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
  return Buffer.concat([Buffer.of(1), nonce, cipher.getAuthTag(), sealed]);
}
