import { randomBytes } from 'node:crypto';
import { Client, Connection } from '@temporalio/client';
import { createApi } from '../api/server.ts';
import { startWorker } from '../cli/services/worker.ts';
import type { Log } from '../connectors/contract.ts';
import { createRegistry } from '../connectors/registry.ts';
import { createApiKey } from '../identity/apiKeys.ts';
import { createSecretBox } from '../identity/secrets.ts';
import { createDialler } from '../network/dialler.ts';
import { startTemporal } from '../test/servers/temporal.ts';
import { type Database, withDatabase } from './database.ts';

/** The whole line, as `waybill dev` runs it, but with API and worker in this process, whose memory is measured. */
export interface Installation extends Database {
  temporal: Client;
  temporalAddress: string;
  /** Publishes documents. Throws with the diagnostics. */
  apply(text: string): Promise<void>;
  /** Starts a run as an application does; gives its workflow id. */
  start(pipeline: string): Promise<string>;
}

const silent = () => undefined;
/** A benchmark that provokes warnings measures something else: they are shown. */
const log: Log = {
  debug: silent,
  info: silent,
  warn: (facts, message) => void process.stderr.write(`warning: ${message} ${JSON.stringify(facts)}\n`),
  error: (facts, message) => void process.stderr.write(`error: ${message} ${JSON.stringify(facts)}\n`),
};

export async function withInstallation<Result>(work: (installation: Installation) => Promise<Result>): Promise<Result> {
  return withDatabase(async (database) => {
    const { store, tenant } = database;
    const server = await startTemporal();
    const closes: Array<() => Promise<unknown>> = [() => server.stop()];
    try {
      const connection = await Connection.connect({ address: server.address });
      closes.unshift(() => connection.close());
      const dialler = createDialler({ loopback: true, allow: [] });
      closes.unshift(() => dialler.close());
      const shared = {
        store,
        registry: createRegistry(),
        secretBox: createSecretBox(randomBytes(32)),
        connectorContext: { dialler, localRoots: ['*'], log },
        namespace: 'default',
        log,
      };
      const worker = await startWorker({
        ...shared,
        temporalAddress: server.address,
        serveSystem: true,
        webhookRetryDelaysMs: [1_000],
      });
      closes.unshift(() => worker.stop());
      const temporal = new Client({ connection });
      const api = await createApi({ ...shared, temporal, temporalUiUrl: null, version: 'bench' });
      closes.unshift(() => api.close());
      const { url } = await api.listen({ host: '127.0.0.1', port: 0 });
      const key = (await createApiKey(store, { ...tenant, name: 'bench', scopes: ['*'] })).secret;
      const installation = { ...database, temporal, temporalAddress: server.address, ...clientOf(url, key) };
      return await work(installation);
    } finally {
      for (const close of closes) await close();
    }
  });
}

function clientOf(url: string, key: string): Pick<Installation, 'apply' | 'start'> {
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
    async apply(text) {
      const mutation = `mutation($input: ApplyConfigurationInput!) { applyConfiguration(input: $input) { __typename
        ... on UserError { message } ... on InvalidInputError { diagnostics { message line } } } }`;
      const { applyConfiguration } = await ask(mutation, { documents: [{ file: 'bench.yaml', text }] });
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
