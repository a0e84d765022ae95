import type { Connector } from '../../connectors/contract.ts';
import type { DeliveryRow, TransferRow } from '../../prisma/ledger.ts';
import type { EndpointSettings } from '../endpoints.ts';
import type { ActivityContext, DurableStep, TransferDependencies } from './context.ts';
import type { EventWriter } from './events.ts';
import type { LedgerWriter } from './ledgerWriter.ts';
import type { TransferOptions } from './options.ts';

export interface End {
  name: string;
  connector: Connector;
  settings: EndpointSettings;
}

/** One attempt at one batch: what its deliveries share. */
export interface CopyWork {
  tenantId: string;
  pipeline: string;
  transfer: TransferRow;
  options: TransferOptions;
  source: End;
  target: End;
  ledger: LedgerWriter;
  events: EventWriter;
  dependencies: TransferDependencies;
  context: ActivityContext;
  /** What this attempt has done so far, for the heartbeat. */
  done: { files: number; bytes: number };
}

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
}

export function startCopy(work: CopyWork, row: DeliveryRow): Copy {
  const stopped = new AbortController();
  const copy: Copy = {
    row,
    claimed: false,
    bytesDone: 0,
    signal: AbortSignal.any([work.context.signal, stopped.signal]),
    stop: (reason) => stopped.abort(reason),
    moved(bytes = 0) {
      copy.bytesDone += bytes;
      copy.movedAtMs = Date.now();
    },
    movedAtMs: Date.now(),
  };
  return copy;
}

/** Notes that a step which outlives a crash has been taken. */
export async function stepTaken(work: CopyWork, copy: Copy, step: DurableStep): Promise<void> {
  copy.moved();
  await work.dependencies.observe?.(step, copy.row.id);
}
