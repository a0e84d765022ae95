import { limits } from './context.ts';

/**
 * Deals files out to batches, each the work of one activity: many small files go together, up to a number and a sum of
 * bytes; a large one goes alone, so that its failure repeats nothing else. Each file counts once for each of its targets.
 */
export function createBatches(targets = 1): { place(size: number): number; count(): number } {
  let count = 0;
  let current: { batch: number; files: number; bytes: number } | null = null;
  return {
    place(size) {
      if (size > limits.aloneBytes) return count++;
      const isFull =
        current !== null && (current.files >= limits.batchFiles || current.bytes + size * targets > limits.batchBytes);
      if (current === null || isFull) current = { batch: count++, files: 0, bytes: 0 };
      current.files += targets;
      current.bytes += size * targets;
      return current.batch;
    },
    count: () => count,
  };
}
