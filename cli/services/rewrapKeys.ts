import { createMasterKeys } from '../../identity/keys/masterKeys.ts';
import { type RewrappedKeys, rewrapTenantKeys } from '../../identity/keys/rotation.ts';
import { createTenantKeys } from '../../identity/keys/tenantKeys.ts';
import { openStore } from '../../prisma/store.ts';
import { createLog } from '../log.ts';
import type { readKeySettings } from '../settings.ts';

/** Wraps the keys of the installation by its present master key. Throws as `rewrapTenantKeys` does. */
export async function rewrapKeys(settings: ReturnType<typeof readKeySettings>): Promise<RewrappedKeys> {
  const { applicationUrl, systemUrl, masterKey, oldMasterKeys } = settings;
  const store = openStore({ applicationUrl, systemUrl, log: createLog('secrets', 'error') });
  try {
    return await rewrapTenantKeys(store, createTenantKeys(store, createMasterKeys(masterKey, oldMasterKeys)));
  } finally {
    await store.close();
  }
}
