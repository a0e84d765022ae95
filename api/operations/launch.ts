import { WorkflowExecutionAlreadyStartedError } from '@temporalio/client';
import { defineSearchAttributeKey, type SearchAttributePair } from '@temporalio/common';
import type { Run } from '../../prisma/generated/client.ts';
import { WaybillError } from '../../schema/errors.ts';
import { publicId } from '../../schema/names.ts';
import { type RunArguments, type searchAttributes, taskQueues } from '../../schema/workflow.ts';
import type { Operation } from '../context.ts';
import { limits } from '../limits.ts';
import { closeUnstarted } from './closeUnstarted.ts';
import { actorOf } from './events.ts';

/**
 * Hands a run in status `starting` to Temporal; safe twice. When Temporal does not take it, the run is closed as failed
 * and `unavailable` is thrown: should the request have arrived all the same, the run's first activity finds it closed.
 */
export async function launch(operation: Operation, run: Run, version: string): Promise<void> {
  try {
    await startWorkflow(operation, run, version);
  } catch (error) {
    operation.log.warn({ runId: run.id, cause: String(error) }, 'Temporal did not take a run');
    const message = 'Temporal could not be reached to start the run';
    const end = { status: 'failed', event: 'run.failed', error: { kind: 'unavailable', message } } as const;
    // Not closed: the request did arrive, and a worker has opened the run already.
    const { store, caller } = operation;
    const by = { tenantId: caller.tenantId, actor: actorOf(caller) };
    if (!(await closeUnstarted(store, by, run, end))) return;
    throw new WaybillError('unavailable', 'Temporal cannot be reached; the run was not started', { cause: error });
  }
}

async function startWorkflow(operation: Operation, run: Run, version: string): Promise<void> {
  const { temporalCalls, caller } = operation;
  const argument: RunArguments = { tenantId: caller.tenantId, runId: run.id };
  try {
    await temporalCalls.call(limits.temporalTimeoutMs, (temporal) =>
      temporal.workflow.start(run.pipelineName, {
        taskQueue: taskQueues.runs,
        workflowId: run.workflowId,
        workflowIdReusePolicy: 'REJECT_DUPLICATE',
        workflowIdConflictPolicy: 'USE_EXISTING',
        args: [argument],
        priority: { fairnessKey: caller.tenantId },
        typedSearchAttributes: attributesOf(run, version, caller.tenantId),
        staticSummary: `${run.pipelineName} ${version} (${run.trigger})`,
        staticDetails: detailsOf(operation, run, version),
      }),
    );
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
  }
}

function attributesOf(run: Run, version: string, tenantId: string): SearchAttributePair[] {
  const keyword = (name: keyof typeof searchAttributes, value: string) => ({
    key: defineSearchAttributeKey(name, 'KEYWORD'),
    value,
  });
  return [
    keyword('WaybillTenant', tenantId),
    keyword('WaybillPipeline', run.pipelineName),
    keyword('WaybillVersion', version),
    keyword('WaybillTrigger', run.trigger),
    keyword('WaybillStatus', 'running'),
  ];
}

/** Markdown for the night operator. Names of files and partners stay out: the UI shows it to whoever opens it. */
function detailsOf({ caller }: Operation, run: Run, version: string): string {
  const lines = [
    `- run \`${publicId('run', run.id)}\``,
    `- pipeline \`${run.pipelineName}\`, version \`${version}\``,
    `- started by ${JSON.stringify(caller.principalName)} of tenant ${JSON.stringify(caller.tenantName)}`,
  ];
  lines.push(`- \`waybill runs show ${publicId('run', run.id)}\``);
  if (run.retryOf !== null) lines.push(`- retry of \`${publicId('run', run.retryOf)}\``);
  return lines.join('\n');
}
