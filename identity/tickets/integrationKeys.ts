import type { Sql } from '../../prisma/contract.ts';
import type { SecretBox } from '../secrets.ts';
import type { LegacyKey } from './legacyCipher.ts';

export const ticketKeyBytes = 32;
export const ticketIvBytes = 16;

export interface IntegrationKey extends LegacyKey {
  integrationId: string;
  integration: string;
  site: string;
  /** Whether AES-256-CBC is taken under it; version 2 always is. */
  legacy: boolean;
  kid: string;
}

/**
 * The keys that tickets may be made with now: of all integrations that are not disabled, those that have not ended, in a
 * fixed order. An integration has two at most, and a tenant so many integrations that all can be tried for each ticket.
 */
export async function loadIntegrationKeys(
  sql: Sql,
  secretBox: SecretBox,
  tenantId: string,
  now: Date,
): Promise<IntegrationKey[]> {
  const rows = await sql.query<KeyRow>(
    `select k.integration_id as "integrationId", i.name as integration, i.site, i.legacy, k.kid, k.ciphertext
       from integration_key k join integration i on i.tenant_id = k.tenant_id and i.id = k.integration_id
      where k.tenant_id = $1::uuid and i.disabled_at is null and (k.ends_at is null or k.ends_at > $2::timestamptz)
      order by k.id`,
    [tenantId, now],
  );
  return Promise.all(
    rows.map(async ({ ciphertext, ...key }) => ({ ...key, ...(await openKey(secretBox, tenantId, key, ciphertext)) })),
  );
}

type KeyRow = { ciphertext: Buffer } & Omit<IntegrationKey, keyof LegacyKey> & Record<string, unknown>;

/** What is stored of a key: it opens in no other row. */
export function sealKey(
  secretBox: SecretBox,
  tenantId: string,
  place: { integrationId: string; kid: string },
  { key, iv }: LegacyKey,
): Promise<Buffer> {
  return secretBox.seal(tenantId, sealedName(place), Buffer.concat([key, iv]).toString('base64'));
}

async function openKey(
  secretBox: SecretBox,
  tenantId: string,
  place: { integrationId: string; kid: string },
  ciphertext: Buffer,
): Promise<LegacyKey> {
  const bytes = Buffer.from(await secretBox.open(tenantId, sealedName(place), ciphertext), 'base64');
  return { key: bytes.subarray(0, ticketKeyBytes), iv: bytes.subarray(ticketKeyBytes) };
}

/** What a sealed key is bound to. */
export function sealedName({ integrationId, kid }: { integrationId: string; kid: string }): string {
  return `integration/${integrationId}/${kid}`;
}
