import { createHash } from 'node:crypto';
import type { Capabilities, Source } from '../../connectors/contract.ts';
import { WaybillError } from '../../schema/errors.ts';
import { bufferBytes } from './buffers.ts';
import { limits } from './context.ts';
import { createGate } from './gate.ts';

/** How the bytes of one file travel: that many blocks of that size in flight. */
export interface Flow {
  blockBytes: number;
  blocks: number;
  readsInFlight: number;
  writesInFlight: number;
  /** No write begins further than this beyond the first byte that the target has not acknowledged. */
  windowBytes: number;
}

/** The flow between two connectors that suits a file of that size. Without a target it is only read. */
export function chooseFlow(size: number, source: Capabilities, target: Capabilities | null): Flow {
  const parts = target?.parts ?? null;
  const wanted =
    parts === null
      ? blockOfBoth(source.blockBytes, target?.blockBytes ?? source.blockBytes)
      : Math.max(parts.bytes, Math.ceil(size / parts.most));
  const blockBytes = Math.max(1, Math.min(size, wanted));
  const readsInFlight = Math.max(1, source.readsInFlight);
  const writesInFlight = Math.max(1, target?.writesInFlight ?? 1);
  const memory = parts === null ? bufferOf(blockBytes) : limits.partBufferBytes;
  const blocks = Math.min(
    readsInFlight + writesInFlight,
    limits.blocksInFlight,
    Math.max(1, Math.floor(memory / bufferBytes(blockBytes))),
    Math.max(1, Math.ceil(size / blockBytes)),
  );
  const windowBytes = parts === null ? limits.windowBytes : limits.partWindowBytes;
  return { blockBytes, blocks, readsInFlight, writesInFlight, windowBytes };
}

/** Large blocks get more, so that as many of them are in flight as the source takes requests. */
function bufferOf(blockBytes: number): number {
  return blockBytes > limits.largeBlockBytes ? limits.largeBlocksBufferBytes : limits.fileBufferBytes;
}

/** The larger of both, for fewer turns, as far as whole pieces of the smaller fit: who prefers that one takes several. */
function blockOfBoth(one: number, other: number): number {
  const piece = Math.min(one, other);
  return Math.floor(Math.max(one, other) / piece) * piece;
}

export interface PumpOptions {
  size: number;
  flow: Flow;
  buffers: readonly Buffer[];
  /**
   * Bytes that the target has already. The blocks that lie wholly below are read and hashed, shown to `holds`, and not
   * written.
   */
  from?: number;
  holds?: ((bytes: Uint8Array, at: number, signal: AbortSignal) => Promise<boolean>) | undefined;
  write: ((bytes: Uint8Array, at: number, signal: AbortSignal) => Promise<void>) | null;
  /** Called with the bytes of each block that is done; they were sent, or were there already. */
  onBytes(bytes: number, sent: boolean): void;
  signal: AbortSignal;
  /** When `signal` aborts, writes under way get so long to be acknowledged; without it they are given up at once. */
  drainMs?: number;
}

/**
 * Reads `size` bytes of the source, hashes them in order and hands each block to `write`, over a ring of reused buffers.
 * Gives the SHA-256 in hexadecimal. Throws conflict when the source ends early, or (with `keptDiffers`) when what the
 * target has is not what the source has; that the source goes on is for the caller to see.
 * When it throws, nothing is pending any more: the buffers may be reused.
 */
export async function pump(source: Source, options: PumpOptions): Promise<string> {
  if (options.flow.blocks === 1) return pumpInOrder(source, options);
  const { size, flow, buffers, from = 0, holds, write, onBytes } = options;
  const hash = createHash('sha256');
  const failed = new AbortController();
  const signal = AbortSignal.any([options.signal, failed.signal]);
  const drain = drainOf(options.signal, options.drainMs ?? 0);
  const writeSignal = AbortSignal.any([drain.signal, failed.signal]);
  const reading = createGate(flow.readsInFlight);
  const writing = createGate(flow.writesInFlight);
  const turn = createTurns();
  const window = createWindow(flow.windowBytes);
  let nextBlock = 0;

  async function fill(bytes: Buffer, at: number): Promise<void> {
    const stopReading = await reading.enter(signal);
    try {
      const got = await source.read(bytes, at, signal);
      if (got !== bytes.length) throw endedEarly(at + got, size);
    } finally {
      stopReading();
    }
  }

  async function put(bytes: Buffer, at: number): Promise<void> {
    await window.admit(at, bytes.length, signal);
    const stopWriting = await writing.enter(signal);
    try {
      await write!(bytes, at, writeSignal);
    } finally {
      stopWriting();
    }
    window.done(at);
  }

  async function carry(buffer: Buffer): Promise<void> {
    for (;;) {
      const block = nextBlock++;
      const at = block * flow.blockBytes;
      if (at >= size) return;
      const bytes = buffer.subarray(0, Math.min(flow.blockBytes, size - at));
      const isThere = at + bytes.length <= from;
      if (!isThere && write !== null) window.begin(at);
      await fill(bytes, at);
      await turn.of(block, signal);
      hash.update(bytes);
      turn.done(block);
      if (isThere) {
        if (holds !== undefined && !(await holds(bytes, at, signal))) throw keptDiffers(at);
      } else if (write !== null) await put(bytes, at);
      onBytes(bytes.length, !isThere);
    }
  }

  const carriers = buffers.slice(0, flow.blocks).map((buffer) =>
    carry(buffer).catch((error: unknown) => {
      // A cancellation must not cut short the writes that are given time to be acknowledged.
      if (!options.signal.aborted) failed.abort(error);
      throw error;
    }),
  );
  await Promise.allSettled(carriers);
  drain.end();
  if (options.signal.aborted) throw options.signal.reason;
  if (failed.signal.aborted) throw failed.signal.reason;
  return hash.digest('hex');
}

/** One block after the other, as most files have only one: nothing is to be put in order, and nothing else to be stopped. */
async function pumpInOrder(source: Source, options: PumpOptions): Promise<string> {
  const { size, flow, buffers, from = 0, holds, write, onBytes, signal } = options;
  const hash = createHash('sha256');
  const drain = drainOf(signal, options.drainMs ?? 0);
  try {
    for (let at = 0; at < size; at += flow.blockBytes) {
      signal.throwIfAborted();
      const bytes = buffers[0]!.subarray(0, Math.min(flow.blockBytes, size - at));
      const got = await source.read(bytes, at, signal);
      if (got !== bytes.length) throw endedEarly(at + got, size);
      hash.update(bytes);
      const isThere = at + bytes.length <= from;
      if (isThere) {
        if (holds !== undefined && !(await holds(bytes, at, signal))) throw keptDiffers(at);
      } else if (write !== null) {
        signal.throwIfAborted();
        await write(bytes, at, drain.signal);
      }
      onBytes(bytes.length, !isThere);
    }
  } catch (error) {
    // Whatever a piece of work says that was told to stop.
    throw signal.aborted ? signal.reason : error;
  } finally {
    drain.end();
  }
  signal.throwIfAborted();
  return hash.digest('hex');
}

/** Blocks are read side by side, and hashed one after the other. */
function createTurns() {
  const arrived = new Map<number, () => void>();
  let current = 0;
  return {
    of(block: number, signal: AbortSignal): Promise<void> | undefined {
      if (block === current) return undefined;
      signal.throwIfAborted();
      return new Promise((resolve, reject) => {
        const abort = () => reject(signal.reason);
        signal.addEventListener('abort', abort, { once: true });
        arrived.set(block, () => {
          signal.removeEventListener('abort', abort);
          resolve();
        });
      });
    },
    done(block: number) {
      current = block + 1;
      const next = arrived.get(current);
      arrived.delete(current);
      next?.();
    },
  };
}

/**
 * Keeps writes together: what a killed writer leaves in doubt lies within one window, since the block that is furthest
 * ahead is no further than that from the first one that is not acknowledged.
 */
function createWindow(windowBytes: number) {
  /** Where blocks begin that are read or written, in the order in which they were begun: that of the file. */
  const pending = new Set<number>();
  let waiting: Array<{ at: number; end: number; admitted(): void }> = [];

  const first = () => pending.values().next().value ?? Number.POSITIVE_INFINITY;
  const fits = (at: number, end: number) => at <= first() || end - first() <= windowBytes;
  return {
    begin: (at: number) => void pending.add(at),
    /** Waits until the block may be written. */
    admit(at: number, length: number, signal: AbortSignal): Promise<void> | undefined {
      const end = at + length;
      if (fits(at, end)) return undefined;
      signal.throwIfAborted();
      return new Promise((resolve, reject) => {
        const giveUp = () => reject(signal.reason);
        signal.addEventListener('abort', giveUp, { once: true });
        const admitted = () => {
          signal.removeEventListener('abort', giveUp);
          resolve();
        };
        waiting.push({ at, end, admitted });
      });
    },
    done(at: number) {
      pending.delete(at);
      if (waiting.length === 0) return;
      const asked = waiting;
      waiting = [];
      for (const block of asked) {
        if (fits(block.at, block.end)) block.admitted();
        else waiting.push(block);
      }
    },
  };
}

/** A signal that aborts so long after another one. */
function drainOf(signal: AbortSignal, afterMs: number): { signal: AbortSignal; end(): void } {
  if (afterMs === 0) return { signal, end: () => undefined };
  const late = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const start = () => {
    timer = setTimeout(() => late.abort(signal.reason), afterMs);
  };
  if (signal.aborted) start();
  else signal.addEventListener('abort', start, { once: true });
  return {
    signal: late.signal,
    end() {
      clearTimeout(timer);
      signal.removeEventListener('abort', start);
    },
  };
}

function keptDiffers(at: number): WaybillError {
  return new WaybillError('conflict', `what the target kept differs from the source after byte ${at}`, {
    operation: 'resuming',
    keptDiffers: true,
  });
}

function endedEarly(at: number, size: number): WaybillError {
  return new WaybillError(
    'conflict',
    `the file ends at byte ${at}, ${size} were expected: it changed while it was read`,
    {
      operation: 'reading',
    },
  );
}
