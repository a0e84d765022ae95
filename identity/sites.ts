import { createHash } from 'node:crypto';
import type { Sql, Store } from '../prisma/contract.ts';
import { WaybillError } from '../schema/errors.ts';

/** The site of whoever names none. */
const defaultSite = '';
const maxSiteCharacters = 253;

/** The tenant that is reached under a name, by `/t/<name>/` or by host name, without case; undefined when there is none. */
export async function findSite(store: Store, name: string): Promise<string | undefined> {
  if (name === '' || name.length > maxSiteCharacters) return undefined;
  return (await store.findCredential('site', hashOf(name)))?.tenantId;
}

/** The tenant of a request that names no site: the first one of the installation. Undefined before there is any. */
export async function findDefaultSite(store: Store): Promise<string | undefined> {
  return (await store.findCredential('site', hashOf(defaultSite)))?.tenantId;
}

/** Makes the tenant reachable under a name. Safe twice. Throws conflict when another tenant is. */
export async function registerSite(sql: Sql, tenantId: string, name: string): Promise<void> {
  if (!(await index(sql, tenantId, hashOf(name))))
    throw new WaybillError('conflict', `another tenant is reached under the name ${JSON.stringify(name)}`, {
      field: 'name',
    });
}

/** Makes the tenant that of requests which name no site, unless there is one already. */
export async function registerDefaultSite(sql: Sql, tenantId: string): Promise<void> {
  await index(sql, tenantId, hashOf(defaultSite));
}

/** Whether the row is the tenant's: the wall shows only those. */
async function index(sql: Sql, tenantId: string, hash: Buffer): Promise<boolean> {
  await sql.query(
    `insert into credential_index (hash, kind, tenant_id, credential_id)
     values ($2::bytea, 'site', $1::uuid, $1::uuid) on conflict do nothing`,
    [tenantId, hash],
  );
  const own = await sql.query('select 1 from credential_index where tenant_id = $1::uuid and hash = $2::bytea', [
    tenantId,
    hash,
  ]);
  return own.length > 0;
}

function hashOf(name: string): Buffer {
  return createHash('sha256').update(`site/${name.toLowerCase()}`, 'utf8').digest();
}
