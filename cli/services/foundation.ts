import { Client, Connection } from '@temporalio/client';
import type { ConnectorContext, Log } from '../../connectors/contract.ts';
import type { ConnectorRegistry } from '../../connectors/registry.ts';
import { createHostSecrets, type HostSecrets } from '../../identity/hostSecrets.ts';
import { createMasterKeys } from '../../identity/keys/masterKeys.ts';
import { createTenantKeys, installationId, type TenantKeys } from '../../identity/keys/tenantKeys.ts';
import { createSecretBox, type SecretBox } from '../../identity/secrets.ts';
import { createDialler } from '../../network/dialler.ts';
import type { Store } from '../../prisma/contract.ts';
import { openStore } from '../../prisma/store.ts';
import { WaybillError } from '../../schema/errors.ts';
import { openRegistry } from '../plugins/load.ts';
import type { ServiceSettings } from '../settings.ts';
import { encryptingConverter } from './dataConverter.ts';
import { untilUp } from './retry.ts';

const connectTimeoutMs = 5_000;

/** What the API and the worker both stand on. */
export interface Foundation {
  store: Store;
  tenantKeys: TenantKeys;
  secretBox: SecretBox;
  hostSecrets: HostSecrets;
  registry: ConnectorRegistry;
  connectorContext: ConnectorContext;
  close(): Promise<void>;
}

/**
 * Opens it, waiting for PostgreSQL. Throws when a plugin is not the one that was pinned, when the database's wall between
 * tenants has a hole, and integrity when the stored keys are wrapped by another master key.
 */
export async function openFoundation(settings: ServiceSettings, log: Log, signal: AbortSignal): Promise<Foundation> {
  // First of all: with a plugin that is not the one pinned, nothing is reached.
  const registry = await openRegistry(settings.pluginsFile);
  const store = openStore({ applicationUrl: settings.applicationUrl, systemUrl: settings.systemUrl ?? undefined, log });
  const dialler = createDialler(settings.egress);
  const close = async (): Promise<void> => {
    await dialler.close();
    await store.close();
  };
  const tenantKeys = createTenantKeys(store, createMasterKeys(settings.masterKey, settings.oldMasterKeys));
  try {
    await untilUp('PostgreSQL', () => store.selfCheck(), { log, signal });
    await tenantKeys.newest(installationId);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    store,
    tenantKeys,
    secretBox: createSecretBox(tenantKeys),
    hostSecrets: createHostSecrets(settings.hostAllowances),
    registry,
    connectorContext: { dialler, localRoots: settings.localRoots, awsCredentials: settings.awsCredentials, log },
    close,
  };
}

/** A client of Temporal, once it answers. */
export async function connectTemporal(
  settings: ServiceSettings,
  { tenantKeys }: Pick<Foundation, 'tenantKeys'>,
  log: Log,
  signal: AbortSignal,
): Promise<Client> {
  const { temporalAddress: address, temporalNamespace: namespace } = settings;
  const connect = async (): Promise<Connection> => {
    try {
      return await Connection.connect({ address, connectTimeout: connectTimeoutMs });
    } catch (cause) {
      throw new WaybillError('unavailable', `no Temporal answers at ${address}`, { cause });
    }
  };
  const connection = await untilUp('Temporal', connect, { log, signal });
  return new Client({ connection, namespace, dataConverter: encryptingConverter(tenantKeys) });
}
