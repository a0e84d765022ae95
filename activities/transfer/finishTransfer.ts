import { recordEvents } from '../../audit/record.ts';
import {
  abandonDeliveries,
  abandonedWrites,
  endTransfer,
  findLedgerRun,
  firstFailure,
  forgetWrites,
  lockTransfer,
  noteMissingTargets,
  transferCounts,
} from '../../prisma/ledger.ts';
import type { Failure, TransferCounts } from '../../schema/plan.ts';
import { limits, type TransferDependencies } from './context.ts';
import { eventsOf } from './events.ts';
import { optionalOf, optionsOf } from './options.ts';

export interface FinishInput {
  tenantId: string;
  runId: string;
  transferId: string;
  status: 'succeeded' | 'failed' | 'cancelled';
  /** Why the step gave up: said of files whose turn never came. */
  failure?: Pick<Failure, 'kind' | 'message'> | null;
}

/** `optionalFailed` of `failed` went to targets that need not get the file; they are never the first failure. */
export type FinishAnswer = TransferCounts & { optionalFailed: number; firstFailure: Failure | null };

/**
 * Closes a transfer: what is left becomes failed (with the error of its last attempt) or cancelled, claims are released,
 * one event says how it ended, and what unfinished copies left at the target is removed. A transfer with files that a
 * required target has not got has failed, whatever `status` says. Safe twice.
 */
export async function finishTransfer(dependencies: FinishDependencies, input: FinishInput): Promise<FinishAnswer> {
  const answer = await close(dependencies, input);
  await discardAbandoned(dependencies, input);
  return answer;
}

type FinishDependencies = Pick<TransferDependencies, 'store' | 'endpoints' | 'log'>;

/** Removes unfinished writes that nobody will take up. It may take seconds, and what it cannot reach is left to the sweep. */
async function discardAbandoned(
  { store, endpoints, log }: FinishDependencies,
  { tenantId, transferId }: FinishInput,
): Promise<void> {
  const left = await store.sql(tenantId, (sql) => abandonedWrites(sql, tenantId, transferId, limits.pageRows));
  const signal = AbortSignal.timeout(limits.discardMs);
  const gone: string[] = [];
  for (const { id, targetEndpoint, sinkToken } of left)
    try {
      await endpoints.use(tenantId, targetEndpoint, async (connector) => connector.discard?.(sinkToken, signal));
      gone.push(id);
    } catch (error) {
      log.warn({ deliveryId: id, endpoint: targetEndpoint, error: String(error) }, 'an unfinished write is left');
    }
  if (gone.length > 0) await store.sql(tenantId, (sql) => forgetWrites(sql, tenantId, gone));
}

async function close(
  { store }: Pick<FinishDependencies, 'store'>,
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
    const { targets, then } = optionsOf(transfer);
    const required = targets.flatMap((target, number) => (target.required ? [number] : []));
    if (targets.length > 1 && then !== null) await noteMissingTargets(sql, tenantId, transferId, required);
    const all = { batch: null, optional: optionalOf(targets) };
    const counts = await transferCounts(sql, tenantId, transferId, all);
    const failure = await firstFailure(sql, tenantId, transferId, all);
    const end = status === 'succeeded' && counts.failed > counts.optionalFailed ? 'failed' : status;
    await endTransfer(sql, tenantId, transferId, end);
    const type =
      end === 'succeeded' ? 'transfer.completed' : end === 'failed' ? 'transfer.failed' : 'transfer.cancelled';
    const { sourceEndpoint, step } = transfer;
    await recordEvents(sql, tenantId, [
      ...abandoned.map((row) =>
        events.delivery('delivery.failed', row, {
          source: { endpoint: sourceEndpoint, path: row.sourcePath },
          target: { endpoint: row.targetEndpoint, path: row.targetPath },
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
