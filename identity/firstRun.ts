import { randomBytes } from 'node:crypto';
import type { Sql, Store } from '../prisma/contract.ts';
import type { PasswordHashing } from './passwordHashing.ts';
import { registerDefaultSite, registerSite } from './sites.ts';

export const ownerName = 'owner';

/** 120 bits in base64url: nobody guesses it, and it can be typed once. */
const oneTimePasswordBytes = 15;

/** A password that is given out once, and what is stored of it. */
export interface OneTimePassword {
  text: string;
  hash: string;
}

export async function newOneTimePassword({ hash }: PasswordHashing): Promise<OneTimePassword> {
  const text = randomBytes(oneTimePasswordBytes).toString('base64url');
  return { text, hash: await hash(text) };
}

/** Stores it, in the caller's transaction. False when the principal has a password already. */
export async function storeOneTimePassword(
  sql: Sql,
  { tenantId, principalId }: { tenantId: string; principalId: string },
  { hash }: OneTimePassword,
): Promise<boolean> {
  const given = await sql.query(
    `insert into principal_password (tenant_id, principal_id, hash, one_time)
     values ($1::uuid, $2::uuid, $3::text, true) on conflict do nothing returning 1`,
    [tenantId, principalId, hash],
  );
  return given.length > 0;
}

/**
 * A one-time password for the owner of a new tenant: good for one sign-in, whose session may only set another one. Null
 * when a password was set, or given out, before. It is shown once, to who starts the installation, and never logged.
 */
export async function giveOwnerPassword(
  store: Store,
  hashing: PasswordHashing,
  owner: { tenantId: string; principalId: string },
): Promise<string | null> {
  const { tenantId, principalId } = owner;
  const isKnown = await store.sql(tenantId, (sql) =>
    sql.query('select 1 from principal_password where tenant_id = $1::uuid and principal_id = $2::uuid', [
      tenantId,
      principalId,
    ]),
  );
  if (isKnown.length > 0) return null;
  const password = await newOneTimePassword(hashing);
  return (await store.sql(tenantId, (sql) => storeOneTimePassword(sql, owner, password))) ? password.text : null;
}

/** Finds or makes the tenant of that name and its owner. Safe twice, and two at once get the same. It is reached under its name. */
export async function ensureTenant(store: Store, name: string): Promise<{ tenantId: string; principalId: string }> {
  const tenantId = await store.system(async (sql) => {
    await sql.query('insert into tenant (name) values ($1::text) on conflict (name) do nothing', [name]);
    const [tenant] = await sql.query<{ id: string }>('select id from tenant where name = $1::text', [name]);
    return tenant!.id;
  });
  const principalId = await store.sql(tenantId, async (sql) => {
    await registerSite(sql, tenantId, name);
    await registerDefaultSite(sql, tenantId);
    await sql.query(
      `insert into principal (tenant_id, kind, name, role) values ($1::uuid, 'user', $2::text, 'owner')
       on conflict (tenant_id, name) do nothing`,
      [tenantId, ownerName],
    );
    const [owner] = await sql.query<{ id: string }>(
      'select id from principal where tenant_id = $1::uuid and name = $2::text',
      [tenantId, ownerName],
    );
    return owner!.id;
  });
  return { tenantId, principalId };
}
