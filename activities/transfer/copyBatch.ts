import type { Store } from '../../prisma/contract.ts';
import {
  type DeliveryRow,
  findLedgerRun,
  findTransfer,
  firstFailure,
  transferCounts,
  unfinishedDeliveries,
} from '../../prisma/ledger.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { Failure, TransferCounts } from '../../schema/plan.ts';
import { noteHeld, planHeldAgain } from '../limits/heldBatch.ts';
import { type Branch, endOf, failureOf, withBranches } from './branches.ts';
import { type ActivityContext, limits, type TransferDependencies } from './context.ts';
import { writeGivenUp } from './copyFailure.ts';
import { copyFiles } from './copyFiles.ts';
import type { SharedWork } from './copyWork.ts';
import { eventsOf } from './events.ts';
import { createLedgerWriter } from './ledgerWriter.ts';
import { optionalOf, optionsOf } from './options.ts';
import { hasEnded, isPending, type SourceFile, settleSource, sourceFilesOf, withFailed } from './sourceFile.ts';

export interface BatchInput {
  tenantId: string;
  runId: string;
  transferId: string;
  /** 0 is the first. */
  batch: number;
}

export type BatchAnswer = TransferCounts & { optionalFailed: number; firstFailure: Failure | null };

/**
 * Copies the deliveries of a batch that are not finished. Safe twice, on any worker, after a crash at any point.
 *
 * A file that fails does not stop the others. It gets another attempt when its kind of failure may have one under the
 * step's terms; then the activity throws that failure after the other files are done, and its next attempt takes up what
 * is left. Else the file is `failed` for good. A failure that is not about one file (scope connection or endpoint) stops
 * what goes to its target, or all when it is the source's, and is thrown when the others are done: what has arrived stays,
 * what has not begun stays planned. Optional targets are given up when nothing else is left to try. Answers the counts of
 * the whole batch when nothing at all is.
 */
export async function copyBatch(
  dependencies: TransferDependencies,
  input: BatchInput,
  context: ActivityContext,
): Promise<BatchAnswer> {
  const { tenantId, runId, transferId, batch } = input;
  const { store, endpoints } = dependencies;
  context.signal.throwIfAborted();
  const { run, transfer, options, rows } = await store.sql(tenantId, async (sql) => {
    const transfer = await findTransfer(sql, tenantId, transferId);
    const options = optionsOf(transfer);
    const endedToo = options.targets.length > 1 && options.then !== null;
    const rows = await unfinishedDeliveries(sql, tenantId, transferId, batch, { endedToo });
    return { run: await findLedgerRun(sql, tenantId, runId), transfer, options, rows };
  });
  if (rows.some((row) => !hasEnded(row)) && transfer.status === 'running')
    await endpoints.use(tenantId, transfer.sourceEndpoint, (connector, settings) =>
      copyRows(input, rows, {
        tenantId,
        pipeline: run.pipelineName,
        transfer,
        options,
        source: { name: transfer.sourceEndpoint, connector, settings },
        ledger: createLedgerWriter(store, tenantId, context.owner, dependencies.leaseMs ?? limits.leaseMs),
        events: eventsOf(run, runId, transferId),
        dependencies,
        context,
        done: { files: 0, bytes: 0, kept: 0 },
      }),
    );
  const part = { batch, optional: optionalOf(options.targets) };
  return store.sql(tenantId, async (sql) => ({
    ...(await transferCounts(sql, tenantId, transferId, part)),
    firstFailure: await firstFailure(sql, tenantId, transferId, part),
  }));
}

async function copyRows(input: BatchInput, rows: readonly DeliveryRow[], shared: SharedWork): Promise<void> {
  const { context, dependencies } = shared;
  const { store } = dependencies;
  const isOneOfMany = shared.options.targets.length > 1;
  const toSend = rows.filter((row) => !hasEnded(row) && !(isOneOfMany && row.state === 'published'));
  await withBranches(shared, toSend, async (branches) => {
    const all = [...branches.values()];
    const opened = all.filter(({ work }) => work !== null);
    const files = sourceFilesOf(opened.length > 0 ? await planHeldAgain(store, input, rows) : rows, branches);
    if (opened.length > 0) await noteHolds(store, input, all);
    await copyFiles(shared, files, all);
    if (context.signal.aborted) throw cancelled(context.signal);
    await noteHolds(store, input, all);
    const { thrown, givenUp } = endOf(all, shared);
    if (thrown !== null) throw thrown;
    await giveUp(shared, files, givenUp);
  });
}

/** Files of a target that is held say so, while those of the others go on. */
async function noteHolds(store: Store, input: BatchInput, branches: readonly Branch[]): Promise<void> {
  for (const failure of branches.map(failureOf)) if (failure !== null) await noteHeld(store, input, failure);
}

/** Optional targets get no further attempt: their files have failed, and nothing waits for them any more. */
async function giveUp(shared: SharedWork, files: readonly SourceFile[], givenUp: readonly Branch[]): Promise<void> {
  if (givenUp.length === 0) return;
  await Promise.all(
    files.map(async (file) => {
      const members = file.members.filter((member) => givenUp.includes(member.branch) && isPending(member));
      for (const { branch, row, copy } of members) {
        const current = copy?.row ?? row;
        // Who may have been published without a word keeps its claim until its lease ends.
        const claim = copy?.claimed === true && current.state !== 'verified' ? 'release' : 'none';
        await writeGivenUp(shared, branch.target.endpoint, current, failureOf(branch)!, claim);
      }
      if (members.length > 0)
        await settleSource(shared, withFailed(file, members), async (_, error) => Promise.reject(error));
    }),
  );
}

function cancelled(signal: AbortSignal): WaybillError {
  return new WaybillError('cancelled', 'cancelled', { operation: 'copying', cause: signal.reason });
}
