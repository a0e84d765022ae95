import { type CancellationScope, workflowInfo } from '@temporalio/workflow';
import type { RunArguments } from '../../schema/workflow.ts';
import { temporalPort as portOfTheProduct, type TemporalPort } from '../../workflows/temporalPort.ts';
import { callsOfHistory } from './suspensions.ts';

// What else the module has, but for the port.
export * from '../../workflows/temporalPort.ts';

/**
 * Stands in for the product's port in a bundle of its own (`temporalWorld.ts`): the same, but each run goes on in a new
 * history after every few calls. Each history makes progress, so the run ends.
 */
export function temporalPort(root: CancellationScope, run: RunArguments): TemporalPort {
  const port = portOfTheProduct(root, run);
  const enough = callsOfHistory(workflowInfo().workflowId);
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
