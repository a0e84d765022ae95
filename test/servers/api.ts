import { Client, Connection } from '@temporalio/client';
import { type Api, createApi } from '../../api/server.ts';
import { encryptingConverter } from '../../cli/services/dataConverter.ts';
import type { Log } from '../../connectors/contract.ts';
import { createRegistry } from '../../connectors/registry.ts';
import { createApiKey } from '../../identity/apiKeys.ts';
import { type HostSecrets, noHostSecrets } from '../../identity/hostSecrets.ts';
import type { TenantKeys } from '../../identity/keys/tenantKeys.ts';
import type { SecretBox } from '../../identity/secrets.ts';
import { createDialler } from '../../network/dialler.ts';
import type { Store } from '../../prisma/contract.ts';
import { openStore } from '../../prisma/store.ts';
import { testKeys } from '../keys.ts';
import { createTestDatabase, silentLog, type TestDatabase, type TestTenant } from './database.ts';

export interface GraphqlAnswer {
  status: number;
  headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: tests read answers of any shape
  body: any;
}

export interface TestApi {
  url: string;
  database: TestDatabase;
  tenantKeys: TenantKeys;
  secretBox: SecretBox;
  temporal: Client;
  /** Keys with every scope of the owner of each tenant. */
  keys: { a: string; b: string };
  /** Transactions of tenants that the API has begun. */
  transactions(): number;
  /** What was logged as error. */
  errors: Array<Record<string, unknown>>;
  /** What was logged as warning. */
  warnings: Array<Record<string, unknown>>;
  key(tenant: TestTenant, scopes: string[]): Promise<string>;
  graphql(key: string | null, query: string, variables?: Record<string, unknown>): Promise<GraphqlAnswer>;
  /** Another one of the same installation, which shares nothing with this one but the database and perhaps Temporal: its URL. */
  startAnother(options?: { temporalIsAway: boolean }): Promise<string>;
  /** Those that were started beside it as well. */
  close(): Promise<void>;
}

const nobodyListens = '127.0.0.1:1';

/**
 * The API on a free port over a database of its own; without a Temporal, over an address where nobody listens. `lent` is
 * what the operator lends of the machine: all folders, and no secret, when it is not given.
 */
export async function startTestApi(
  temporal: { address: string; uiUrl: string; codecToken?: string } | null,
  lent: { hostSecrets: HostSecrets; localRoots: string[] } = { hostSecrets: noHostSecrets, localRoots: ['*'] },
): Promise<TestApi> {
  const database = await createTestDatabase();
  const connection = Connection.lazy({ address: temporal?.address ?? nobodyListens });
  const errors: Array<Record<string, unknown>> = [];
  const warnings: Array<Record<string, unknown>> = [];
  const { tenantKeys, secretBox } = testKeys(database.store);
  const client = new Client({ connection, dataConverter: encryptingConverter(tenantKeys) });
  const dialler = createDialler({ loopback: true, allow: [] });
  const log = logInto(errors, warnings);
  let transactions = 0;
  const counted: Store = {
    ...database.store,
    withTenant: (tenantId, work) => {
      transactions++;
      return database.store.withTenant(tenantId, work);
    },
  };
  const closings: Array<() => Promise<void>> = [];
  const start = async (
    store: Store,
    parts: Pick<TestApi, 'temporal' | 'tenantKeys' | 'secretBox'>,
  ): Promise<string> => {
    const api: Api = await createApi({
      store,
      ...parts,
      namespace: 'default',
      temporalUiUrl: temporal?.uiUrl ?? null,
      codecToken: temporal?.codecToken ?? null,
      hostSecrets: lent.hostSecrets,
      registry: createRegistry(),
      connectorContext: { dialler, localRoots: lent.localRoots, log },
      log,
      version: 'test',
    });
    closings.push(() => api.close());
    return (await api.listen({ host: '127.0.0.1', port: 0 })).url;
  };
  const url = await start(counted, { temporal: client, tenantKeys, secretBox });
  const key = async (tenant: TestTenant, scopes: string[]) =>
    (await createApiKey(database.store, { ...tenant, name: `key ${scopes.join()}`, scopes })).secret;
  return {
    url,
    database,
    tenantKeys,
    secretBox,
    temporal: client,
    keys: { a: await key(database.tenants.a, ['*']), b: await key(database.tenants.b, ['*']) },
    transactions: () => transactions,
    errors,
    warnings,
    key,
    graphql: (presented, query, variables) => post(url, presented, JSON.stringify({ query, variables })),
    startAnother: async ({ temporalIsAway } = { temporalIsAway: false }) => {
      const { applicationUrl, systemUrl } = database;
      const store = openStore({ applicationUrl, systemUrl, log: silentLog });
      const away = Connection.lazy({ address: nobodyListens });
      const another = await start(store, {
        temporal: temporalIsAway ? new Client({ connection: away }) : client,
        ...testKeys(store),
      });
      closings.push(
        () => store.close(),
        () => away.close(),
      );
      return another;
    },
    close: async () => {
      for (const close of closings) await close();
      await dialler.close();
      await connection.close();
      await database.drop();
    },
  };
}

/** A POST of that body; headers may replace those of a GraphQL request. */
export async function post(
  url: string,
  key: string | null,
  body: string | Uint8Array<ArrayBuffer>,
  headers: Record<string, string> = {},
): Promise<GraphqlAnswer> {
  const authorization = key === null ? {} : { authorization: `Bearer ${key}` };
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json', ...authorization, ...headers },
    body,
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text === '' ? null : JSON.parse(text) };
}

function logInto(errors: Array<Record<string, unknown>>, warnings: Array<Record<string, unknown>>): Log {
  const ignore = () => undefined;
  const noteIn =
    (list: Array<Record<string, unknown>>): Log['error'] =>
    (facts, message) =>
      list.push({ ...facts, message });
  return { debug: ignore, info: ignore, warn: noteIn(warnings), error: noteIn(errors) };
}
