import { createHash } from 'node:crypto';
import type { Capabilities, Source } from '../../connectors/contract.ts';
import { WaybillError } from '../../schema/errors.ts';
import { limits } from './context.ts';
import { createGate } from './gate.ts';

/** How the bytes of one file travel: that many blocks of that size in flight. */
export interface Flow {
  blockBytes: number;
  blocks: number;
  readsInFlight: number;
  writesInFlight: number;
}

/** The flow between two connectors that suits a file of that size. Without a target it is only read. */
export function chooseFlow(size: number, source: Capabilities, target: Capabilities | null): Flow {
  const wanted = Math.min(source.blockBytes, target?.blockBytes ?? source.blockBytes);
  const blockBytes = Math.max(1, Math.min(size, wanted));
  const readsInFlight = Math.max(1, source.readsInFlight);
  const writesInFlight = Math.max(1, target?.writesInFlight ?? 1);
  const affordable = Math.max(2, Math.floor(limits.fileBufferBytes / blockBytes));
  const blocks = Math.min(
    readsInFlight + writesInFlight,
    limits.blocksInFlight,
    affordable,
    Math.max(1, Math.ceil(size / blockBytes)),
  );
  return { blockBytes, blocks, readsInFlight, writesInFlight };
}

/**
 * Reads `size` bytes of the source, hashes them in order and hands each block to `write`, over a ring of reused buffers.
 * Gives the SHA-256 in hexadecimal. Throws conflict when the source ends early; that it goes on is for the caller to see.
 * When it throws, nothing is pending any more: the buffers may be reused.
 */
export async function pump(
  source: Source,
  options: {
    size: number;
    flow: Flow;
    buffers: readonly Buffer[];
    write: ((bytes: Uint8Array, at: number, signal: AbortSignal) => Promise<void>) | null;
    /** Called with the bytes of each block that is done. */
    onBytes(bytes: number): void;
    signal: AbortSignal;
  },
): Promise<string> {
  const { size, flow, buffers, write, onBytes } = options;
  const hash = createHash('sha256');
  const failed = new AbortController();
  const signal = AbortSignal.any([options.signal, failed.signal]);
  const reading = createGate(flow.readsInFlight);
  const writing = createGate(flow.writesInFlight);
  const turn = createTurns();
  let nextBlock = 0;

  async function carry(buffer: Buffer): Promise<void> {
    for (;;) {
      const block = nextBlock++;
      const at = block * flow.blockBytes;
      if (at >= size) return;
      const bytes = buffer.subarray(0, Math.min(flow.blockBytes, size - at));
      const stopReading = await reading.enter(signal);
      try {
        const got = await source.read(bytes, at, signal);
        if (got !== bytes.length) throw endedEarly(at + got, size);
      } finally {
        stopReading();
      }
      await turn.of(block, signal);
      hash.update(bytes);
      turn.done(block);
      if (write !== null) {
        const stopWriting = await writing.enter(signal);
        try {
          await write(bytes, at, signal);
        } finally {
          stopWriting();
        }
      }
      onBytes(bytes.length);
    }
  }

  const carriers = buffers.slice(0, flow.blocks).map((buffer) =>
    carry(buffer).catch((error: unknown) => {
      failed.abort(error);
      throw error;
    }),
  );
  await Promise.allSettled(carriers);
  if (options.signal.aborted) throw options.signal.reason;
  if (failed.signal.aborted) throw failed.signal.reason;
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

function endedEarly(at: number, size: number): WaybillError {
  return new WaybillError(
    'conflict',
    `the file ends at byte ${at}, ${size} were expected: it changed while it was read`,
    {
      operation: 'reading',
    },
  );
}
