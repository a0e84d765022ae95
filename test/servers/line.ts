import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { inspect } from 'node:util';
import { type RunningWorker, startWorker } from '../../cli/services/worker.ts';
import { createRegistry } from '../../connectors/registry.ts';
import { noHostSecrets } from '../../identity/hostSecrets.ts';
import { createDialler } from '../../network/dialler.ts';
import { startTestApi, type TestApi } from './api.ts';
import { type Sshd, startSshd } from './sshd.ts';
import { startTemporal, type TestTemporal } from './temporal.ts';

/** Every layer at once: PostgreSQL, Temporal, API, worker, an SFTP partner and a landing folder. */
export interface Line {
  api: TestApi;
  temporal: TestTemporal;
  partner: Sshd;
  /** Folders of this machine behind the endpoints `acme-sftp` and `landing-zone`. */
  partnerFolder: string;
  landingFolder: string;
  /** Publishes documents, for the tenant of the key. Throws with the diagnostics. */
  apply(text: string, options?: { key?: string; secrets?: DocumentSecret[] }): Promise<void>;
  /** The two endpoint documents. */
  endpoints(): string;
  /** The secrets that those documents name. */
  endpointSecrets(): DocumentSecret[];
  start(pipeline: string, inputs?: Record<string, unknown>, key?: string): Promise<string>;
  /** Starts a run and waits for its end. */
  run(pipeline: string, inputs?: Record<string, unknown>, key?: string): Promise<EndedRun>;
  wait(runId: string, key?: string): Promise<EndedRun>;
  /** Writes files below a folder: path -> content. */
  write(folder: string, files: Record<string, string | Buffer>): Promise<void>;
  restartWorker(): Promise<void>;
  /** What the worker has logged, on every level. */
  logged: readonly string[];
  stop(): Promise<void>;
}

export interface DocumentSecret {
  kind: string;
  name: string;
  secret: string;
  value: string;
}

export interface EndedRun {
  id: string;
  status: string;
  error: { kind: string; message: string; step: string | null; path: string | null } | null;
  outputs: Record<string, unknown> | null;
  workflowId: string;
  counts: { files: number; bytes: number; skipped: number; failed: number };
  deliveries: { edges: Array<{ node: EndedDelivery }> };
  auditEvents: { edges: Array<{ node: { type: string; data: Record<string, unknown> } }> };
}

export interface EndedDelivery {
  id: string;
  state: string;
  source: { path: string };
  target: { path: string };
  sha256: string | null;
  error: { kind: string; message: string } | null;
  disposedPath: string | null;
}

const runEndsWithinMs = 60_000;
const pollMs = 50;
const runFields = `id status error { kind message step path } outputs workflowId counts { files bytes skipped failed }
  deliveries(first: 100) { edges { node { id state source { path } target { path } sha256 error { kind message } disposedPath } } }
  auditEvents(first: 100) { edges { node { type data } } }`;

export async function startLine(): Promise<Line> {
  const root = await realpath(await mkdtemp(path.join(tmpdir(), 'waybill-line-')));
  const [partnerFolder, landingFolder] = [path.join(root, 'partner'), path.join(root, 'landing')];
  await mkdir(partnerFolder);
  await mkdir(landingFolder);
  const [partner, temporal] = await Promise.all([startSshd({ root: partnerFolder }), startTemporal()]);
  const api = await startTestApi(temporal);
  const dialler = createDialler({ loopback: true, allow: [] });
  const logged: string[] = [];
  const write = (facts: Record<string, unknown>, message: string) =>
    void logged.push(`${inspect(facts, { depth: 10, showHidden: true })} ${message}`);
  const log = { debug: write, info: write, warn: write, error: write };
  const begin = (): Promise<RunningWorker> =>
    startWorker({
      store: api.database.store,
      registry: createRegistry(),
      tenantKeys: api.tenantKeys,
      secretBox: api.secretBox,
      hostSecrets: noHostSecrets,
      connectorContext: { dialler, localRoots: ['*'], log },
      temporalAddress: temporal.address,
      namespace: temporal.namespace,
      queues: ['runs', 'transfers', 'system'],
      webhookRetryDelaysMs: [100, 200, 300],
      sweepEveryMs: 86_400_000,
      log,
    });
  let worker = await begin();

  const ask = async (key: string, query: string, variables: Record<string, unknown>) => {
    const { body } = await api.graphql(key, query, variables);
    if (body.errors !== undefined) throw new Error(JSON.stringify(body.errors));
    return body.data;
  };
  const wait: Line['wait'] = async (runId, key = api.keys.a) => {
    const deadline = Date.now() + runEndsWithinMs;
    for (;;) {
      const { run } = await ask(key, `query($id: ID!) { run(id: $id) { ${runFields} } }`, { id: runId });
      if (!['starting', 'running'].includes(run.status)) return run;
      if (Date.now() > deadline) throw new Error(`run ${runId} is still ${run.status}`);
      await pause(pollMs);
    }
  };
  const start: Line['start'] = async (pipeline, inputs = {}, key = api.keys.a) => {
    const mutation = `mutation($input: StartRunInput!) { startRun(input: $input) { ... on StartRunPayload { run { id } } ... on UserError { code message } } }`;
    const { startRun } = await ask(key, mutation, { input: { pipeline, inputs, idempotencyKey: randomUUID() } });
    if (startRun.run === undefined) throw new Error(JSON.stringify(startRun));
    return startRun.run.id;
  };
  return {
    api,
    temporal,
    partner,
    partnerFolder,
    landingFolder,
    wait,
    logged,
    start,
    run: async (pipeline, inputs, key) => wait(await start(pipeline, inputs, key), key),
    endpoints: () => endpointDocuments(partner, partnerFolder, landingFolder),
    endpointSecrets: () => [{ kind: 'endpoint', name: 'acme-sftp', secret: 'privateKey', value: partner.privateKey }],
    async apply(text, { key = api.keys.a, secrets } = {}) {
      const mutation = `mutation($input: ApplyConfigurationInput!) { applyConfiguration(input: $input) { __typename ... on UserError { message } ... on InvalidInputError { diagnostics { message line } } } }`;
      const input = { documents: [{ file: 'test.yaml', text }], secrets: secrets ?? [] };
      const { applyConfiguration } = await ask(key, mutation, { input });
      if (applyConfiguration.__typename !== 'ApplyConfigurationPayload')
        throw new Error(JSON.stringify(applyConfiguration));
    },
    async write(folder, files) {
      for (const [name, content] of Object.entries(files)) {
        await mkdir(path.dirname(path.join(folder, name)), { recursive: true });
        await writeFile(path.join(folder, name), content);
      }
    },
    async restartWorker() {
      await worker.stop();
      worker = await begin();
    },
    async stop() {
      await worker.stop();
      await api.close();
      await dialler.close();
      await temporal.stop();
      await partner.stop();
      await rm(root, { recursive: true, force: true });
    },
  };
}

function endpointDocuments(partner: Sshd, partnerFolder: string, landingFolder: string): string {
  return `endpoint: acme-sftp
apiVersion: waybill/v1
connector: sftp
config: { host: ${partner.host}, port: ${partner.port}, username: ${partner.username}, root: ${partnerFolder}, hostKeys: ["${partner.hostKeyFingerprint}"] }
secrets: { privateKey: { file: ./key } }
---
endpoint: landing-zone
apiVersion: waybill/v1
connector: local
config: { root: ${landingFolder} }
---
`;
}
