import type { Client } from '@temporalio/client';
import type { ConnectorContext, Log } from '../connectors/contract.ts';
import type { ConnectorRegistry } from '../connectors/registry.ts';
import type { Caller } from '../identity/apiKeys.ts';
import type { SecretBox } from '../identity/secrets.ts';
import type { Store } from '../prisma/contract.ts';
import type { Loaders } from './loaders.ts';
import type { Read } from './reading.ts';
import type { TemporalCalls } from './temporalCalls.ts';

/** What the API is made of; the command line puts it together. */
export interface ApiDependencies {
  store: Store;
  temporal: Client;
  namespace: string;
  /** Root of Temporal's UI, or null: runs have no link then. */
  temporalUiUrl: string | null;
  secretBox: SecretBox;
  registry: ConnectorRegistry;
  connectorContext: ConnectorContext;
  log: Log;
  version: string;
}

/** What an operation needs: the dependencies and who asks. The tenant is only ever the caller's. */
export interface Operation extends ApiDependencies {
  caller: Caller;
  temporalCalls: TemporalCalls;
}

/** What resolvers see of one request. */
export interface ApiContext {
  operation: Operation;
  read: Read;
  loaders: Loaders;
  /** Verifies the presented key again. Throws unauthenticated. */
  authenticateAgain: () => Promise<Caller>;
  /** Counts a subscription against the key's limit; gives the function that frees it. Throws rate-limited. */
  openSubscription: () => () => void;
  /** Aborted when the client goes away. */
  signal: AbortSignal;
}
