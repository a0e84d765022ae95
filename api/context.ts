import type { Client } from '@temporalio/client';
import type { ConnectorContext, Log } from '../connectors/contract.ts';
import type { ConnectorRegistry } from '../connectors/registry.ts';
import type { Caller } from '../identity/caller.ts';
import type { HostSecrets } from '../identity/hostSecrets.ts';
import type { TenantKeys } from '../identity/keys/tenantKeys.ts';
import type { PasswordCheck } from '../identity/passwords.ts';
import type { SecretBox } from '../identity/secrets.ts';
import type { Store } from '../prisma/contract.ts';
import type { Loaders } from './loaders.ts';
import type { SignInOperation } from './operations/signIn.ts';
import type { Read } from './reading.ts';
import type { TemporalCalls } from './temporalCalls.ts';

/** What the API is made of; the command line puts it together. */
export interface ApiDependencies {
  store: Store;
  temporal: Client;
  namespace: string;
  /** Root of Temporal's UI, or null: runs have no link then. */
  temporalUiUrl: string | null;
  /** What the path of `/codec/{token}/decode` must hold, or null: the route is not there then. */
  codecToken: string | null;
  tenantKeys: TenantKeys;
  secretBox: SecretBox;
  hostSecrets: HostSecrets;
  registry: ConnectorRegistry;
  connectorContext: ConnectorContext;
  log: Log;
  version: string;
}

/** What an operation needs: the dependencies and who asks. The tenant is only ever the caller's. */
export interface Operation extends ApiDependencies {
  caller: Caller;
  temporalCalls: TemporalCalls;
  passwords: PasswordCheck;
}

/**
 * What resolvers see of one request. That of a visitor has no caller, and its `operation`, `read` and `loaders` throw
 * unauthenticated when they are touched: nothing of a tenant is reached without a credential.
 */
export interface ApiContext {
  caller: Caller | null;
  /** For the mutations that sign in: whose site is asked, proven or not. */
  signIn: SignInOperation;
  operation: Operation;
  read: Read;
  loaders: Loaders;
  /** Verifies the presented credential again. Throws unauthenticated. */
  authenticateAgain: () => Promise<Caller>;
  /** Counts a subscription against the credential's limit; gives the function that frees it. Throws rate-limited. */
  openSubscription: () => () => void;
  /** Aborted when the client goes away. */
  signal: AbortSignal;
}
