import { type CancellationScope, workflowInfo } from '@temporalio/workflow';
import { temporalPort as portOfTheProduct, type TemporalPort } from '../../workflows/temporalPort.ts';
import { hashOf } from './random.ts';

// What else the module has, but for the port.
export * from '../../workflows/temporalPort.ts';

/** Calls after which a history is taken for full: few, and others for each run. */
const callsAtMost = 8;

/**
 * Stands in for the product's port in a bundle of its own (`temporalWorld.ts`): the same, but each run goes on in a new
 * history after every few calls. Each history makes progress, so the run ends.
 */
export function temporalPort(root: CancellationScope): TemporalPort {
  const port = portOfTheProduct(root);
  const enough = 1 + (hashOf(workflowInfo().workflowId) % callsAtMost);
  let ended = 0;
  return {
    ...port,
    async call(call) {
      const isProgress = call.activity !== 'files.page' && !call.activity.startsWith('run.');
      try {
        return await port.call(call);
      } finally {
        if (isProgress) ended++;
      }
    },
    async sleepUntil(timeMs, summary) {
      await port.sleepUntil(timeMs, summary);
      ended++;
    },
    shouldSuspend: () => port.shouldSuspend() || ended >= enough,
  };
}
