import type { NewEvent } from '../../audit/record.ts';
import type { BeginOptions, Sink, SinkToken } from '../../connectors/contract.ts';
import type { DeliveryRow } from '../../prisma/ledger.ts';
import { asWaybillError, type ErrorKind } from '../../schema/errors.ts';
import { limits } from './context.ts';
import { type Copy, type CopyWork, stepTaken } from './copyWork.ts';
import type { Flow } from './pump.ts';

/**
 * Begins to write, or takes up what an earlier attempt of the delivery has left (`Sink.received` says how much). The token
 * of a write that can be taken up is in the ledger before its first byte is sent. `opened` gets the sink as soon as it is
 * there, also when a later step throws. Throws what `begin` throws.
 */
export async function beginOrTakeUp(
  work: CopyWork,
  copy: Copy,
  { path, flow, why = null }: { path: string; flow: Flow; why?: string | null },
  opened: (sink: Sink) => void,
): Promise<Sink> {
  const { row, signal } = copy;
  const { connector } = work.target;
  const left = row.sinkToken;
  const mayTakeUp = left !== null && connector.capabilities.resume;
  await copy.fence.pass();
  const options: BeginOptions = {
    size: row.sourceSize,
    // The attempt is in the name: an earlier one that still lives writes into its own file, never into this one.
    deliveryId: `${row.id}-${row.attempt}`,
    replace: work.options.onConflict === 'overwrite',
    modified: row.sourceModified,
    ...(mayTakeUp && { resume: left, windowBytes: flow.windowBytes }),
  };
  const sink = await connector.begin(path, options, signal);
  opened(sink);
  await stepTaken(work, copy, 'begun');
  if (mayTakeUp && isSameToken(sink.token, left)) {
    work.dependencies.log.info(
      { deliveryId: row.id, path: row.sourcePath, bytes: row.sourceSize, received: sink.received },
      'a copy goes on from what its target has',
    );
    return sink;
  }
  await removeEarlier(work, copy, sink.temporaryPath);
  if (left !== null && !mayTakeUp) await discardQuietly(work, left, signal);
  await writeToken(work, copy, { sink, flow, why: left === null ? why : goneAtTarget });
  return sink;
}

const goneAtTarget = 'what an earlier attempt had sent is no longer at the target';

/** Begins again from the first byte, since what the target kept is of no use. */
export async function beginAnew(
  work: CopyWork,
  copy: Copy,
  place: { path: string; flow: Flow; why: string },
  kept: Sink,
  opened: (sink: Sink) => void,
): Promise<Sink> {
  await kept.abort();
  copy.row = { ...copy.row, sinkToken: null };
  return beginOrTakeUp(work, copy, place, opened);
}

/** Nothing for a small file: to send it again is cheaper than to write that down. */
async function writeToken(
  work: CopyWork,
  copy: Copy,
  { sink, flow, why }: { sink: Sink; flow: Flow; why: string | null },
): Promise<void> {
  const { row } = copy;
  const { capabilities } = work.target.connector;
  const inOneWrite = capabilities.parts !== null && flow.blockBytes >= row.sourceSize;
  const canBeTakenUp = capabilities.resume && row.sourceSize > limits.resumableBytes && !inOneWrite;
  if (!canBeTakenUp && why === null) return;
  const sinkToken = canBeTakenUp ? sink.token : null;
  if (why !== null) {
    copy.note = restartNote(why);
    work.dependencies.log.warn({ deliveryId: row.id, path: row.sourcePath }, copy.note);
  }
  await work.ledger.write({
    delivery: row,
    change: { state: row.state, sinkToken, bytesDone: 0, error: asNote(copy) },
    claim: 'extend',
    events: why === null ? [] : [restarted(work, row, why)],
  });
  copy.row = { ...row, sinkToken, bytesDone: 0 };
  await stepTaken(work, copy, 'token');
}

const restartNote = (why: string) => `sent again from its first byte: ${why}`;

/** What the row says for people when nothing is wrong. */
export const asNote = ({ note }: Copy) => (note === null ? null : { kind: null, message: note });

/**
 * The source is not what the unfinished write is of: its bytes are removed. The event goes with the change of the row.
 */
export async function spoil(work: CopyWork, copy: Copy, token: SinkToken, why: string): Promise<NewEvent> {
  await discardQuietly(work, token, copy.signal);
  copy.note = restartNote(why);
  work.dependencies.log.warn({ deliveryId: copy.row.id, path: copy.row.sourcePath }, copy.note);
  return restarted(work, copy.row, why);
}

/** One for each attempt that begins again. */
function restarted(work: CopyWork, row: DeliveryRow, reason: string): NewEvent {
  const event = work.events.delivery('delivery.restarted', row, {
    source: { endpoint: work.source.name, path: row.sourcePath },
    target: { endpoint: work.target.name, path: row.targetPath },
    attempt: row.attempt,
    reason,
  });
  return { ...event, dedupeKey: `${event.dedupeKey}/${row.attempt}` };
}

/** Removes what killed attempts at this delivery left beside the target, and those of the one that it is the heir of. */
async function removeEarlier(work: CopyWork, copy: Copy, temporaryPath: string | null): Promise<void> {
  const { row, heirOf, signal } = copy;
  const ending = `${row.id}-${row.attempt}.part`;
  if (!temporaryPath?.endsWith(ending)) return;
  const earlier = [...attemptsOf(row.id, row.attempt - 1), ...(heirOf ? attemptsOf(heirOf.id, heirOf.attempt) : [])];
  for (const name of earlier)
    await work.target.connector.remove(`${temporaryPath.slice(0, -ending.length)}${name}.part`, signal);
}

function attemptsOf(deliveryId: string, last: number): string[] {
  const first = Math.max(1, last - limits.earlierAttempts + 1);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => `${deliveryId}-${first + index}`);
}

/**
 * Lets go of a write that failed. What can be taken up stays: for another attempt, or for who has taken over; else it is
 * removed. A dead connection must not hold up the end of the attempt: what stays is removed by the next one, or swept.
 */
export async function letGo(work: CopyWork, copy: Copy, sink: Sink, thrown: unknown): Promise<void> {
  const keep = copy.row.sinkToken !== null && isWorthKeeping(copy.signal.aborted ? copy.signal.reason : thrown);
  let timer: NodeJS.Timeout | undefined;
  const patience = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, limits.abortWaitMs);
  });
  try {
    await Promise.race([keep ? sink.leave() : sink.abort(), patience]);
  } catch (error) {
    work.dependencies.log.warn(
      { endpoint: work.target.name, path: sink.temporaryPath, error: String(error) },
      'a temporary file could not be removed',
    );
  } finally {
    clearTimeout(timer);
  }
}

/** After these the bytes at the target are of no use, or take room that somebody needs. */
const spoiling: readonly ErrorKind[] = [
  'conflict',
  'integrity',
  'exists',
  'not-found',
  'forbidden',
  'invalid',
  'unsupported',
  'disk-full',
  'quota',
];

function isWorthKeeping(thrown: unknown): boolean {
  const { kind, context } = asWaybillError(thrown);
  return context.leaseLost === true || !spoiling.includes(kind);
}

/** Removes what an unfinished write left. What cannot be removed now is left to the end of the transfer, and to the sweep. */
export async function discardQuietly(work: CopyWork, token: SinkToken, signal: AbortSignal): Promise<void> {
  try {
    await work.target.connector.discard?.(token, signal);
  } catch (error) {
    work.dependencies.log.warn(
      { endpoint: work.target.name, error: String(error) },
      'an unfinished write could not be removed from the target',
    );
  }
}

/** The token as it comes back from the ledger, whose JSON knows no order of fields. */
function isSameToken(one: SinkToken, other: SinkToken): boolean {
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => one[name] === other[name]);
}
