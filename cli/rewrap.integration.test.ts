import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createMasterKeys } from '../identity/keys/masterKeys.ts';
import { createTenantKeys } from '../identity/keys/tenantKeys.ts';
import { createSecretBox } from '../identity/secrets.ts';
import { waybill } from '../test/commandLine.ts';
import { createTestDatabase, type TestDatabase } from '../test/servers/database.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

test('secrets rewrap brings the keys of all tenants under a new master key, with the one before at hand', async () => {
  const [before, after] = [randomBytes(32), randomBytes(32)];
  const boxUnder = (key: Buffer) => createSecretBox(createTenantKeys(database.store, createMasterKeys(key)));
  const { tenantId } = database.tenants.a;
  const sealed = await boxUnder(before).seal(tenantId, 'acme', 'hunter2');
  const environment = {
    DATABASE_URL: database.applicationUrl,
    DATABASE_SYSTEM_URL: database.systemUrl,
    WAYBILL_MASTER_KEY: after.toString('base64'),
  };
  const alone = await waybill(['secrets', 'rewrap', '--json'], { environment });
  expect(alone.code).not.toBe(0);
  expect(alone.stderr).toContain(createMasterKeys(before).id);
  expect(await boxUnder(before).open(tenantId, 'acme', sealed)).toBe('hunter2');

  const both = { ...environment, WAYBILL_MASTER_KEY_OLD: before.toString('base64') };
  const { code, stdout, stderr } = await waybill(['secrets', 'rewrap', '--json'], { environment: both });
  expect(code, stderr).toBe(0);
  expect(JSON.parse(stdout)).toEqual({ tenants: 2, rewrapped: 1, resealed: 0 });
  expect(await boxUnder(after).open(tenantId, 'acme', sealed)).toBe('hunter2');
  expect((await waybill(['secrets', 'rewrap'], { environment })).stdout).toContain('0 keys of 2 tenants');
  expect((await waybill(['secrets', 'rewrap'], { environment: {} })).code).toBe(2);
}, 60_000);
