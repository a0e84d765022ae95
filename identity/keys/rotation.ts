import { recordEvents } from '../../audit/record.ts';
import type { Sql, Store } from '../../prisma/contract.ts';
import { createSecretBox, sealedVersion, sealUnder } from '../secrets.ts';
import type { MasterKeys } from './masterKeys.ts';
import { type SealedText, sealedTables } from './sealedTables.ts';
import {
  insertTenantKey,
  installationId,
  placeOf,
  selectTenantKeys,
  type TenantKey,
  type TenantKeys,
  tenantKeyOf,
  unwrapTenantKey,
} from './tenantKeys.ts';

export interface RotatedKey {
  version: number;
  /** Secrets that are sealed under it now. */
  resealed: number;
}

type Actor = Parameters<typeof recordEvents>[2][number]['actor'];

/**
 * Gives a tenant a new key, and seals all its secrets under it, or does nothing. The key before is retired: what another
 * process seals under it in this moment opens all the same, and so do the payloads of old runs in Temporal. Throws integrity
 * when a stored secret cannot be opened.
 */
export async function rotateTenantKey(
  store: Store,
  keys: TenantKeys,
  { tenantId, actor }: { tenantId: string; actor: Actor },
): Promise<RotatedKey> {
  await keys.first(tenantId);
  const rotated = await store.sql(tenantId, async (sql) => {
    await lockKeys(sql, tenantId);
    const version = await insertNext(sql, keys.masterKeys, tenantId);
    const resealed = await resealUnderNewest(sql, keys.masterKeys, tenantId);
    await recordEvents(sql, tenantId, [{ type: 'secret.key-rotated', actor, data: { version, resealed } }]);
    return { version, resealed };
  });
  keys.forget(tenantId);
  return rotated;
}

export interface RewrappedKeys {
  tenants: number;
  /** Keys that were wrapped by a master key before. */
  rewrapped: number;
  /** Secrets from before tenants had keys, which are sealed under those now. */
  resealed: number;
}

/**
 * Wraps every key by the present master key, tenant after tenant; what was done when it stops stays done, and all of it opens
 * with both. Afterwards nothing needs a master key before it. The key of the installation, which nobody else could rotate, is
 * followed by a new one when it was wrapped by another master key. Throws unsupported without the system role, and integrity when
 * a master key is missing, which it names.
 */
export async function rewrapTenantKeys(store: Store, keys: TenantKeys): Promise<RewrappedKeys> {
  const tenants = await store.system((sql) => sql.query<{ id: string }>('select id from tenant order by id'));
  const total = { tenants: tenants.length, rewrapped: 0, resealed: 0 };
  for (const tenantId of [installationId, ...tenants.map(({ id }) => id)]) {
    await keys.first(tenantId);
    const { rewrapped, resealed } = await store.sql(tenantId, (sql) => rewrapOne(sql, keys.masterKeys, tenantId));
    total.rewrapped += rewrapped;
    total.resealed += resealed;
  }
  return total;
}

async function rewrapOne(
  sql: Sql,
  masterKeys: MasterKeys,
  tenantId: string,
): Promise<{ rewrapped: number; resealed: number }> {
  await lockKeys(sql, tenantId);
  const old = (await selectTenantKeys(sql, tenantId)).filter(({ masterKeyId }) => masterKeyId !== masterKeys.id);
  for (const stored of old) {
    const wrapped = masterKeys.wrap(placeOf(tenantId, stored.version), unwrapTenantKey(masterKeys, tenantId, stored));
    await sql.query(
      `update tenant_key set wrapped = $3::bytea, master_key_id = $4::text
        where tenant_id = $1::uuid and version = $2::int`,
      [tenantId, stored.version, wrapped, masterKeys.id],
    );
  }
  if (tenantId === installationId) {
    if (old.length > 0) await insertNext(sql, masterKeys, tenantId);
    return { rewrapped: old.length, resealed: 0 };
  }
  const isOldest = ({ sealed }: SealedText) => sealedVersion(sealed) === null;
  const resealed = await resealUnderNewest(sql, masterKeys, tenantId, isOldest);
  const actor = { principalId: null };
  const data = { masterKeyId: masterKeys.id, resealed };
  if (old.length > 0 || resealed > 0)
    await recordEvents(sql, tenantId, [{ type: 'secret.key-rewrapped', actor, data }]);
  return { rewrapped: old.length, resealed };
}

/** A new key, and all before it retired. Gives its version. */
async function insertNext(sql: Sql, masterKeys: MasterKeys, tenantId: string): Promise<number> {
  const version = (await selectTenantKeys(sql, tenantId)).at(-1)!.version + 1;
  await insertTenantKey(sql, masterKeys, tenantId, version);
  await sql.query(
    'update tenant_key set retired_at = now() where tenant_id = $1::uuid and version < $2::int and retired_at is null',
    [tenantId, version],
  );
  return version;
}

/** Two at a time would each retire the other's key. */
async function lockKeys(sql: Sql, tenantId: string): Promise<void> {
  await sql.query('select pg_advisory_xact_lock(hashtextextended($1::text, 0))', [`tenant-key/${tenantId}`]);
}

/** Opens and seals again what stands in the tables of the tenant. Its new key may be one of this transaction. */
async function resealUnderNewest(
  sql: Sql,
  masterKeys: MasterKeys,
  tenantId: string,
  concerns: (text: SealedText) => boolean = () => true,
): Promise<number> {
  const stored = await selectTenantKeys(sql, tenantId);
  const keys = stored.map((row) => tenantKeyOf(tenantId, row.version, unwrapTenantKey(masterKeys, tenantId, row)));
  const box = createSecretBox(keysInHand(masterKeys, keys));
  let resealed = 0;
  for (const table of sealedTables)
    for (const text of (await table.read(sql, tenantId)).filter(concerns)) {
      const plain = await box.open(tenantId, text.name, text.sealed);
      await table.write(sql, tenantId, { ...text, sealed: sealUnder(keys.at(-1)!, tenantId, text.name, plain) });
      resealed++;
    }
  return resealed;
}

/** As they are in this transaction. */
function keysInHand(masterKeys: MasterKeys, keys: readonly TenantKey[]): TenantKeys {
  return {
    masterKeys,
    newest: async () => keys.at(-1)!,
    first: async () => keys[0]!,
    ofVersion: async (_, version) => keys.find((key) => key.version === version),
    forget: () => undefined,
  };
}
