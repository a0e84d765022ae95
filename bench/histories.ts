import type { Client } from '@temporalio/client';

/** One execution of a run: a run that outgrows its history goes on in another. */
export interface Execution {
  runId: string;
  events: number;
}

/** The executions of a workflow from the first to the last, which has ended. */
export async function executionsOf(temporal: Client, workflowId: string, firstRunId: string): Promise<Execution[]> {
  const executions: Execution[] = [];
  for (let runId: string | null = firstRunId; runId !== null; ) {
    const last = await lastEvent(temporal, workflowId, runId);
    executions.push({ runId, events: last.events });
    runId = last.continuedAs;
  }
  return executions;
}

async function lastEvent(
  temporal: Client,
  workflowId: string,
  runId: string,
): Promise<{ events: number; continuedAs: string | null }> {
  const answer = await temporal.workflowService.getWorkflowExecutionHistoryReverse({
    namespace: temporal.options.namespace,
    execution: { workflowId, runId },
    maximumPageSize: 1,
  });
  const event = answer.history!.events![0]!;
  const continuedAs = event.workflowExecutionContinuedAsNewEventAttributes?.newExecutionRunId;
  return { events: Number(event.eventId), continuedAs: continuedAs ? continuedAs : null };
}
