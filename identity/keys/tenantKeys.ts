import { hkdfSync, randomBytes } from 'node:crypto';
import type { Sql, Store } from '../../prisma/contract.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { MasterKeys } from './masterKeys.ts';
import { keyBytes } from './sealing.ts';

/** One version of a tenant's key. What is done with it is done with keys that are derived from it, one for each purpose. */
export interface TenantKey {
  version: number;
  derived(purpose: KeyPurpose): Buffer;
}

export type KeyPurpose = 'seal' | 'digest' | 'stamp' | 'payload';

/**
 * The random keys of tenants, as the database has them, wrapped by the master key. All of them throw not-found for a tenant
 * that there is not, integrity as `MasterKeys.unwrap` does, and unavailable.
 */
export interface TenantKeys {
  readonly masterKeys: MasterKeys;
  /** What is sealed from now on. A rotation that another process made is seen half a minute later. The first call makes the key. */
  newest(tenantId: string): Promise<TenantKey>;
  /** What stays the same through rotations. */
  first(tenantId: string): Promise<TenantKey>;
  /** Undefined when there is none of that version. */
  ofVersion(tenantId: string, version: number): Promise<TenantKey | undefined>;
  /** The next look reads them again. */
  forget(tenantId: string): void;
}

/** The owner of what belongs to no tenant, such as the payloads of the system's own workflows. */
export const installationId = '00000000-0000-0000-0000-000000000000';

const freshMs = 30_000;

/**
 * Reads each tenant's keys once, and again when a version is asked for that it does not know. Keys that are old are read
 * again while they are used: the database may be away, and what is sealed under a retired key opens all the same.
 */
export function createTenantKeys(store: Pick<Store, 'aside'>, masterKeys: MasterKeys): TenantKeys {
  const known = new Map<string, { keys: TenantKey[]; readAtMs: number }>();
  const reading = new Map<string, Promise<TenantKey[]>>();

  const read = (tenantId: string): Promise<TenantKey[]> => {
    const underWay = reading.get(tenantId);
    if (underWay !== undefined) return underWay;
    const look = async (): Promise<TenantKey[]> => {
      try {
        const keys = await store.aside(tenantId, (sql) => readKeys(sql, masterKeys, tenantId));
        known.set(tenantId, { keys, readAtMs: Date.now() });
        return keys;
      } finally {
        reading.delete(tenantId);
      }
    };
    const looked = look();
    reading.set(tenantId, looked);
    return looked;
  };
  const present = async (tenantId: string): Promise<TenantKey[]> => known.get(tenantId)?.keys ?? read(tenantId);

  return {
    masterKeys,
    newest: async (tenantId) => {
      const entry = known.get(tenantId);
      if (entry !== undefined && Date.now() - entry.readAtMs > freshMs) read(tenantId).catch(() => undefined);
      return (await present(tenantId)).at(-1)!;
    },
    first: async (tenantId) => (await present(tenantId))[0]!,
    ofVersion: async (tenantId, version) => {
      const find = (keys: TenantKey[]) => keys.find((key) => key.version === version);
      return find(await present(tenantId)) ?? find(await read(tenantId));
    },
    forget: (tenantId) => void known.delete(tenantId),
  };
}

export interface StoredTenantKey extends Record<string, unknown> {
  version: number;
  wrapped: Buffer;
  masterKeyId: string;
}

/** All versions, the oldest first. */
export function selectTenantKeys(sql: Sql, tenantId: string): Promise<StoredTenantKey[]> {
  return sql.query<StoredTenantKey>(
    `select version, wrapped, master_key_id as "masterKeyId" from tenant_key where tenant_id = $1::uuid order by version`,
    [tenantId],
  );
}

/** A new random key; false when there is one of that version, or no such tenant. */
export async function insertTenantKey(
  sql: Sql,
  masterKeys: MasterKeys,
  tenantId: string,
  version: number,
): Promise<boolean> {
  const wrapped = masterKeys.wrap(placeOf(tenantId, version), randomBytes(keyBytes));
  const inserted = await sql.query(
    `insert into tenant_key (tenant_id, version, wrapped, master_key_id)
     select $1::uuid, $2::int, $3::bytea, $4::text
      where $1::uuid = $5::uuid or exists (select from tenant where id = $1::uuid)
     on conflict do nothing returning version`,
    [tenantId, version, wrapped, masterKeys.id, installationId],
  );
  return inserted.length > 0;
}

export function unwrapTenantKey(masterKeys: MasterKeys, tenantId: string, stored: StoredTenantKey): Buffer {
  return masterKeys.unwrap(placeOf(tenantId, stored.version), stored.wrapped, stored.masterKeyId);
}

/** A wrapped key that is copied to another row does not open there. */
export function placeOf(tenantId: string, version: number): string {
  return `waybill/tenant-key\n${tenantId}\n${version}`;
}

export function tenantKeyOf(tenantId: string, version: number, key: Buffer): TenantKey {
  const derived = new Map<KeyPurpose, Buffer>();
  return {
    version,
    derived: (purpose) => {
      const present = derived.get(purpose);
      if (present !== undefined) return present;
      const fresh = Buffer.from(hkdfSync('sha256', key, tenantId, `waybill/tenant/${purpose}/v1`, keyBytes));
      derived.set(purpose, fresh);
      return fresh;
    },
  };
}

async function readKeys(sql: Sql, masterKeys: MasterKeys, tenantId: string): Promise<TenantKey[]> {
  let stored = await selectTenantKeys(sql, tenantId);
  if (stored.length === 0) {
    await insertTenantKey(sql, masterKeys, tenantId, 1);
    stored = await selectTenantKeys(sql, tenantId);
  }
  if (stored.length === 0) throw new WaybillError('not-found', 'there is no such tenant, so it has no key');
  return stored.map((row) => tenantKeyOf(tenantId, row.version, unwrapTenantKey(masterKeys, tenantId, row)));
}
