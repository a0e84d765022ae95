import { createCipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/servers/database.ts';
import { totpSecretName } from '../passwords.ts';
import { createSecretBox, sealedVersion } from '../secrets.ts';
import { loadIntegrationKeys } from '../tickets/integrationKeys.ts';
import { insertIntegration } from '../tickets/integrations.ts';
import { createMasterKeys } from './masterKeys.ts';
import { decodePayload, encodePayloads } from './payloadCodec.ts';
import { rewrapTenantKeys, rotateTenantKey } from './rotation.ts';
import { sealedTables } from './sealedTables.ts';
import { createTenantKeys, installationId } from './tenantKeys.ts';

let database: TestDatabase;
let tenantId: string;
beforeEach(async () => {
  database = await createTestDatabase();
  tenantId = database.tenants.a.tenantId;
});
afterEach(() => database.drop());

const firstMaster = randomBytes(32);
const secondMaster = randomBytes(32);
/** A process with those master keys, the present one first. */
const process = (...masters: [Buffer, ...Buffer[]]) => {
  const keys = createTenantKeys(database.store, createMasterKeys(masters[0], masters.slice(1)));
  return { keys, box: createSecretBox(keys) };
};
type Process = ReturnType<typeof process>;

/** One text in each table where sealed texts stand. */
async function plant({ box }: Process): Promise<void> {
  const { principalId } = database.tenants.a;
  await plantSecret('acme', await box.seal(tenantId, 'acme', 'of an endpoint'));
  const totp = await box.seal(tenantId, totpSecretName(principalId), 'of an authenticator');
  await database.store.sql(tenantId, async (sql) => {
    await insertIntegration(sql, box, tenantId, { name: 'partner', site: 'acme.example', legacy: true }, new Date());
    await sql.query(
      `insert into principal_password (tenant_id, principal_id, hash, totp) values ($1::uuid, $2::uuid, 'hash', $3::bytea)`,
      [tenantId, principalId, totp],
    );
  });
}

async function plantSecret(name: string, ciphertext: Buffer): Promise<void> {
  await database.store.sql(tenantId, (sql) =>
    sql.query(
      `insert into secret (tenant_id, name, ciphertext, digest) values ($1::uuid, $2::text, $3::bytea, 'digest')`,
      [tenantId, name, ciphertext],
    ),
  );
}

/** Everything that is sealed for the tenant, opened by that process. */
async function openAll({ box }: Process): Promise<string[]> {
  return database.store.sql(tenantId, async (sql) => {
    const opened: string[] = [];
    for (const table of sealedTables)
      for (const { name, sealed } of await table.read(sql, tenantId))
        opened.push(await box.open(tenantId, name, sealed));
    return opened;
  });
}

const versions = async () =>
  database.store.sql(tenantId, async (sql) => {
    const found: Array<number | null> = [];
    for (const table of sealedTables)
      for (const { sealed } of await table.read(sql, tenantId)) found.push(sealedVersion(sealed));
    return found;
  });
const actor = { principalId: null };

describe('a new key of a tenant', () => {
  test('seals all that is sealed for it, and what opened before opens after', async () => {
    const here = process(firstMaster);
    await plant(here);
    const before = await openAll(here);
    expect(before).toHaveLength(3);
    const digest = await here.box.digest(tenantId, 'text');
    expect(await rotateTenantKey(database.store, here.keys, { tenantId, actor })).toEqual({ version: 2, resealed: 3 });
    expect(await versions()).toEqual([2, 2, 2]);
    expect(await openAll(here)).toEqual(before);
    expect(await here.box.digest(tenantId, 'text')).toBe(digest);
    expect(sealedVersion(await here.box.seal(tenantId, 'new', 'text'))).toBe(2);
    const [retired] = await database.asOwner(
      'select version from tenant_key where tenant_id = $1 and retired_at is not null',
      [tenantId],
    );
    expect(retired).toEqual({ version: 1 });
    const events = await database.asOwner(`select data from audit_event where type = 'secret.key-rotated'`);
    expect(events).toEqual([{ data: { version: 2, resealed: 3 } }]);
  });

  test('is found by a process that knows the one before, and what that process still seals opens', async () => {
    const [here, there] = [process(firstMaster), process(firstMaster)];
    await plant(there);
    const before = await openAll(there);
    await rotateTenantKey(database.store, here.keys, { tenantId, actor });
    expect(await openAll(there)).toEqual(before);
    await plantSecret('late', await process(firstMaster).box.seal(tenantId, 'late', 'text'));
    expect(await openAll(here)).toContain('text');
  });

  test('is not there when one secret cannot be opened, nor is anything else changed', async () => {
    const here = process(firstMaster);
    await plant(here);
    await plantSecret('broken', Buffer.concat([Buffer.of(2, 0, 0, 0, 1), randomBytes(40)]));
    const change = rotateTenantKey(database.store, here.keys, { tenantId, actor });
    await expect(change).rejects.toThrow(expect.objectContaining({ kind: 'integrity' }));
    expect(await database.asOwner('select version from tenant_key where tenant_id = $1', [tenantId])).toEqual([
      { version: 1 },
    ]);
    expect(await versions()).toEqual([1, 1, 1, 1]);
  });

  test('two at once are two versions, and everything is under the last', async () => {
    const [here, there] = [process(firstMaster), process(firstMaster)];
    await plant(here);
    const made = await Promise.all(
      [here, there].map(({ keys }) => rotateTenantKey(database.store, keys, { tenantId, actor })),
    );
    expect(made.map(({ version }) => version).sort()).toEqual([2, 3]);
    expect(await versions()).toEqual([3, 3, 3]);
    expect(await openAll(process(firstMaster))).toHaveLength(3);
  });
});

describe('a new master key', () => {
  test('opens everything alone after the keys are wrapped by it, also what is older than keys of tenants', async () => {
    const before = process(firstMaster);
    await plant(before);
    await before.keys.newest(installationId);
    await before.keys.newest(database.tenants.b.tenantId);
    await plantSecret('oldest', sealedByMasterKey(firstMaster, 'oldest', 'older than all'));
    const both = process(secondMaster, firstMaster);
    expect(await rewrapTenantKeys(database.store, both.keys)).toEqual({ tenants: 2, rewrapped: 3, resealed: 1 });

    const after = process(secondMaster);
    expect((await openAll(after)).sort()).toContain('older than all');
    expect((await openAll(after)).sort()).toEqual((await openAll(both)).sort());
    await after.keys.newest(installationId);
    await expect(process(firstMaster).keys.newest(tenantId)).rejects.toThrow(
      expect.objectContaining({ kind: 'integrity' }),
    );
    expect(await rewrapTenantKeys(database.store, after.keys)).toEqual({ tenants: 2, rewrapped: 0, resealed: 0 });
    const events = await database.asOwner(
      `select tenant_id from audit_event where type = 'secret.key-rewrapped' order by tenant_id`,
    );
    expect(events).toHaveLength(2);
  });

  test('is one for a new key of the installation too, and what was encrypted under the one before still opens', async () => {
    const before = process(firstMaster);
    const payload = { metadata: { encoding: Buffer.from('json/plain') }, data: Buffer.from('"of the outbox"') };
    const [sealed] = await encodePayloads(before.keys, installationId, [payload]);
    await rewrapTenantKeys(database.store, process(secondMaster, firstMaster).keys);
    const after = process(secondMaster);
    expect((await after.keys.newest(installationId)).version).toBe(2);
    expect((await decodePayload(after.keys, sealed!)).data).toEqual(payload.data);
    await rewrapTenantKeys(database.store, process(secondMaster, firstMaster).keys);
    const kept = await database.asOwner(
      'select version, retired_at is null as present from tenant_key where tenant_id = $1 order by version',
      [installationId],
    );
    expect(kept).toEqual([
      { version: 1, present: false },
      { version: 2, present: true },
    ]);
  });

  test('that comes without the one before it changes nothing, and the error names what is missing', async () => {
    await plant(process(firstMaster));
    const { id } = createMasterKeys(firstMaster);
    const alone = rewrapTenantKeys(database.store, process(secondMaster).keys);
    await expect(alone).rejects.toThrow(
      expect.objectContaining({ kind: 'integrity', message: expect.stringContaining(id) }),
    );
    expect(await openAll(process(firstMaster))).toHaveLength(3);
  });

  test('that has wrapped half of the keys when it is stopped leaves all of them open, and the rest to the next', async () => {
    const before = process(firstMaster);
    await plant(before);
    const other = database.tenants.b.tenantId;
    await before.keys.newest(other);
    await database.asOwner(`update tenant_key set wrapped = wrapped || '\\x00'::bytea where tenant_id = $1`, [other]);
    const both = process(secondMaster, firstMaster);
    await expect(rewrapTenantKeys(database.store, both.keys)).rejects.toThrow();
    expect(await openAll(both)).toHaveLength(3);
    const byBoth = await database.asOwner('select distinct master_key_id from tenant_key');
    expect(byBoth).toHaveLength(2);
    await database.asOwner('update tenant_key set wrapped = substr(wrapped, 1, 60) where tenant_id = $1', [other]);
    await rewrapTenantKeys(database.store, process(secondMaster, firstMaster).keys);
    expect(await openAll(process(secondMaster))).toHaveLength(3);
  });
});

test('every column of bytes is one that is sealed again, or known to hold no sealed text', async () => {
  const columns = await database.asOwner<{ place: string }>(
    `select table_name || '.' || column_name as place from information_schema.columns
      where table_schema = 'public' and data_type = 'bytea' order by 1`,
  );
  const others = [
    ...[
      'api_key.hash',
      'credential_index.hash',
      'session.token_hash',
      'ticket_use.hash',
      'idempotency_key.request_hash',
    ],
    ...['delivery.delivery_key', 'delivery.sha256', 'delivery_claim.delivery_key', 'tenant_key.wrapped'],
  ];
  const sealed = sealedTables.map(({ table, column }) => `${table}.${column}`);
  const known = [...sealed, ...others];
  expect(columns.map(({ place }) => place).filter((place) => !known.includes(place))).toEqual([]);
  expect(sealed.every((place) => columns.some((column) => column.place === place))).toBe(true);
});

test('keys of integrations that were sealed again are still theirs', async () => {
  const here = process(firstMaster);
  await plant(here);
  const read = () => database.store.sql(tenantId, (sql) => loadIntegrationKeys(sql, here.box, tenantId, new Date()));
  const before = await read();
  await rotateTenantKey(database.store, here.keys, { tenantId, actor });
  expect(await read()).toEqual(before);
});

function sealedByMasterKey(masterKey: Buffer, name: string, text: string): Buffer {
  const key = Buffer.from(hkdfSync('sha256', masterKey, tenantId, 'waybill/secret/seal/v1', 32));
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(`${tenantId}\n${name}`));
  const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
  return Buffer.concat([Buffer.of(1), nonce, cipher.getAuthTag(), sealed]);
}
