import { recordEvents } from '../../audit/record.ts';
import {
  abandonDeliveries,
  endTransfer,
  findLedgerRun,
  firstFailure,
  lockTransfer,
  transferCounts,
} from '../../prisma/ledger.ts';
import type { Failure, TransferCounts } from '../../schema/plan.ts';
import type { TransferDependencies } from './context.ts';
import { eventsOf } from './events.ts';

export interface FinishInput {
  tenantId: string;
  runId: string;
  transferId: string;
  status: 'succeeded' | 'failed' | 'cancelled';
  /** Why the step gave up: said of files whose turn never came. */
  failure?: Pick<Failure, 'kind' | 'message'> | null;
}

export type FinishAnswer = TransferCounts & { firstFailure: Failure | null };

/**
 * Closes a transfer: what is left becomes failed (with the error of its last attempt) or cancelled, claims are released,
 * and one event says how it ended. A transfer with failed files has failed, whatever `status` says. Safe twice.
 */
export async function finishTransfer(
  { store }: Pick<TransferDependencies, 'store'>,
  { tenantId, runId, transferId, status, failure: reason }: FinishInput,
): Promise<FinishAnswer> {
  return store.sql(tenantId, async (sql) => {
    const run = await findLedgerRun(sql, tenantId, runId);
    const transfer = await lockTransfer(sql, tenantId, transferId);
    const events = eventsOf(run, runId, transferId);
    const state = status === 'cancelled' ? 'cancelled' : 'failed';
    const kind = reason?.kind ?? 'unavailable';
    const message =
      reason == null ? 'not tried: the step gave up before' : `not tried, since the step gave up: ${reason.message}`;
    const abandoned = await abandonDeliveries(sql, tenantId, transferId, { state, error: { kind, message } });
    const counts = await transferCounts(sql, tenantId, transferId);
    const failure = await firstFailure(sql, tenantId, transferId);
    const end = status === 'succeeded' && counts.failed > 0 ? 'failed' : status;
    await endTransfer(sql, tenantId, transferId, end);
    const type =
      end === 'succeeded' ? 'transfer.completed' : end === 'failed' ? 'transfer.failed' : 'transfer.cancelled';
    const { sourceEndpoint, targetEndpoint, step } = transfer;
    await recordEvents(sql, tenantId, [
      ...abandoned.map((row) =>
        events.delivery('delivery.failed', row, {
          source: { endpoint: sourceEndpoint, path: row.sourcePath },
          target: { endpoint: targetEndpoint, path: row.targetPath },
          delivered: false,
          kind: row.errorKind,
          message: row.errorMessage,
        }),
      ),
      ...(transfer.status === 'running' ? [events.transfer(type, transferId, { step, ...counts })] : []),
    ]);
    return { ...counts, firstFailure: failure };
  });
}
