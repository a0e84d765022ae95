import { createMasterKeys } from '../identity/keys/masterKeys.ts';
import { createTenantKeys, type TenantKeys } from '../identity/keys/tenantKeys.ts';
import { createSecretBox, type SecretBox } from '../identity/secrets.ts';
import type { Store } from '../prisma/contract.ts';

/** Of every installation that tests make in one process: two over the same database open what the other has sealed. */
export const testMasterKey = Buffer.alloc(32, 7);

/** What seals over a store, as the services have it. */
export function testKeys(store: Pick<Store, 'aside'>): { tenantKeys: TenantKeys; secretBox: SecretBox } {
  const tenantKeys = createTenantKeys(store, createMasterKeys(testMasterKey));
  return { tenantKeys, secretBox: createSecretBox(tenantKeys) };
}
