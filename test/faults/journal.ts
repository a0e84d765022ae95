import { appendFileSync, readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { limits } from '../../activities/transfer/context.ts';

/** What attempts at a batch do at their target, each in a process of its own, in the order in which it happens. */
type JournalLine = { attempt: number } & (
  | { event: 'sent' | 'acknowledged'; path: string; at: number; bytes: number }
  | { event: 'begun' | 'published'; id: string }
);

export function writeJournal(file: string, line: JournalLine): void {
  appendFileSync(file, `${JSON.stringify(line)}\n`);
}

export function readJournal(file: string): JournalLine[] {
  // The last line of a process that was killed may be half a line only before the next one begins to write.
  const lines = readFileSync(file, { encoding: 'utf8', flag: 'a+' }).split('\n').slice(0, -1);
  return lines.map((line) => JSON.parse(line));
}

/** Bytes from the start of a file that its target has acknowledged. */
export function acknowledgedBytes(journal: readonly JournalLine[], path: string): number {
  const pieces = journal.filter((line) => line.event === 'acknowledged' && line.path === path);
  let reached = 0;
  for (const piece of (pieces as Array<{ at: number; bytes: number }>).sort((one, other) => one.at - other.at))
    if (piece.at <= reached) reached = Math.max(reached, piece.at + piece.bytes);
  return reached;
}

/** A block, and what an attempt that is being replaced writes while the next one looks at how much there is. */
const slackBytes = 2 * 1024 * 1024;

/**
 * Work goes on from the last safe part: no attempt sends a byte of a file twice, or one that lies more than a window before
 * what the target had acknowledged when it began; and of a file that has been published nothing is sent, but for one write
 * of each process that stood still on its way to the server.
 * Gives how many attempts went on in the middle of a file.
 */
export function expectNoWorkLost(
  journal: readonly JournalLine[],
  files: ReadonlyMap<string, { id: string; size: number }>,
  stops: number,
): number {
  let resumed = 0;
  let late = 0;
  for (const [path, { id, size }] of files) {
    const sent = journal.flatMap((line, index) =>
      line.event === 'sent' && line.path === path ? [{ ...line, index }] : [],
    );
    const publishedAt = journal.findIndex((line) => line.event === 'published' && line.id === id);
    if (publishedAt >= 0) late += sent.filter(({ index }) => index > publishedAt).length;
    for (const attempt of new Set(sent.map((line) => line.attempt))) {
      const own = sent.filter((line) => line.attempt === attempt);
      const first = Math.min(...own.map(({ at }) => at));
      const bytes = own.reduce((sum, line) => sum + line.bytes, 0);
      expect(bytes, `${path}: attempt ${attempt} sent a byte twice`).toBeLessThanOrEqual(size - first);
      const begunAt = journal.findIndex((line) => line.event === 'begun' && line.id === id && line.attempt === attempt);
      const safe = acknowledgedBytes(journal.slice(0, begunAt), path) - limits.windowBytes - slackBytes;
      if (size > limits.resumableBytes)
        expect(first, `${path}: attempt ${attempt} sent what was there already`).toBeGreaterThanOrEqual(safe);
      if (first > 0) resumed++;
    }
  }
  expect(late, 'writes after the file was published').toBeLessThanOrEqual(stops);
  return resumed;
}
