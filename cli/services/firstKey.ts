import { existsSync } from 'node:fs';
import { createApiKey } from '../../identity/apiKeys.ts';
import { ensureTenant, giveOwnerPassword } from '../../identity/firstRun.ts';
import { createPasswordHashing } from '../../identity/passwordHashing.ts';
import { openStore } from '../../prisma/store.ts';
import { WaybillError } from '../../schema/errors.ts';
import { createLog } from '../log.ts';
import type { MigrateSettings } from '../settings.ts';
import { withNewFile } from './newFile.ts';

/** What an installation is entered with. */
export interface FirstKey {
  /** Of the tenant's owner; null when one was given out before. Shown once. */
  oneTimePassword: string | null;
}

/**
 * The first key of an installation without `waybill dev`: makes the tenant when it is absent, and writes a key of its
 * owner to the file, for its owner's eyes only, and gives the owner a password. Null when the file exists. Throws invalid
 * without DATABASE_SYSTEM_URL, and as `withNewFile` does.
 */
export async function writeFirstKey(settings: MigrateSettings, tenant: string, file: string): Promise<FirstKey | null> {
  if (existsSync(file)) return null;
  if (settings.systemUrl === null) throw new WaybillError('invalid', '--api-key-file needs DATABASE_SYSTEM_URL');
  const { applicationUrl, systemUrl } = settings;
  const store = openStore({ applicationUrl, systemUrl, log: createLog('migrate', 'error') });
  try {
    return await withNewFile(file, async (write) => {
      const owner = await ensureTenant(store, tenant);
      const { secret } = await createApiKey(store, { ...owner, name: 'first key', scopes: ['*'] });
      await write(`${secret}\n`);
      return { oneTimePassword: await giveOwnerPassword(store, createPasswordHashing(), owner) };
    });
  } finally {
    await store.close();
  }
}
