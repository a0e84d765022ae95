import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createApiKey } from '../../identity/apiKeys.ts';
import { ensureTenant } from '../../identity/firstRun.ts';
import { openStore } from '../../prisma/store.ts';
import { WaybillError } from '../../schema/errors.ts';
import { createLog } from '../log.ts';
import type { MigrateSettings } from '../settings.ts';

/**
 * The first key of an installation without `waybill dev`: makes the tenant when it is absent, and writes a key of its
 * owner to the file, for its owner's eyes only. False when the file exists. Throws invalid without DATABASE_SYSTEM_URL.
 */
export async function writeFirstKey(settings: MigrateSettings, tenant: string, file: string): Promise<boolean> {
  if (existsSync(file)) return false;
  if (settings.systemUrl === null) throw new WaybillError('invalid', '--api-key-file needs DATABASE_SYSTEM_URL');
  const { applicationUrl, systemUrl } = settings;
  const store = openStore({ applicationUrl, systemUrl, log: createLog('migrate', 'error') });
  try {
    const owner = await ensureTenant(store, tenant);
    const { secret } = await createApiKey(store, { ...owner, name: 'first key', scopes: ['*'] });
    await writeFile(file, `${secret}\n`, { mode: 0o600, flag: 'wx' });
    return true;
  } finally {
    await store.close();
  }
}
