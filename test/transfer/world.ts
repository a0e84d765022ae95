import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createEndpointPool } from '../../activities/endpoints.ts';
import type { LeaseTimes } from '../../activities/limits/allowance.ts';
import { createBuffers } from '../../activities/transfer/buffers.ts';
import type { ActivityContext, TransferDependencies } from '../../activities/transfer/context.ts';
import { createTransferWork } from '../../activities/transfer/index.ts';
import type { PlanAnswer } from '../../activities/transfer/planTransfer.ts';
import type { Connector, Log, Sink, Source } from '../../connectors/contract.ts';
import { type ConnectorRegistry, createRegistry } from '../../connectors/registry.ts';
import { noHostSecrets } from '../../identity/hostSecrets.ts';
import { createDialler } from '../../network/dialler.ts';
import type { Store } from '../../prisma/contract.ts';
import type { EndpointLimits } from '../../schema/configuration.ts';
import type { Json, RetryPolicy } from '../../schema/plan.ts';
import { testKeys } from '../keys.ts';

const silent: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

export const impatient: RetryPolicy = {
  forMs: 60_000,
  attempts: 1,
  firstMs: 1,
  factor: 1,
  maxMs: 1,
  jitter: 0,
  notOn: [],
};
export const patient: RetryPolicy = { ...impatient, attempts: 3 };

/** The engine without Temporal, over a store: what a worker process has. */
export function openEngine(
  store: Store,
  observe?: TransferDependencies['observe'],
  {
    leaseMs,
    memoryBytes = 64 * 1024 * 1024,
    onWrite,
    onRead,
    limitTimes,
    registry = createRegistry(),
  }: {
    leaseMs?: number;
    memoryBytes?: number;
    onWrite?: WriteListener;
    onRead?: ReadListener;
    limitTimes?: LeaseTimes;
    registry?: ConnectorRegistry;
  } = {},
) {
  const dialler = createDialler({ loopback: true, allow: [] });
  const endpoints = createEndpointPool({
    store,
    registry: listenedTo(registry, onWrite, onRead),
    secretBox: testKeys(store).secretBox,
    hostSecrets: noHostSecrets,
    connectorContext: { dialler, localRoots: ['*'], log: silent },
    log: silent,
    ...(limitTimes && { times: limitTimes }),
  });
  const dependencies: TransferDependencies = {
    store,
    endpoints,
    log: silent,
    buffers: createBuffers({ ceilingBytes: memoryBytes }),
    clock: { now: () => new Date() },
    ...(observe && { observe }),
    ...(leaseMs !== undefined && { leaseMs }),
  };
  return {
    work: createTransferWork(dependencies),
    endpoints,
    async close() {
      await endpoints.close();
      await dialler.close();
    },
  };
}

export type Engine = ReturnType<typeof openEngine>;

/** Hears of each write to a target, before it is sent and when it is acknowledged. */
export type WriteListener = (event: 'sent' | 'acknowledged', at: number, bytes: number, path: string) => void;

/** Hears of each read of a file. */
export type ReadListener = (bytes: number) => void;

function listenedTo(
  registry: ConnectorRegistry,
  onWrite: WriteListener | undefined,
  onRead: ReadListener | undefined,
): ConnectorRegistry {
  if (onWrite === undefined && onRead === undefined) return registry;
  return {
    ...registry,
    open(...parameters) {
      const opened = registry.open(...parameters);
      if (opened.serves !== 'files') return opened;
      const connector = opened.endpoint;
      const begin: Connector['begin'] = async (...words) => {
        const sink = await connector.begin(...words);
        const write: Sink['write'] = async (bytes, at, signal) => {
          onWrite?.('sent', at, bytes.length, words[0]);
          await sink.write(bytes, at, signal);
          onWrite?.('acknowledged', at, bytes.length, words[0]);
        };
        return bound(sink, { write });
      };
      const open: Connector['open'] = async (...words) => {
        const source = await connector.open(...words);
        const read: Source['read'] = async (...piece) => {
          const got = await source.read(...piece);
          onRead?.(got);
          return got;
        };
        return bound(source, { read });
      };
      return { serves: 'files', endpoint: bound(connector, { begin, open }) };
    },
  };
}

/** The same object but for some of its methods; the others keep their own `this`. */
function bound<Target extends object>(target: Target, instead: Partial<Target>): Target {
  return new Proxy(target, {
    get(_, name) {
      if (name in instead) return instead[name as keyof Target];
      const value = target[name as keyof Target];
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

export function attemptOf(options: Partial<ActivityContext> & { retry?: RetryPolicy } = {}): ActivityContext {
  const { retry = impatient, ...rest } = options;
  return {
    signal: new AbortController().signal,
    heartbeat: () => {},
    owner: randomUUID(),
    attempt: 1,
    terms: { retry, stallMs: 30_000 },
    ...rest,
  };
}

export interface World {
  tenantId: string;
  source: string;
  target: string;
  aliases: Record<string, string>;
  put(files: Record<string, string | Buffer>): Promise<void>;
  /** Path below the folder -> content, temporary files included. */
  read(folder: string): Promise<Record<string, string>>;
  newRun(pipeline?: string): Promise<string>;
  plan(runId: string, given: Record<string, Json>, stepKey?: string): Promise<PlanAnswer>;
  /** Plans, copies every batch and closes the transfer. */
  copy(given: Record<string, Json>, options?: { retry?: RetryPolicy; runId?: string }): Promise<Copied>;
  deliveries(runId: string): Promise<DeliveryFacts[]>;
  events(type: string): Promise<Array<{ deliveryId: string | null; data: Record<string, Json> }>>;
}

export interface Copied {
  runId: string;
  transferId: string;
  files: number;
  bytes: number;
  skipped: number;
  failed: number;
  firstFailure: { kind: string; message: string; path: string | null } | null;
}

export interface DeliveryFacts extends Record<string, unknown> {
  id: string;
  state: string;
  path: string;
  /** of the target */
  endpoint: string;
  target: string;
  sha256: string | null;
  evidence: string | null;
  attempt: number;
  disposed: string | null;
  duplicateOf: string | null;
  errorKind: string | null;
  errorMessage: string | null;
  publishedAt: Date | null;
}

/** Folders `source` and `target` of a tenant, as local endpoints `partner` and `landing`, and an engine over them. */
export async function openWorld(
  store: Store,
  tenant: { tenantId: string; principalId: string },
  engine: Engine,
): Promise<World & { remove(): Promise<void> }> {
  const { tenantId, principalId } = tenant;
  const home = await mkdtemp(join(tmpdir(), 'waybill-transfer-'));
  const source = join(home, 'source');
  const target = join(home, 'target');
  await mkdir(source);
  await mkdir(target);
  const names = { partner: `partner-${randomUUID().slice(0, 8)}`, landing: `landing-${randomUUID().slice(0, 8)}` };
  await addEndpoint(store, tenantId, names.partner, 'local', { root: source });
  await addEndpoint(store, tenantId, names.landing, 'local', { root: target });
  const world: World = {
    tenantId,
    source,
    target,
    aliases: names,
    async put(files) {
      for (const [path, content] of Object.entries(files)) {
        await mkdir(dirname(join(source, path)), { recursive: true });
        await writeFile(join(source, path), content);
      }
    },
    read: readTree,
    async newRun(pipeline = 'orders') {
      const runId = randomUUID();
      await store.sql(tenantId, (sql) =>
        sql.query(
          `insert into run (tenant_id, id, pipeline_name, status, trigger, workflow_id, created_by)
           values ($1::uuid, $2::uuid, $3::text, 'running', 'manual', $2::text, $4::uuid)`,
          [tenantId, runId, pipeline, principalId],
        ),
      );
      return runId;
    },
    plan: (runId, given, stepKey = 'steps[0]') =>
      engine.work.planTransfer(
        { tenantId, runId, step: 'copy', stepKey, endpoints: world.aliases, with: given },
        attemptOf(),
      ),
    async copy(given, { retry, runId = '' } = {}) {
      const run = runId === '' ? await world.newRun() : runId;
      const { transferId, batches } = await world.plan(run, given);
      for (let batch = 0; batch < batches; batch++)
        await engine.work.copyBatch({ tenantId, runId: run, transferId, batch }, attemptOf(retry ? { retry } : {}));
      const end = await engine.work.finishTransfer({ tenantId, runId: run, transferId, status: 'succeeded' });
      return { runId: run, transferId, ...end };
    },
    deliveries: (runId) =>
      store.sql(tenantId, (sql) =>
        sql.query<DeliveryFacts>(
          `select id, state, source_path as path, target_endpoint as endpoint, target_path as target, encode(sha256, 'hex') as sha256, evidence, attempt,
                  disposed_path as disposed, duplicate_of as "duplicateOf", error_kind as "errorKind",
                  error_message as "errorMessage", published_at as "publishedAt"
             from delivery where run_id = $1::uuid order by source_path collate "C", delivery.target`,
          [runId],
        ),
      ),
    events: (type) =>
      store.sql(tenantId, (sql) =>
        sql.query(
          `select delivery_id as "deliveryId", data from audit_event where type = $1::text order by created_at, id`,
          [type],
        ),
      ),
  };
  return { ...world, remove: () => rm(home, { recursive: true, force: true }) };
}

export async function addEndpoint(
  store: Store,
  tenantId: string,
  name: string,
  connector: string,
  config: Record<string, unknown>,
  secrets: Record<string, string> = {},
  limits: EndpointLimits = {},
): Promise<void> {
  const { secretBox } = testKeys(store);
  const refs = Object.fromEntries(Object.keys(secrets).map((secret) => [secret, `${name}/${secret}`]));
  await store.sql(tenantId, async (sql) => {
    for (const [secret, value] of Object.entries(secrets))
      await sql.query(
        `insert into secret (tenant_id, name, ciphertext, digest) values ($1::uuid, $2::text, $3::bytea, 'digest')`,
        [tenantId, refs[secret], await secretBox.seal(tenantId, refs[secret]!, value)],
      );
    await sql.query(
      `insert into connector_endpoint (tenant_id, name, connector, config, limits, secret_refs, content_hash)
       values ($1::uuid, $2::text, $3::text, $4::jsonb, $5::jsonb, $6::jsonb, 'hash')
       on conflict (tenant_id, name) do update set config = excluded.config, limits = excluded.limits, version = connector_endpoint.version + 1`,
      [tenantId, name, connector, JSON.stringify(config), JSON.stringify(limits), JSON.stringify(refs)],
    );
  });
}

async function readTree(folder: string): Promise<Record<string, string>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const contents = await Promise.all(
    files.map(async (path) => [path.slice(folder.length), await readFile(path, 'utf8')] as const),
  );
  return Object.fromEntries(contents.sort(([one], [other]) => (one < other ? -1 : 1)));
}
