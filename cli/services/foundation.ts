import { Client, Connection } from '@temporalio/client';
import type { ConnectorContext, Log } from '../../connectors/contract.ts';
import type { ConnectorRegistry } from '../../connectors/registry.ts';
import { createSecretBox, type SecretBox } from '../../identity/secrets.ts';
import { createDialler } from '../../network/dialler.ts';
import type { Store } from '../../prisma/contract.ts';
import { openStore } from '../../prisma/store.ts';
import { WaybillError } from '../../schema/errors.ts';
import { openRegistry } from '../plugins/load.ts';
import type { ServiceSettings } from '../settings.ts';
import { untilUp } from './retry.ts';

const connectTimeoutMs = 5_000;

/** What the API and the worker both stand on. */
export interface Foundation {
  store: Store;
  secretBox: SecretBox;
  registry: ConnectorRegistry;
  connectorContext: ConnectorContext;
  close(): Promise<void>;
}

/** Opens it, waiting for PostgreSQL. Throws when a plugin is not the one that was pinned, and when the database's wall between tenants has a hole. */
export async function openFoundation(settings: ServiceSettings, log: Log, signal: AbortSignal): Promise<Foundation> {
  // First of all: with a plugin that is not the one pinned, nothing is reached.
  const registry = await openRegistry(settings.pluginsFile);
  const store = openStore({ applicationUrl: settings.applicationUrl, systemUrl: settings.systemUrl ?? undefined, log });
  const dialler = createDialler(settings.egress);
  const close = async (): Promise<void> => {
    await dialler.close();
    await store.close();
  };
  try {
    await untilUp('PostgreSQL', () => store.selfCheck(), { log, signal });
  } catch (error) {
    await close();
    throw error;
  }
  return {
    store,
    secretBox: createSecretBox(settings.masterKey),
    registry,
    connectorContext: { dialler, localRoots: settings.localRoots, awsCredentials: settings.awsCredentials, log },
    close,
  };
}

/** A client of Temporal, once it answers. */
export async function connectTemporal(settings: ServiceSettings, log: Log, signal: AbortSignal): Promise<Client> {
  const { temporalAddress: address, temporalNamespace: namespace } = settings;
  const connect = async (): Promise<Connection> => {
    try {
      return await Connection.connect({ address, connectTimeout: connectTimeoutMs });
    } catch (cause) {
      throw new WaybillError('unavailable', `no Temporal answers at ${address}`, { cause });
    }
  };
  return new Client({ connection: await untilUp('Temporal', connect, { log, signal }), namespace });
}
