import type { DeliveryRow } from '../../prisma/ledger.ts';
import { asWaybillError, WaybillError } from '../../schema/errors.ts';
import { mayRetry, tellFailure } from '../failure.ts';
import type { Branch } from './branches.ts';
import { limits } from './context.ts';
import type { Copy, SharedWork } from './copyWork.ts';
import { discardQuietly } from './unfinished.ts';

/** Writes down how a file failed. When the ledger cannot be reached, that is the failure, and its next attempt finds out. */
export async function fail(
  work: SharedWork,
  copy: Copy,
  branch: Branch,
  branches: readonly Branch[],
  thrown: unknown,
): Promise<void> {
  const error = asWaybillError(copy.signal.aborted && !work.context.signal.aborted ? copy.signal.reason : thrown);
  if (error.context.leaseLost === true) {
    branch.postponed ??= error;
    return;
  }
  if (work.context.signal.aborted) return quietly(work, () => writeHandedOver(copy, work));
  const wide = error.scope === 'connection' || error.scope === 'endpoint';
  const again = wide || mayRetry(error, work.context.terms.retry, work.context.attempt);
  if (wide && branch.work !== null) stopWhere(error, branch, branches);
  else if (again) branch.postponed ??= error;
  await quietly(
    work,
    () => (again ? writePostponed(copy, work, error) : writeFailed(copy, branch, work, error)),
    (cause) => {
      if (branch.work === null) branch.postponed ??= asWaybillError(cause);
      else branch.work.stop ??= asWaybillError(cause);
    },
  );
}

/** What is wrong with the source, or with an endpoint that is the target of several, stops all of them. */
function stopWhere(error: WaybillError, branch: Branch, branches: readonly Branch[]): void {
  const { endpoint } = error.context;
  for (const other of branches) {
    const isMeant = endpoint === other.work?.source.name || endpoint === other.target.endpoint;
    if (other.work !== null && (other === branch || isMeant)) other.work.stop ??= error;
  }
}

function endpointOf({ context }: WaybillError): string | null {
  return typeof context.endpoint === 'string' ? context.endpoint : null;
}

async function quietly(
  work: SharedWork,
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
async function writeHandedOver(copy: Copy, { ledger }: SharedWork): Promise<void> {
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
async function writePostponed(copy: Copy, { ledger }: SharedWork, error: WaybillError): Promise<void> {
  const state = copy.row.state === 'published' || copy.row.state === 'verified' ? copy.row.state : 'planned';
  const claim = !copy.claimed ? 'none' : state === 'verified' ? 'extend' : 'release';
  const message = tellFailure(error, limits.errorMessageLength);
  await ledger.write({
    delivery: copy.row,
    change: { state, error: { kind: error.kind, message, endpoint: endpointOf(error) } },
    claim,
  });
  copy.claimed = claim === 'extend';
}

/** For good. A delivered file whose source could not be disposed of stays `published`, and says why. */
async function writeFailed(copy: Copy, branch: Branch, work: SharedWork, error: WaybillError): Promise<void> {
  const { row } = copy;
  if (row.sinkToken !== null && branch.work !== null)
    await discardQuietly(branch.work, row.sinkToken, AbortSignal.timeout(limits.discardMs));
  const state = await writeGivenUp(work, branch.target.endpoint, row, error, copy.claimed ? 'release' : 'none');
  copy.row = { ...row, state };
  copy.claimed = false;
}

/** What its unfinished write has left at the target is removed at the end of the transfer. Gives the state. */
export async function writeGivenUp(
  { ledger, events, source }: SharedWork,
  targetEndpoint: string,
  row: DeliveryRow,
  error: WaybillError,
  claim: 'release' | 'none',
): Promise<'published' | 'failed'> {
  const message = tellFailure(error, limits.errorMessageLength);
  const state = row.state === 'published' ? 'published' : 'failed';
  await ledger.write({
    delivery: row,
    change: {
      state,
      error: { kind: error.kind, message, endpoint: endpointOf(error) },
    },
    claim,
    events: [
      events.delivery('delivery.failed', row, {
        source: { endpoint: source.name, path: row.sourcePath },
        target: { endpoint: targetEndpoint, path: row.targetPath },
        delivered: row.state === 'published',
        kind: error.kind,
        message,
      }),
    ],
  });
  return state;
}
