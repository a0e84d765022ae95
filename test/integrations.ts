import { createHash, randomBytes } from 'node:crypto';
import type { SecretBox } from '../identity/secrets.ts';
import { type IntegrationKey, loadIntegrationKeys } from '../identity/tickets/integrationKeys.ts';
import { insertIntegration } from '../identity/tickets/integrations.ts';
import { testKeys } from './keys.ts';
import type { TestDatabase, TestTenant } from './servers/database.ts';

/** What partners of the tests' tenants have in their hands. */
export interface TestIntegrations {
  secretBox: SecretBox;
  /** Makes an integration, and gives the key that its partner got. */
  integrate(name: string, legacy: boolean, tenant?: TestTenant, now?: Date): Promise<IntegrationKey>;
  /** A live session of the owner, as a sign-in gives it. */
  openSession(): Promise<{ session: string; sessionId: string }>;
}

export const testSite = 'files.acme.example';
export const refusedTicket = { kind: 'unauthenticated', message: 'the ticket is not valid; ask for a new one' };

export function testIntegrations(database: TestDatabase): TestIntegrations {
  const { secretBox } = testKeys(database.store);
  return {
    secretBox,
    integrate: (name, legacy, { tenantId } = database.tenants.a, now = new Date()) =>
      database.store.sql(tenantId, async (sql) => {
        const { kid } = await insertIntegration(sql, secretBox, tenantId, { name, site: testSite, legacy }, now);
        const keys = await loadIntegrationKeys(sql, secretBox, tenantId, now);
        return keys.find((key) => key.kid === kid)!;
      }),
    openSession: async () => {
      const session = `wbs_${randomBytes(20).toString('hex')}`;
      const { tenantId, principalId } = database.tenants.a;
      const [row] = await database.asOwner<{ id: string }>(
        `insert into session (tenant_id, principal_id, kind, application_id, expires_at, token_hash)
         values ($1, $2, 'concurrent', 22, '2099-01-01', $3) returning id`,
        [tenantId, principalId, createHash('sha256').update(session).digest()],
      );
      return { session, sessionId: row!.id };
    },
  };
}

export function withByte(bytes: Buffer, at: number, bit: number): Buffer {
  const changed = Buffer.from(bytes);
  changed[at]! ^= bit;
  return changed;
}
