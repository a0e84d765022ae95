import { randomBytes } from 'node:crypto';
import { Client, Connection } from '@temporalio/client';
import { createApi } from '../api/server.ts';
import { encryptingConverter } from '../cli/services/dataConverter.ts';
import { startWorker, type WorkerDependencies } from '../cli/services/worker.ts';
import type { Log } from '../connectors/contract.ts';
import { createRegistry } from '../connectors/registry.ts';
import { createApiKey } from '../identity/apiKeys.ts';
import { noHostSecrets } from '../identity/hostSecrets.ts';
import { createMasterKeys } from '../identity/keys/masterKeys.ts';
import { createTenantKeys, type TenantKeys } from '../identity/keys/tenantKeys.ts';
import { createSecretBox } from '../identity/secrets.ts';
import { createDialler } from '../network/dialler.ts';
import { startTemporal } from '../test/servers/temporal.ts';
import { type Database, withDatabase } from './database.ts';

/** PostgreSQL, Temporal and, in this process, the API. The worker is another's to start. */
export interface Services extends Database {
  temporal: Client;
  temporalAddress: string;
  tenantKeys: TenantKeys;
  /** What a worker process needs to find them. */
  environment: Record<string, string>;
  /** Publishes documents. Throws with the diagnostics. */
  apply(text: string, secrets?: readonly DocumentSecret[]): Promise<void>;
  /** Starts a run as an application does; gives its workflow id. */
  start(pipeline: string): Promise<string>;
}

export interface DocumentSecret {
  kind: 'endpoint';
  /** Of the document. */
  name: string;
  secret: string;
  value: string;
}

/** With a worker in this process, whose memory is measured. */
export type Installation = Services;

const silent = () => undefined;
/** A benchmark that provokes warnings measures something else: they are shown. */
const log: Log = {
  debug: silent,
  info: silent,
  warn: (facts, message) => void process.stderr.write(`warning: ${message} ${JSON.stringify(facts)}\n`),
  error: (facts, message) => void process.stderr.write(`error: ${message} ${JSON.stringify(facts)}\n`),
};

export function withInstallation<Result>(work: (installation: Installation) => Promise<Result>): Promise<Result> {
  return withParts(async ({ services, shared }) => {
    const worker = await startWorker({
      ...shared,
      temporalAddress: services.temporalAddress,
      queues: ['runs', 'transfers', 'system'],
      webhookRetryDelaysMs: [1_000],
      sweepEveryMs: null,
    });
    try {
      return await work(services);
    } finally {
      await worker.stop();
    }
  });
}

export function withServices<Result>(work: (services: Services) => Promise<Result>): Promise<Result> {
  return withParts(({ services }) => work(services));
}

type Shared = Omit<WorkerDependencies, 'temporalAddress' | 'queues' | 'webhookRetryDelaysMs' | 'sweepEveryMs'>;

async function withParts<Result>(
  work: (parts: { services: Services; shared: Shared }) => Promise<Result>,
): Promise<Result> {
  return withDatabase(async (database) => {
    const { store, tenant, urls } = database;
    const server = await startTemporal();
    const closes: Array<() => Promise<unknown>> = [() => server.stop()];
    try {
      const connection = await Connection.connect({ address: server.address });
      closes.unshift(() => connection.close());
      const dialler = createDialler({ loopback: true, allow: [] });
      closes.unshift(() => dialler.close());
      const masterKey = randomBytes(32);
      const tenantKeys = createTenantKeys(store, createMasterKeys(masterKey));
      const shared: Shared = {
        store,
        registry: createRegistry(),
        tenantKeys,
        secretBox: createSecretBox(tenantKeys),
        hostSecrets: noHostSecrets,
        connectorContext: { dialler, localRoots: ['*'], log },
        namespace: 'default',
        log,
      };
      const temporal = new Client({ connection, dataConverter: encryptingConverter(tenantKeys) });
      const api = await createApi({ ...shared, temporal, temporalUiUrl: null, codecToken: null, version: 'bench' });
      closes.unshift(() => api.close());
      const { url } = await api.listen({ host: '127.0.0.1', port: 0 });
      const key = (await createApiKey(store, { ...tenant, name: 'bench', scopes: ['*'] })).secret;
      const environment = {
        DATABASE_URL: urls.applicationUrl,
        DATABASE_SYSTEM_URL: urls.systemUrl,
        TEMPORAL_ADDRESS: server.address,
        WAYBILL_MASTER_KEY: masterKey.toString('base64'),
        WAYBILL_LOCAL_ROOTS: '*',
        WAYBILL_EGRESS_LOOPBACK: 'true',
        WAYBILL_LOG_LEVEL: 'warn',
      };
      const places = { temporalAddress: server.address, tenantKeys, environment };
      const services = { ...database, temporal, ...places, ...clientOf(url, key) };
      return await work({ services, shared });
    } finally {
      for (const close of closes) await close();
    }
  });
}

function clientOf(url: string, key: string): Pick<Services, 'apply' | 'start'> {
  const ask = async (query: string, input: unknown) => {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
      body: JSON.stringify({ query, variables: { input } }),
    });
    const body = (await response.json()) as { errors?: unknown; data: Record<string, Record<string, unknown>> };
    if (body.errors !== undefined) throw new Error(JSON.stringify(body.errors));
    return body.data;
  };
  return {
    async apply(text, secrets = []) {
      const mutation = `mutation($input: ApplyConfigurationInput!) { applyConfiguration(input: $input) { __typename
        ... on UserError { message } ... on InvalidInputError { diagnostics { message line } } } }`;
      const { applyConfiguration } = await ask(mutation, { documents: [{ file: 'bench.yaml', text }], secrets });
      if (applyConfiguration!.__typename !== 'ApplyConfigurationPayload')
        throw new Error(JSON.stringify(applyConfiguration));
    },
    async start(pipeline) {
      const mutation = `mutation($input: StartRunInput!) { startRun(input: $input) { ... on StartRunPayload { run { workflowId } }
        ... on UserError { code message } } }`;
      const input = { pipeline, idempotencyKey: randomBytes(16).toString('hex') };
      const { startRun } = await ask(mutation, input);
      const run = startRun!.run as { workflowId: string } | undefined;
      if (run === undefined) throw new Error(JSON.stringify(startRun));
      return run.workflowId;
    },
  };
}
