import { Client, Connection } from '@temporalio/client';
import { NativeConnection, Worker } from '@temporalio/worker';
import { createEndpointPool } from '../../activities/endpoints.ts';
import { createRunActivities, createTransferActivities } from '../../activities/index.ts';
import { createSystemActivities } from '../../activities/system.ts';
import { createBuffers } from '../../activities/transfer/buffers.ts';
import type { ConnectorContext, Log } from '../../connectors/contract.ts';
import type { ConnectorRegistry } from '../../connectors/registry.ts';
import type { HostSecrets } from '../../identity/hostSecrets.ts';
import type { TenantKeys } from '../../identity/keys/tenantKeys.ts';
import type { SecretBox } from '../../identity/secrets.ts';
import type { Store } from '../../prisma/contract.ts';
import { type TaskQueue, taskQueues } from '../../schema/workflow.ts';
import { encryptingConverter } from './dataConverter.ts';
import { ensureSchedules, type SystemSchedule } from './schedules.ts';
import { logTemporalTo } from './temporalLog.ts';
import { bundleApart } from './workflowBundles.ts';

/** Transfer activities of one worker process at a time; each holds at most a ring of buffers per file in flight. */
const transfersAtOnce = 16;
/** Memory for file contents of the whole process. */
const fileBuffersBytes = 128 * 1024 * 1024;
const runTasksAtOnce = 100;
/** What a stopping worker leaves its activities to come to a safe place. */
const shutdownGraceMs = 10_000;
/** With the default of 60 s an activity would see a cancellation after 20 s or more. */
const heartbeatThrottleMs = 1_000;
const sweepCatchUpMs = 3_600_000;

export interface WorkerDependencies {
  store: Store;
  registry: ConnectorRegistry;
  tenantKeys: TenantKeys;
  secretBox: SecretBox;
  hostSecrets: HostSecrets;
  connectorContext: ConnectorContext;
  temporalAddress: string;
  namespace: string;
  /** Whose work this process does; the rest is left to others. `system` needs the system role. */
  queues: readonly TaskQueue[];
  webhookRetryDelaysMs: readonly number[];
  /** How often endpoints are swept; null: never. */
  sweepEveryMs: number | null;
  log: Log;
}

export interface RunningWorker {
  /** Settles when the worker has stopped; rejects when it stopped by a fault. */
  readonly done: Promise<void>;
  /** Stops polling, lets activities come to a safe place, closes every connection. */
  stop(): Promise<void>;
}

/** Starts a worker for each queue of this process. Settles when they poll. */
export async function startWorker(dependencies: WorkerDependencies): Promise<RunningWorker> {
  const { temporalAddress, namespace, store, queues, log } = dependencies;
  logTemporalTo(log);
  const serves = (queue: TaskQueue) => queues.includes(queue);
  // Who only moves bytes needs none, nor the threads in which Temporal keeps workflows.
  const bundles = serves('runs') || serves('system') ? await bundleApart() : null;
  const connection = await NativeConnection.connect({ address: temporalAddress });
  const clientConnection = await Connection.connect({ address: temporalAddress });
  const dataConverter = encryptingConverter(dependencies.tenantKeys);
  const temporal = new Client({ connection: clientConnection, namespace, dataConverter });
  const endpoints = createEndpointPool(dependencies);
  const transferDependencies = {
    store,
    log,
    endpoints,
    buffers: createBuffers({ ceilingBytes: fileBuffersBytes }),
    clock: { now: () => new Date() },
  };
  const common = {
    connection,
    namespace,
    dataConverter,
    shutdownGraceTime: shutdownGraceMs,
    maxHeartbeatThrottleInterval: heartbeatThrottleMs,
    defaultHeartbeatThrottleInterval: heartbeatThrottleMs,
  };
  const workers = await Promise.all([
    ...(serves('runs')
      ? [
          Worker.create({
            ...common,
            taskQueue: taskQueues.runs,
            workflowBundle: bundles!.runs,
            activities: createRunActivities(transferDependencies),
            maxConcurrentActivityTaskExecutions: runTasksAtOnce,
          }),
        ]
      : []),
    ...(serves('transfers')
      ? [
          Worker.create({
            ...common,
            taskQueue: taskQueues.transfers,
            activities: createTransferActivities(transferDependencies),
            maxConcurrentActivityTaskExecutions: transfersAtOnce,
          }),
        ]
      : []),
    ...(serves('system')
      ? [
          Worker.create({
            ...common,
            taskQueue: taskQueues.system,
            workflowBundle: bundles!.system,
            activities: createSystemActivities({
              ...dependencies,
              endpoints,
              dialler: dependencies.connectorContext.dialler,
              temporal,
            }),
          }),
        ]
      : []),
  ]);
  const running = workers.map((worker) => worker.run());
  const stopRelay = serves('system') ? await relayOutbox(store, temporal, log) : async () => undefined;
  if (serves('system')) await ensureSchedules(temporal, schedulesOf(dependencies));
  else log.info({ queues }, 'this worker sends no webhooks and sweeps nothing: another one has to');
  const done = Promise.all(running).finally(async () => {
    await stopRelay();
    await endpoints.close();
    await clientConnection.close();
    await connection.close();
  });
  return {
    done: done.then(() => undefined),
    async stop() {
      for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
      await done;
    },
  };
}

/** Wakes the outbox workflow after each commit that left a message there. Many commits in a row make few signals. */
async function relayOutbox(store: Store, temporal: Client, log: Log): Promise<() => Promise<void>> {
  let signalling = false;
  let again = false;
  const wake = async (): Promise<void> => {
    again = true;
    if (signalling) return;
    signalling = true;
    try {
      while (again) {
        again = false;
        await temporal.workflow.signalWithStart('outbox', {
          workflowId: 'waybill/outbox',
          taskQueue: taskQueues.system,
          signal: 'wake',
        });
      }
    } catch (error) {
      // The reconcile schedule looks into the outbox every 30 s, so a lost signal costs time and no message.
      log.warn({ error: error instanceof Error ? error.message : String(error) }, 'could not wake the outbox');
    } finally {
      signalling = false;
    }
  };
  return store.listen('outbox', () => void wake());
}

function schedulesOf({ sweepEveryMs }: Pick<WorkerDependencies, 'sweepEveryMs'>): SystemSchedule[] {
  return [
    { id: 'waybill/reconcile', workflowType: 'reconcile', everyMs: 30_000, catchUpMs: 60_000 },
    { id: 'waybill/sweep', workflowType: 'sweepEndpoints', everyMs: sweepEveryMs, catchUpMs: sweepCatchUpMs },
  ];
}
