import { randomBytes } from 'node:crypto';
import type { Sql } from '../../prisma/contract.ts';
import { WaybillError } from '../../schema/errors.ts';
import { resourceNamePattern } from '../../schema/names.ts';
import type { SecretBox } from '../secrets.ts';
import { sealKey, ticketIvBytes, ticketKeyBytes } from './integrationKeys.ts';
import { type LegacyKey, readBase64 } from './legacyCipher.ts';

/** Every key is tried for every ticket of the first version: there are not many. */
export const maxIntegrations = 50;
const kidBytes = 9;
const hourMs = 3_600_000;
const maxOverlapHours = 90 * 24;
/** How long the key before it is good after a rotation: the partner's side changes its key in that time. */
const defaultOverlapHours = 7 * 24;

export interface NewIntegration {
  name: string;
  site: string;
  legacy: boolean;
  /** A secret that is in use already, exchanged in base64; made here when not given. */
  keyBase64?: string | null | undefined;
  ivBase64?: string | null | undefined;
}

/** What is handed to the partner. Shown once: it is stored sealed, and never given out again. */
export interface IssuedIntegrationKey {
  integrationId: string;
  kid: string;
  keyBase64: string;
  ivBase64: string;
}

/**
 * Makes an integration and its first key in the caller's transaction. Throws invalid for a name, site or secret out of form,
 * conflict for a name that is taken and for one integration too many.
 */
export async function insertIntegration(
  sql: Sql,
  secretBox: SecretBox,
  tenantId: string,
  { name, site, legacy, keyBase64, ivBase64 }: NewIntegration,
  now: Date,
): Promise<IssuedIntegrationKey> {
  checkNames(name, site);
  const secret = readSecret(keyBase64, ivBase64);
  await sql.query(`select pg_advisory_xact_lock(hashtextextended('integration/' || $1::text, 0))`, [tenantId]);
  const [known] = await sql.query<{ taken: boolean; active: number }>(
    `select coalesce(bool_or(name = $2::text), false) as taken, (count(*) filter (where disabled_at is null))::int as active
       from integration where tenant_id = $1::uuid`,
    [tenantId, name],
  );
  if (known!.taken) throw new WaybillError('conflict', `there is an integration ${name} already`, { field: 'name' });
  if (known!.active >= maxIntegrations)
    throw new WaybillError('conflict', `there are ${maxIntegrations} integrations already; disable one first`);
  const [row] = await sql.query<{ id: string }>(
    `insert into integration (tenant_id, name, site, legacy, created_at)
     values ($1::uuid, $2::text, $3::text, $4::boolean, $5::timestamptz) returning id`,
    [tenantId, name, site, legacy, now],
  );
  return insertKey(sql, secretBox, tenantId, row!.id, secret, now);
}

/**
 * Makes a new key in the caller's transaction. The one before it is good until the overlap is over; one that was before
 * that ends now, so that two are good at most. Throws invalid for an overlap out of bounds, not-found, conflict for a
 * disabled integration.
 */
export async function rotateKey(
  sql: Sql,
  secretBox: SecretBox,
  tenantId: string,
  { name, overlapHours = defaultOverlapHours }: { name: string; overlapHours?: number | undefined },
  now: Date,
): Promise<IssuedIntegrationKey & { oldKeyEndsAt: Date; ended: string[] }> {
  if (!Number.isInteger(overlapHours) || overlapHours < 0 || overlapHours > maxOverlapHours)
    throw new WaybillError('invalid', `the overlap is 0 to ${maxOverlapHours} hours`, { field: 'overlapHours' });
  const integration = await lockIntegration(sql, tenantId, name);
  if (integration.disabled)
    throw new WaybillError('conflict', `the integration ${name} is disabled`, { field: 'name' });
  const oldKeyEndsAt = new Date(now.getTime() + overlapHours * hourMs);
  const ended = await sql.query<{ kid: string }>(
    `update integration_key set ends_at = $3::timestamptz
      where tenant_id = $1::uuid and integration_id = $2::uuid and ends_at > $3::timestamptz returning kid`,
    [tenantId, integration.id, now],
  );
  await sql.query(
    `update integration_key set ends_at = $3::timestamptz
      where tenant_id = $1::uuid and integration_id = $2::uuid and ends_at is null`,
    [tenantId, integration.id, oldKeyEndsAt],
  );
  const issued = await insertKey(sql, secretBox, tenantId, integration.id, newSecret(), now);
  return { ...issued, oldKeyEndsAt, ended: ended.map(({ kid }) => kid) };
}

/** Refuses its tickets from now on. False when it was disabled. Throws not-found. */
export async function disableIntegration(sql: Sql, tenantId: string, name: string, now: Date): Promise<boolean> {
  const { id, disabled } = await lockIntegration(sql, tenantId, name);
  if (disabled) return false;
  await sql.query('update integration set disabled_at = $3::timestamptz where tenant_id = $1::uuid and id = $2::uuid', [
    tenantId,
    id,
    now,
  ]);
  return true;
}

async function lockIntegration(sql: Sql, tenantId: string, name: string): Promise<{ id: string; disabled: boolean }> {
  const [row] = await sql.query<{ id: string; disabled: boolean }>(
    `select id, disabled_at is not null as disabled from integration
      where tenant_id = $1::uuid and name = $2::text for update`,
    [tenantId, name],
  );
  if (row === undefined)
    throw new WaybillError('not-found', `there is no integration ${JSON.stringify(name)}`, { field: 'name' });
  return row;
}

async function insertKey(
  sql: Sql,
  secretBox: SecretBox,
  tenantId: string,
  integrationId: string,
  secret: LegacyKey,
  now: Date,
): Promise<IssuedIntegrationKey> {
  const kid = `itk_${randomBytes(kidBytes).toString('hex')}`;
  await sql.query(
    `insert into integration_key (tenant_id, integration_id, kid, ciphertext, created_at)
     values ($1::uuid, $2::uuid, $3::text, $4::bytea, $5::timestamptz)`,
    [tenantId, integrationId, kid, await sealKey(secretBox, tenantId, { integrationId, kid }, secret), now],
  );
  return {
    integrationId,
    kid,
    keyBase64: secret.key.toString('base64'),
    ivBase64: secret.iv.toString('base64'),
  };
}

function newSecret(): LegacyKey {
  return { key: randomBytes(ticketKeyBytes), iv: randomBytes(ticketIvBytes) };
}

/** The one that is given, or a new one. The document's own sample of a key has bits too many in its last character. */
function readSecret(keyBase64: string | null | undefined, ivBase64: string | null | undefined): LegacyKey {
  if (keyBase64 == null && ivBase64 == null) return newSecret();
  const key = readBase64(keyBase64 ?? '');
  if (key?.length !== ticketKeyBytes)
    throw new WaybillError('invalid', `the key is not base64 of ${ticketKeyBytes} bytes`, { field: 'keyBase64' });
  const iv = readBase64(ivBase64 ?? '');
  if (iv?.length !== ticketIvBytes)
    throw new WaybillError('invalid', `the initialisation vector is not base64 of ${ticketIvBytes} bytes`, {
      field: 'ivBase64',
    });
  return { key, iv };
}

function checkNames(name: string, site: string): void {
  if (!new RegExp(resourceNamePattern).test(name))
    throw new WaybillError(
      'invalid',
      'a name has 3 to 63 lower-case letters, digits and hyphens, and begins with a letter',
      { field: 'name' },
    );
  if (!/^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$/.test(site))
    throw new WaybillError('invalid', 'a site is a host name, such as files.example.com', { field: 'site' });
}
