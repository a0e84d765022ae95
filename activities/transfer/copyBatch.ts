import {
  type DeliveryRow,
  findLedgerRun,
  findTransfer,
  firstFailure,
  transferCounts,
  unfinishedDeliveries,
} from '../../prisma/ledger.ts';
import { asWaybillError, WaybillError } from '../../schema/errors.ts';
import type { Failure, TransferCounts } from '../../schema/plan.ts';
import { mayRetry, tellFailure } from '../failure.ts';
import { planHeldAgain } from '../limits/heldBatch.ts';
import { type ActivityContext, limits, type TransferDependencies } from './context.ts';
import { type Copy, type CopyWork, startCopy } from './copyWork.ts';
import { deliver } from './delivery.ts';
import { eventsOf } from './events.ts';
import { createGate } from './gate.ts';
import { createLedgerWriter, leaseLost } from './ledgerWriter.ts';
import { asTransferOptions } from './options.ts';
import { discardQuietly } from './unfinished.ts';

export interface BatchInput {
  tenantId: string;
  runId: string;
  transferId: string;
  /** 0 is the first. */
  batch: number;
}

export type BatchAnswer = TransferCounts & { firstFailure: Failure | null };

/**
 * Copies the deliveries of a batch that are not finished. Safe twice, on any worker, after a crash at any point.
 *
 * A file that fails does not stop the others. It gets another attempt when its kind of failure may have one under the
 * step's terms; then the activity throws that failure after the other files are done, and its next attempt takes up what
 * is left. Else the file is `failed` for good. A failure that is not about one file (scope connection or endpoint) stops
 * the batch and is thrown: what has arrived stays, what has not begun stays planned. Answers the counts of the whole
 * batch when nothing is left to try.
 */
export async function copyBatch(
  dependencies: TransferDependencies,
  input: BatchInput,
  context: ActivityContext,
): Promise<BatchAnswer> {
  const { tenantId, runId, transferId, batch } = input;
  const { store, endpoints } = dependencies;
  context.signal.throwIfAborted();
  const { run, transfer, rows } = await store.sql(tenantId, async (sql) => ({
    run: await findLedgerRun(sql, tenantId, runId),
    transfer: await findTransfer(sql, tenantId, transferId),
    rows: await unfinishedDeliveries(sql, tenantId, transferId, batch),
  }));
  if (rows.length > 0 && transfer.status === 'running')
    await endpoints.use(tenantId, transfer.sourceEndpoint, (from, fromSettings) =>
      endpoints.use(tenantId, transfer.targetEndpoint, async (to, toSettings) =>
        copyRows(await planHeldAgain(store, input, rows), {
          tenantId,
          pipeline: run.pipelineName,
          transfer,
          options: asTransferOptions(transfer.options),
          source: { name: transfer.sourceEndpoint, connector: from, settings: fromSettings },
          target: { name: transfer.targetEndpoint, connector: to, settings: toSettings },
          ledger: createLedgerWriter(store, tenantId, context.owner, dependencies.leaseMs ?? limits.leaseMs),
          events: eventsOf(run, runId, transferId),
          dependencies,
          context,
          done: { files: 0, bytes: 0, kept: 0 },
          stop: null,
          filesGate: createGate(
            Math.max(
              1,
              Math.min(
                from.capabilities.filesInFlight,
                to.capabilities.filesInFlight,
                fromSettings.concurrency,
                toSettings.concurrency,
              ),
            ),
          ),
        }),
      ),
    );
  return store.sql(tenantId, async (sql) => ({
    ...(await transferCounts(sql, tenantId, transferId, batch)),
    firstFailure: await firstFailure(sql, tenantId, transferId, batch),
  }));
}

/** What the files of a batch have come to so far. */
interface Outcome {
  /** Copied by another run at this moment. */
  busy: DeliveryRow[];
  /** The first failure of a file that gets another attempt. */
  postponed: WaybillError | null;
}

async function copyRows(rows: readonly DeliveryRow[], work: CopyWork): Promise<void> {
  const inFlight = new Set<Copy>();
  const outcome: Outcome = { busy: [], postponed: null };
  const pulse = startPulse(work, inFlight);
  try {
    await copyAll(rows, work, inFlight, outcome);
    await copyBusy(work, inFlight, outcome);
  } finally {
    await pulse.stop();
  }
  if (work.context.signal.aborted) throw cancelled(work.context.signal);
  if (work.stop !== null) throw work.stop;
  if (outcome.postponed !== null) throw outcome.postponed;
}

/** Many deliveries side by side: more of small files than talk to the endpoints, since those also wait for the ledger. */
async function copyAll(
  rows: readonly DeliveryRow[],
  work: CopyWork,
  inFlight: Set<Copy>,
  outcome: Outcome,
): Promise<void> {
  const queue = rows.values();
  const bytes = rows.reduce((sum, row) => sum + row.sourceSize, 0);
  const isSmall = bytes <= rows.length * limits.smallFileBytes;
  const width = Math.min(isSmall ? limits.smallFilesInFlight : work.filesGate.width, rows.length);
  async function lane(): Promise<void> {
    for (const row of queue) {
      if (work.stop !== null || work.context.signal.aborted) return;
      await copyOne(startCopy(work, row), work, inFlight, outcome);
    }
  }
  await Promise.all(Array.from({ length: width }, lane));
}

async function copyOne(copy: Copy, work: CopyWork, inFlight: Set<Copy>, outcome: Outcome): Promise<void> {
  inFlight.add(copy);
  try {
    if ((await deliver(work, copy)) === 'busy') outcome.busy.push(copy.row);
  } catch (error) {
    await fail(copy, work, outcome, error);
  } finally {
    inFlight.delete(copy);
  }
}

/** Looks again, until the other runs are done with our files, or have given them up. */
async function copyBusy(work: CopyWork, inFlight: Set<Copy>, outcome: Outcome): Promise<void> {
  const { signal } = work.context;
  const { clock } = work.dependencies;
  const deadlineMs = clock.now().getTime() + limits.busyWaitMs;
  while (outcome.busy.length > 0 && work.stop === null && !signal.aborted) {
    if (clock.now().getTime() > deadlineMs) {
      const { sourcePath } = outcome.busy[0]!;
      const message = `another run has been copying this file for more than ${limits.busyWaitMs / 60_000} minutes`;
      outcome.postponed ??= new WaybillError('conflict', message, { endpoint: work.source.name, path: sourcePath });
      return;
    }
    await pause(limits.busyPollMs, signal);
    await copyAll(outcome.busy.splice(0), work, inFlight, outcome);
  }
}

/** Writes down how a file failed. When the ledger cannot be reached, that is the failure, and its next attempt finds out. */
async function fail(copy: Copy, work: CopyWork, outcome: Outcome, thrown: unknown): Promise<void> {
  const error = asWaybillError(copy.signal.aborted && !work.context.signal.aborted ? copy.signal.reason : thrown);
  if (error.context.leaseLost === true) {
    outcome.postponed ??= error;
    return;
  }
  if (work.context.signal.aborted) return quietly(work, () => writeHandedOver(copy, work));
  const wide = error.scope === 'connection' || error.scope === 'endpoint';
  const again = wide || mayRetry(error, work.context.terms.retry, work.context.attempt);
  if (wide) work.stop ??= error;
  else if (again) outcome.postponed ??= error;
  await quietly(
    work,
    () => (again ? writePostponed(copy, work, error) : writeFailed(copy, work, error)),
    (cause) => {
      work.stop ??= asWaybillError(cause);
    },
  );
}

async function quietly(
  work: CopyWork,
  write: () => Promise<void>,
  onFailure?: (cause: unknown) => void,
): Promise<void> {
  try {
    await write();
  } catch (cause) {
    if (cause instanceof WaybillError && cause.context.leaseLost === true) return;
    work.dependencies.log.warn(
      { transferId: work.transfer.id, error: String(cause) },
      'the ledger could not be written',
    );
    onFailure?.(cause);
  }
}

/**
 * Stopped by a cancellation or a pause of the run, or handed over to another worker: the end of the transfer makes a
 * cancelled run's files `cancelled`. What may already have been renamed stays `verified`, so that whoever comes next
 * looks at the target.
 */
async function writeHandedOver(copy: Copy, { ledger }: CopyWork): Promise<void> {
  if (!copy.claimed) return;
  await ledger.write(
    copy.row.state === 'verified'
      ? { delivery: copy.row, change: { state: 'verified', error: null }, claim: 'extend' }
      : {
          delivery: copy.row,
          change: { state: 'planned', bytesDone: copy.row.sinkToken === null ? 0 : copy.bytesDone, error: null },
          claim: 'release',
        },
  );
}

/** Another attempt will come. A file that may already be published keeps its claim: nobody else is to send it again. */
async function writePostponed(copy: Copy, { ledger }: CopyWork, error: WaybillError): Promise<void> {
  const state = copy.row.state === 'published' || copy.row.state === 'verified' ? copy.row.state : 'planned';
  const claim = !copy.claimed ? 'none' : state === 'verified' ? 'extend' : 'release';
  const message = tellFailure(error, limits.errorMessageLength);
  await ledger.write({ delivery: copy.row, change: { state, error: { kind: error.kind, message } }, claim });
}

/** For good. A delivered file whose source could not be disposed of stays `published`, and says why. */
async function writeFailed(copy: Copy, work: CopyWork, error: WaybillError): Promise<void> {
  const { ledger, events, source, target } = work;
  const { row } = copy;
  const message = tellFailure(error, limits.errorMessageLength);
  if (row.sinkToken !== null) await discardQuietly(work, row.sinkToken, AbortSignal.timeout(limits.discardMs));
  await ledger.write({
    delivery: row,
    change: { state: row.state === 'published' ? 'published' : 'failed', error: { kind: error.kind, message } },
    claim: copy.claimed ? 'release' : 'none',
    events: [
      events.delivery('delivery.failed', row, {
        source: { endpoint: source.name, path: row.sourcePath },
        target: { endpoint: target.name, path: row.targetPath },
        delivered: row.state === 'published',
        kind: error.kind,
        message,
      }),
    ],
  });
}

/** Every second: the heartbeat, the checkpoint and lease of each copy that takes longer, and an end to those that stand still. */
function startPulse(work: CopyWork, inFlight: ReadonlySet<Copy>): { stop(): Promise<void> } {
  const { context, done, ledger, dependencies } = work;
  const seen = new WeakSet<Copy>();
  let saving: Promise<void> = Promise.resolve();
  let isSaving = false;

  async function save(copies: readonly Copy[]): Promise<void> {
    const rows = copies.map((copy) => ({ ...copy.row, bytesDone: Math.min(copy.bytesDone, copy.row.sourceSize) }));
    const askedAtMs = performance.now();
    const lost = new Set(await ledger.checkpoint(rows));
    for (const copy of copies)
      if (!lost.has(copy.row.id)) copy.fence.renewed(askedAtMs);
      else if (copy.claimed) copy.stop(leaseLost());
  }

  function beat() {
    context.heartbeat({ ...done });
    const nowMs = dependencies.clock.now().getTime();
    const { stallMs } = context.terms;
    for (const copy of inFlight) copy.fence.look();
    const held = work.source.settings.held() ?? work.target.settings.held();
    if (held !== null) {
      work.stop ??= held;
      for (const copy of inFlight) copy.stop(held);
    }
    for (const copy of inFlight)
      if (!copy.waiting && nowMs - copy.movedAtMs > stallMs)
        copy.stop(
          new WaybillError('timeout', `no byte and no answer for ${Math.round(stallMs / 1000)} s`, {
            path: copy.row.sourcePath,
          }),
        );
    const longer = [...inFlight].filter((copy) => copy.claimed && seen.has(copy));
    for (const copy of inFlight) seen.add(copy);
    if (longer.length === 0 || isSaving) return;
    isSaving = true;
    // A checkpoint that fails is no failure of the copy: when the claim is lost for good, publishing finds out.
    saving = save(longer)
      .catch((error: unknown) => work.dependencies.log.debug({ error: String(error) }, 'a checkpoint was not saved'))
      .finally(() => {
        isSaving = false;
      });
  }

  beat();
  const timer = setInterval(beat, limits.heartbeatMs);
  return {
    async stop() {
      clearInterval(timer);
      await saving;
    },
  };
}

function pause(durationMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(end, durationMs);
    function end() {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    }
    signal.addEventListener('abort', end, { once: true });
  });
}

function cancelled(signal: AbortSignal): WaybillError {
  return new WaybillError('cancelled', 'cancelled', { operation: 'copying', cause: signal.reason });
}
