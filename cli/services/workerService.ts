import type { Log } from '../../connectors/contract.ts';
import type { TaskQueue } from '../../schema/workflow.ts';
import type { ServiceSettings } from '../settings.ts';
import { connectTemporal, openFoundation } from './foundation.ts';
import type { RunningService } from './process.ts';
import { startWorker } from './worker.ts';

/** The worker as a service: waits for PostgreSQL and Temporal, then polls. */
export async function startWorkerService(
  settings: ServiceSettings,
  log: Log,
  signal: AbortSignal,
  queues: readonly TaskQueue[],
): Promise<RunningService> {
  const foundation = await openFoundation(settings, log, signal);
  // Only to wait for it: the worker has connections of its own.
  await (await connectTemporal(settings, foundation, log, signal)).connection.close();
  const worker = await startWorker({
    ...foundation,
    temporalAddress: settings.temporalAddress,
    namespace: settings.temporalNamespace,
    queues: settings.systemUrl === null ? queues.filter((queue) => queue !== 'system') : queues,
    webhookRetryDelaysMs: settings.webhookRetryDelaysMs,
    sweepEveryMs: settings.sweepEveryMs,
    log,
  });
  return {
    facts: {},
    done: worker.done,
    async stop() {
      await worker.stop();
      await foundation.close();
    },
  };
}
