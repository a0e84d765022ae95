import type { Source } from '../../connectors/contract.ts';
import type { Buffers } from './buffers.ts';
import { limits } from './context.ts';
import { createGate, unlessAborted } from './gate.ts';

/** Readers of one open file, by number. */
export interface SharedReads {
  /** That reader begins. Until then the others keep for it what they can, and have little patience. */
  arrive(reader: number): void;
  leave(reader: number): void;
  /** As `Source.read`, from the beginning of the file on. Nothing is written to `bytes` once it has settled. */
  read(reader: number, bytes: Uint8Array, at: number, signal: AbortSignal): Promise<number>;
  /** Settles when no read is under way; `signal` has aborted before. */
  end(): Promise<void>;
}

interface Reader {
  state: 'expected' | 'reading' | 'alone' | 'gone';
  /** The first block that it has not begun. */
  front: number;
  /** Blocks that it has begun, and waits to get. */
  wants: Set<number>;
  waitedMs: number;
}

interface Block {
  bytes: Uint8Array;
  /** Its memory, for the next one. */
  buffer: Buffer;
  /** Who has not got it yet, and how many bytes of it they lack. */
  lacking: Map<Reader, number>;
  isLoading: boolean;
  /** How many bytes of it the file has. */
  loaded: Promise<number>;
}

/**
 * What one of them has read is kept until the others have read it too, in a window of so much memory. Who is further ahead
 * than that waits for the slowest, in sum no longer than `limits.sharedWaitMs`; then the slowest reads for himself. When no
 * memory is free at the beginning each does. A read that fails fails for those who wait for it; one who goes away takes
 * nothing from the others: the file is read on with `signal`.
 */
export function createSharedReads(
  source: Source,
  options: {
    readers: number;
    blockBytes: number;
    readsInFlight: number;
    buffers: Pick<Buffers, 'reserveNow'>;
    signal: AbortSignal;
  },
): SharedReads {
  const { size } = source;
  const blockBytes = Math.max(1, Math.min(size, options.blockBytes, limits.sharedWindowBytes));
  const blocks = Math.min(Math.ceil(size / blockBytes), Math.floor(limits.sharedWindowBytes / blockBytes));
  const window = blocks === 0 ? null : options.buffers.reserveNow(blocks, blockBytes);
  const free = [...(window?.buffers ?? [])];
  const readers = Array.from(
    { length: options.readers },
    (): Reader => ({ state: 'expected', front: 0, wants: new Set(), waitedMs: 0 }),
  );
  const kept = new Map<number, Block>();
  const pending = new Set<Promise<unknown>>();
  const reading = createGate(Math.max(1, options.readsInFlight));
  let waiting: Array<() => void> = [];

  async function readFile(bytes: Uint8Array, at: number, signal: AbortSignal): Promise<number> {
    const stop = await reading.enter(signal);
    try {
      return await source.read(bytes, at, signal);
    } finally {
      stop();
    }
  }

  /** Gives null when the reader has to read the block for himself. */
  async function blockFor(reader: Reader, index: number, signal: AbortSignal): Promise<Block | null> {
    for (;;) {
      const there = kept.get(index);
      if (there !== undefined) return there.lacking.has(reader) ? there : null;
      const wanting = readers.filter((other) => other === reader || isToRead(other, index));
      if (window === null || wanting.length < 2 || reader.state !== 'reading') return null;
      const buffer = free.pop();
      if (buffer !== undefined) return keep(index, buffer, wanting);
      await roomFor(reader, signal);
    }
  }

  const isToRead = ({ state, front, wants }: Reader, index: number) =>
    (state === 'expected' || state === 'reading') && (front <= index || wants.has(index));

  function keep(index: number, buffer: Buffer, wanting: readonly Reader[]): Block {
    const at = index * blockBytes;
    const bytes = buffer.subarray(0, Math.min(blockBytes, size - at));
    const lacking = new Map(wanting.map((reader) => [reader, bytes.length]));
    const loaded = readFile(bytes, at, options.signal);
    const block: Block = { bytes, buffer, lacking, isLoading: true, loaded };
    kept.set(index, block);
    const ended = loaded.then(
      () => undefined,
      // Who comes later tries again.
      () => block.lacking.clear(),
    );
    const settled = ended.then(() => {
      block.isLoading = false;
      pending.delete(settled);
      dropUnwanted(index, block);
      wake();
    });
    pending.add(settled);
    return block;
  }

  function dropUnwanted(index: number, block: Block): void {
    if (block.lacking.size > 0 || block.isLoading || kept.get(index) !== block) return;
    kept.delete(index);
    free.push(block.buffer);
    wake();
  }

  function wake(): void {
    const woken = waiting;
    waiting = [];
    for (const goOn of woken) goOn();
  }

  /** Waits until something changes. When others let it wait for too long, the slowest of them reads for himself from now on. */
  async function roomFor(reader: Reader, signal: AbortSignal): Promise<void> {
    // What is still being read keeps everybody waiting: that is nobody's slowness.
    const slow = [...kept.values()].flatMap(({ isLoading, lacking }) => (isLoading ? [] : [...lacking.keys()]));
    const others = slow.filter((other) => other !== reader);
    if (others.length === 0) return void (await change(signal, null));
    const patienceMs = others.some(({ state }) => state === 'reading') ? limits.sharedWaitMs : limits.sharedStartMs;
    const sinceMs = performance.now();
    const hasChanged = await change(signal, Math.max(0, patienceMs - reader.waitedMs));
    reader.waitedMs += performance.now() - sinceMs;
    if (!hasChanged)
      part(
        others.reduce((one, other) => (other.front < one.front ? other : one)),
        'alone',
      );
  }

  /** Gives whether anything has changed in that time. Throws the signal's reason. */
  function change(signal: AbortSignal, withinMs: number | null): Promise<boolean> {
    signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      const timer = withinMs === null ? undefined : setTimeout(() => end(() => resolve(false)), withinMs);
      const goOn = () => end(() => resolve(true));
      const abort = () => end(() => reject(signal.reason));
      function end(settle: () => void) {
        clearTimeout(timer);
        signal.removeEventListener('abort', abort);
        waiting = waiting.filter((other) => other !== goOn);
        settle();
      }
      signal.addEventListener('abort', abort, { once: true });
      waiting.push(goOn);
    });
  }

  /** Nothing is kept for that reader any more. */
  function part(reader: Reader, state: 'alone' | 'gone'): void {
    reader.state = state;
    for (const [index, block] of [...kept]) {
      block.lacking.delete(reader);
      dropUnwanted(index, block);
    }
    wake();
  }

  async function readPiece(reader: Reader, { index, bytes, at }: Piece, signal: AbortSignal): Promise<number> {
    reader.wants.add(index);
    const block = await blockFor(reader, index, signal).finally(() => reader.wants.delete(index));
    if (block === null) return readFile(bytes, at, signal);
    const got = await unlessAborted(block.loaded, signal);
    // It may have been given up meanwhile, and its memory used for another one.
    const lacks = block.lacking.get(reader);
    if (lacks === undefined) return readFile(bytes, at, signal);
    const start = at - index * blockBytes;
    const count = Math.max(0, Math.min(bytes.length, got - start));
    bytes.set(block.bytes.subarray(start, start + count));
    if (lacks > bytes.length) block.lacking.set(reader, lacks - bytes.length);
    else {
      block.lacking.delete(reader);
      dropUnwanted(index, block);
    }
    return count;
  }

  return {
    arrive(number) {
      const reader = readers[number]!;
      if (reader.state === 'expected') reader.state = 'reading';
    },
    leave: (number) => part(readers[number]!, 'gone'),
    async read(number, bytes, at, signal) {
      if (at >= size) return readFile(bytes, at, signal);
      const reader = readers[number]!;
      const pieces = piecesOf(bytes, at, blockBytes);
      const reads = pieces.map((piece) => readPiece(reader, piece, signal));
      reader.front = Math.max(reader.front, Math.min(Math.ceil(size / blockBytes), pieces.at(-1)!.index + 1));
      const failed = (await Promise.allSettled(reads)).find((read) => read.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
      const counts = await Promise.all(reads);
      const short = counts.findIndex((count, piece) => count < pieces[piece]!.bytes.length);
      return short < 0 ? bytes.length : pieces[short]!.at - at + counts[short]!;
    },
    async end() {
      await Promise.all(pending);
      window?.release();
    },
  };
}

interface Piece {
  /** of the block that it lies in */
  index: number;
  bytes: Uint8Array;
  at: number;
}

function piecesOf(bytes: Uint8Array, at: number, blockBytes: number): Piece[] {
  const pieces: Piece[] = [];
  for (let done = 0; done < bytes.length; ) {
    const index = Math.floor((at + done) / blockBytes);
    const length = Math.min(bytes.length - done, (index + 1) * blockBytes - (at + done));
    pieces.push({ index, bytes: bytes.subarray(done, done + length), at: at + done });
    done += length;
  }
  return pieces;
}
