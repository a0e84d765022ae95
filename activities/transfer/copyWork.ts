import type { Connector, EvidenceClass } from '../../connectors/contract.ts';
import type { DeliveryRow, TransferRow } from '../../prisma/ledger.ts';
import type { WaybillError } from '../../schema/errors.ts';
import type { EndpointSettings } from '../endpoints.ts';
import { type ActivityContext, type DurableStep, limits, type TransferDependencies } from './context.ts';
import type { EventWriter } from './events.ts';
import { createFence, type Fence } from './fence.ts';
import type { Gate } from './gate.ts';
import { type LedgerWriter, leaseLost } from './ledgerWriter.ts';
import type { TransferOptions } from './options.ts';
import type { Seat } from './sharedSource.ts';

export interface End {
  name: string;
  connector: Connector;
  settings: EndpointSettings;
}

/** One attempt at one batch: what its deliveries to one target share. */
export interface CopyWork {
  tenantId: string;
  pipeline: string;
  transfer: TransferRow;
  options: TransferOptions;
  source: End;
  target: End;
  /** Target file, or target folder (ends in /). */
  to: string;
  /** The source file has other targets too: what becomes of it is decided when all are done (`sourceFile.ts`). */
  isOneOfMany: boolean;
  ledger: LedgerWriter;
  events: EventWriter;
  dependencies: TransferDependencies;
  context: ActivityContext;
  /** What this attempt has done so far, for the heartbeat; `kept` are bytes that no earlier attempt had brought so far. */
  done: { files: number; bytes: number; kept: number };
  /** Files of this batch at the target at a time. */
  filesGate: Gate;
  /** And at the source; null: they have many targets, and are counted as one each (`copyFiles.ts`). */
  sourceFilesGate: Gate | null;
  /** A failure that is not about one file: nothing more is begun. */
  stop: WaybillError | null;
}

/** What the deliveries of a batch share whatever their target is. */
export type SharedWork = Omit<CopyWork, 'target' | 'to' | 'isOneOfMany' | 'filesGate' | 'sourceFilesGate' | 'stop'>;

/** A delivery under way. */
export interface Copy {
  row: DeliveryRow;
  /** This attempt holds the claim. */
  claimed: boolean;
  /** Bytes the target has acknowledged. */
  bytesDone: number;
  /** Aborts with the run, when the copy stands still, and when its claim is lost. */
  signal: AbortSignal;
  stop(reason: Error): void;
  /** Says that something has happened: the copy does not stand still. */
  moved(bytes?: number): void;
  movedAtMs: number;
  /** Waits for its turn or for memory: that is no standing still. */
  waiting: boolean;
  /** To be passed before each change at the target. */
  fence: Fence;
  /** The delivery of a run that died, whose claim and whose unfinished write are ours now. */
  heirOf: { id: string; attempt: number } | null;
  /** For people, in the row to the end: that it was sent anew, and why. */
  note: string | null;
  /** A place at the source. */
  sourceGate: Pick<Gate, 'enter'>;
  /** Where the source is read together with the copies to other targets. */
  seat: Seat | null;
  /** Found at the target: to be written down when it is known what becomes of the source. */
  skipped: Skipped | null;
}

export type Skipped = { duplicateOf: string } | { sha256: string; evidence: EvidenceClass };

export function startCopy(
  work: SharedWork,
  row: DeliveryRow,
  shared: Partial<Pick<Copy, 'sourceGate' | 'seat'>> = {},
): Copy {
  const { clock } = work.dependencies;
  const stopped = new AbortController();
  const copy: Copy = {
    row,
    claimed: false,
    bytesDone: 0,
    signal: AbortSignal.any([work.context.signal, stopped.signal]),
    stop: (reason) => stopped.abort(reason),
    moved(bytes = 0) {
      copy.bytesDone += bytes;
      copy.movedAtMs = clock.now().getTime();
    },
    movedAtMs: clock.now().getTime(),
    waiting: false,
    fence: createFence({
      leaseMs: work.dependencies.leaseMs ?? limits.leaseMs,
      renew: async () => {
        const { row, bytesDone } = copy;
        const lost = await work.ledger.checkpoint([{ ...row, bytesDone: Math.min(bytesDone, row.sourceSize) }]);
        if (lost.length > 0) copy.stop(leaseLost());
        return lost.length === 0;
      },
    }),
    heirOf: null,
    note: null,
    sourceGate: shared.sourceGate ?? work.source.settings.gate,
    seat: shared.seat ?? null,
    skipped: null,
  };
  return copy;
}

/** Notes that a step which outlives a crash has been taken. */
export async function stepTaken(work: SharedWork, copy: Copy, step: DurableStep): Promise<void> {
  copy.moved();
  await work.dependencies.observe?.(step, copy.row.id);
}

/** Waits for something that others hold. */
export async function awaitTurn<Result>(copy: Copy, turn: Promise<Result>): Promise<Result> {
  copy.waiting = true;
  try {
    return await turn;
  } finally {
    copy.waiting = false;
    copy.moved();
  }
}

/** Does a piece that talks to the source alone, such as its disposal. The target may have stopped by then. */
export async function atSource<Result>(copy: Copy, piece: () => Promise<Result>): Promise<Result> {
  const leave = await awaitTurn(copy, copy.sourceGate.enter(copy.signal));
  try {
    return await piece();
  } finally {
    leave();
  }
}

/**
 * Does a piece of a copy that talks to both endpoints, within their limits on files at a time. The ledger is written
 * outside of it: while one file waits for the database, others use the connection. Throws the batch's failure when it
 * has stopped meanwhile.
 */
export async function atEndpoints<Result>(work: CopyWork, copy: Copy, piece: () => Promise<Result>): Promise<Result> {
  const { source, target, sourceFilesGate, filesGate } = work;
  const { settings } = target;
  // In the order of the endpoints' names: two copies in opposite directions would otherwise wait for each other.
  const gates =
    source.name === target.name
      ? [settings.gate]
      : source.name < target.name
        ? [copy.sourceGate, settings.gate]
        : [settings.gate, copy.sourceGate];
  return within([...(sourceFilesGate === null ? [] : [sourceFilesGate]), filesGate, ...gates], work, copy, piece);
}

/**
 * The same for a piece that talks to the target alone, such as publishing: how many files the source gives at a time does
 * not narrow it. To S3 that is where small files travel.
 */
export async function atTarget<Result>(work: CopyWork, copy: Copy, piece: () => Promise<Result>): Promise<Result> {
  return within([work.filesGate, work.target.settings.gate], work, copy, piece);
}

async function within<Result>(
  gates: ReadonlyArray<Pick<Gate, 'enter'>>,
  work: CopyWork,
  copy: Copy,
  piece: () => Promise<Result>,
): Promise<Result> {
  const entered: Array<() => void> = [];
  try {
    for (const gate of gates) entered.push(await awaitTurn(copy, gate.enter(copy.signal)));
    if (work.stop !== null) throw work.stop;
    return await piece();
  } finally {
    for (const leave of entered) leave();
  }
}
