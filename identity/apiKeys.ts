import { createHash, timingSafeEqual } from 'node:crypto';
import type { Sql, Store } from '../prisma/contract.ts';
import { type ErrorContext, WaybillError } from '../schema/errors.ts';
import { holdsAddress, readAllowedCidrs } from './allowedAddresses.ts';
import { newApiKeyText, parseApiKeyText } from './apiKeyText.ts';
import type { Caller } from './caller.ts';
import { checkText } from './passwordRules.ts';
import { isScope } from './permissions.ts';

const maxExpiryDays = 90;
const maxKeyNameCharacters = 100;
const maxScopes = 50;
const dayMs = 86_400_000;
const maxOverlapMs = 7 * dayMs;

export interface NewApiKey {
  tenantId: string;
  principalId: string;
  name: string;
  /** `*`, a permission or `family:*`; never more than the role of the principal allows. */
  scopes: readonly string[];
  /** 1 to 90, and 90 when not given. */
  expiresInDays?: number | undefined;
  /** The second part of the key's text, `live` when not given. */
  environment?: string;
  /** At most 50 networks of IPv4 or IPv6 that a caller may come from; from anywhere when empty or not given. */
  allowedCidrs?: readonly string[];
}

export interface IssuedApiKey {
  id: string;
  /** Shown once: only its hash is stored. */
  secret: string;
  expiresAt: Date;
}

/** `issueApiKey` in a transaction of its own. */
export async function createApiKey(store: Store, key: NewApiKey): Promise<IssuedApiKey> {
  return store.sql(key.tenantId, (sql) => issueApiKey(sql, key));
}

/**
 * Makes a key in the caller's transaction, so that its event can be written with it. Throws invalid for a name, scope,
 * expiry or network out of bounds, conflict when the principal is not of this tenant.
 */
export async function issueApiKey(sql: Sql, key: NewApiKey): Promise<IssuedApiKey> {
  const { tenantId, principalId, name, scopes, expiresInDays = maxExpiryDays, environment = 'live' } = key;
  checkNewKey(name, scopes, expiresInDays);
  const { text, keyId } = newApiKeyText(environment);
  const hash = hashOf(text);
  const allowedCidrs = readAllowedCidrs(key.allowedCidrs ?? []);
  const [issued] = await sql.query<{ id: string; expiresAt: Date }>(
    `with issued as (
       insert into api_key (tenant_id, principal_id, name, key_id, hash, scopes, expires_at, allowed_cidrs)
       values ($1::uuid, $2::uuid, $3::text, $4::text, $5::bytea, $6::text[], now() + make_interval(days => $7::int),
         $8::text[])
       returning id, expires_at
     ), indexed as (
       insert into credential_index (hash, kind, tenant_id, credential_id)
       select $5::bytea, 'api_key', $1::uuid, id from issued
     )
     select id, expires_at as "expiresAt" from issued`,
    [tenantId, principalId, name, keyId, hash, scopes, expiresInDays, allowedCidrs],
  );
  return { ...issued!, secret: text };
}

export interface RotatedApiKey extends IssuedApiKey {
  /** Of the key that is replaced. */
  oldEndsAt: Date;
}

/**
 * Makes a key with the rights and the life span of another one, which ends when both have been good for `overlapMs`, in the
 * caller's transaction. Throws not-found, conflict for a key that has ended or was rotated already, invalid for an overlap
 * of more than a week.
 */
export async function replaceApiKey(
  sql: Sql,
  { tenantId, id, overlapMs }: { tenantId: string; id: string; overlapMs: number },
): Promise<RotatedApiKey> {
  if (!Number.isInteger(overlapMs) || overlapMs < 0 || overlapMs > maxOverlapMs)
    throw new WaybillError('invalid', `both keys are good together for at most ${maxOverlapMs / dayMs} days`, {
      field: 'overlap',
    });
  const [old] = await sql.query<ReplacedRow>(selectReplaced, [tenantId, id]);
  if (old === undefined) throw new WaybillError('not-found', 'there is no such key', { field: 'id' });
  if (old.ended) throw new WaybillError('conflict', 'the key has ended; make a new one', { field: 'id' });
  if (old.rotated)
    throw new WaybillError('conflict', 'the key was rotated already; rotate the one that took its place', {
      field: 'id',
    });
  const issued = await issueApiKey(sql, { ...old, tenantId });
  const [{ oldEndsAt }] = (await sql.query<{ oldEndsAt: Date }>(
    `update api_key set rotated_to = $3::uuid, expires_at = least(expires_at, now() + make_interval(secs => $4::float8 / 1000))
      where tenant_id = $1::uuid and id = $2::uuid returning expires_at as "oldEndsAt"`,
    [tenantId, id, issued.id, overlapMs],
  )) as [{ oldEndsAt: Date }];
  return { ...issued, oldEndsAt };
}

interface ReplacedRow extends Record<string, unknown> {
  principalId: string;
  name: string;
  scopes: string[];
  allowedCidrs: string[];
  expiresInDays: number;
  ended: boolean;
  rotated: boolean;
}

/** Whole days, rounded up. The lock: of two rotations at once one finds that it was done. */
const selectReplaced = `
  select principal_id as "principalId", name, scopes, allowed_cidrs as "allowedCidrs",
    ceil(extract(epoch from expires_at - created_at) / 86400)::int as "expiresInDays",
    revoked_at is not null or expires_at <= now() as ended, rotated_to is not null as rotated
  from api_key where tenant_id = $1::uuid and id = $2::uuid for update`;

/** What `context.reason` of a refusal says when the key is right and the caller's address is not. */
export const addressNotAllowed = 'address-not-allowed';

/**
 * The caller that a presented key proves; `address` is that of the connection it came by. Garbage is refused before the
 * database is asked. Notes the time of use, at most once a minute. Throws unauthenticated; only who holds the right key,
 * at an address where it is allowed, learns that it has expired or was revoked, or that its tenant is suspended.
 */
export async function verifyApiKey(store: Store, text: string, address?: string): Promise<Caller> {
  const parsed = parseApiKeyText(text);
  if (!parsed) throw unknownKey();
  const hash = hashOf(text);
  const place = await store.findCredential('api_key', hash);
  if (!place) throw unknownKey();
  const { tenantId, credentialId: apiKeyId } = place;
  const [key] = await store.look<KeyRow>(tenantId, selectKey, [tenantId, apiKeyId]);
  if (!key || key.keyId !== parsed.keyId || !timingSafeEqual(key.hash, hash)) throw unknownKey();
  const { allowedCidrs } = key;
  // The words of an unknown key: who took it learns nothing; the operator does, from the context.
  if (allowedCidrs.length > 0 && !holdsAddress(allowedCidrs, address))
    throw unknownKey({ reason: addressNotAllowed, keyId: key.keyId, address });
  refuseEnded(key);
  if (key.useIsNews) await store.sql(tenantId, (sql) => sql.query(noteUse, [tenantId, apiKeyId]));
  const { tenantName, principalId, principalName, role, scopes } = key;
  const credential = { kind: 'key' as const, id: apiKeyId };
  return { tenantId, tenantName, principalId, principalName, role, scopes, allowedCidrs, credential };
}

/** `withdrawApiKey` in a transaction of its own. */
export async function revokeApiKey(store: Store, key: { tenantId: string; id: string }): Promise<boolean> {
  return store.sql(key.tenantId, (sql) => withdrawApiKey(sql, key));
}

/** Ends a key from now on, in the caller's transaction. False when there is none of that id, or it had been revoked. */
export async function withdrawApiKey(sql: Sql, { tenantId, id }: { tenantId: string; id: string }): Promise<boolean> {
  const revoked = await sql.query(
    'update api_key set revoked_at = now() where tenant_id = $1::uuid and id = $2::uuid and revoked_at is null returning id',
    [tenantId, id],
  );
  return revoked.length > 0;
}

interface KeyRow extends Record<string, unknown> {
  tenantName: string;
  principalId: string;
  principalName: string;
  role: string;
  scopes: string[];
  allowedCidrs: string[];
  keyId: string;
  hash: Buffer;
  expired: boolean;
  revoked: boolean;
  disabled: boolean;
  suspended: boolean;
  useIsNews: boolean;
}

const selectKey = `
  select t.name as "tenantName", p.id as "principalId", p.name as "principalName", p.role, k.scopes, k.key_id as "keyId", k.hash,
    k.allowed_cidrs as "allowedCidrs",
    k.expires_at <= now() as expired, k.revoked_at is not null as revoked, p.disabled_at is not null as disabled,
    t.suspended_at is not null as suspended,
    coalesce(k.last_used_at < now() - interval '1 minute', true) as "useIsNews"
  from api_key k
  join principal p on p.tenant_id = k.tenant_id and p.id = k.principal_id
  join tenant t on t.id = k.tenant_id
  where k.tenant_id = $1::uuid and k.id = $2::uuid`;

/** The condition again: of many requests in the same second one writes. */
const noteUse = `
  update api_key set last_used_at = now()
  where tenant_id = $1::uuid and id = $2::uuid and coalesce(last_used_at < now() - interval '1 minute', true)`;

function checkNewKey(name: string, scopes: readonly string[], expiresInDays: number): void {
  const refuse = (field: string, message: string): never => {
    throw new WaybillError('invalid', message, { field });
  };
  if (name.trim() === '' || name.length > maxKeyNameCharacters)
    refuse('name', `a key's name has 1 to ${maxKeyNameCharacters} characters`);
  checkText('name', name, maxKeyNameCharacters);
  if (scopes.length === 0 || scopes.length > maxScopes) refuse('scopes', `a key has 1 to ${maxScopes} scopes`);
  const unknown = scopes.find((scope) => !isScope(scope));
  if (unknown !== undefined) refuse('scopes', `there is no scope ${JSON.stringify(unknown)}`);
  if (!Number.isInteger(expiresInDays) || expiresInDays < 1 || expiresInDays > maxExpiryDays)
    refuse('expiresInDays', `a key expires in 1 to ${maxExpiryDays} days`);
}

/** That is told through the API too, and not for the owner of the key to mend. */
const suspended = 'belongs to a suspended tenant';

function refuseEnded(key: KeyRow): void {
  const why = key.revoked
    ? 'was revoked'
    : key.expired
      ? 'has expired'
      : key.disabled
        ? 'belongs to a disabled principal'
        : key.suspended
          ? suspended
          : undefined;
  if (why === undefined) return;
  const code = why === suspended ? { code: 'TENANT_SUSPENDED' } : {};
  throw new WaybillError('unauthenticated', `the API key ${why}`, { keyId: key.keyId, ...code });
}

function unknownKey(context: ErrorContext = {}): WaybillError {
  return new WaybillError('unauthenticated', 'the API key is not valid', context);
}

function hashOf(text: string): Buffer {
  return createHash('sha256').update(text, 'utf8').digest();
}
