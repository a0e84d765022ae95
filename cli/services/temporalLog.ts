import { IllegalStateError } from '@temporalio/common';
import { DefaultLogger, Runtime } from '@temporalio/worker';
import type { Log } from '../../connectors/contract.ts';

/**
 * Sends what the Temporal SDK says, from warnings on, to our log: one line each, without stacks, since a failed attempt is
 * told with its kind and place. The SDK's runtime is one per process: the first log stays.
 */
export function logTemporalTo(log: Log): void {
  const logger = new DefaultLogger('WARN', ({ level, message, meta }) => {
    const { workflowId, activityType, attempt, error } = (meta ?? {}) as Record<string, unknown>;
    const facts = { workflowId, activityType, attempt, error: error instanceof Error ? error.message : undefined };
    if (level === 'ERROR') log.error(facts, message);
    else log.warn(facts, message);
  });
  try {
    // Signals are the process's own business: it stops its services in order.
    Runtime.install({ logger, shutdownSignals: [] });
  } catch (error) {
    if (!(error instanceof IllegalStateError)) throw error;
  }
}
