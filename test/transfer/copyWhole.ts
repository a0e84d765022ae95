import type { FinishAnswer } from '../../activities/transfer/finishTransfer.ts';
import type { PlanInput } from '../../activities/transfer/planTransfer.ts';
import { attemptOf, type Engine, patient } from './world.ts';

/** What the workflow does with a transfer: plans it, copies every batch and closes it. */
export async function copyWhole(engine: Engine, plan: PlanInput, attempt: number): Promise<FinishAnswer> {
  const { tenantId, runId } = plan;
  const options = { attempt, retry: patient };
  const { transferId, batches } = await engine.work.planTransfer(plan, attemptOf(options));
  for (let batch = 0; batch < batches; batch++)
    await engine.work.copyBatch({ tenantId, runId, transferId, batch }, attemptOf(options));
  return engine.work.finishTransfer({ tenantId, runId, transferId, status: 'succeeded' });
}
