import { setTimeout as delay } from 'node:timers/promises';
import { WaybillError } from '../../schema/errors.ts';
import { formatBytes } from '../../schema/quantities.ts';
import type { ApiClient } from '../client.ts';
import type { Output } from '../output.ts';
import { printable } from '../output.ts';
import { hasEnded, holdOf, type RunView, readRun } from './run.ts';

const firstPollMs = 100;
const maxPollMs = 1_000;
/** An API that is started again is back within seconds; one that stays away is an error. */
const patienceMs = 30_000;
/** The rate is that of the last seconds, so that it follows a line that changes. */
const rateWindowMs = 5_000;

/**
 * Follows a run until it has ended, with a live line on a terminal. It asks again and again instead of holding a
 * subscription: a question survives a restart of the API without a gap. Throws unavailable when the server stays away.
 */
export async function watchRun(client: ApiClient, run: RunView, output: Output): Promise<RunView> {
  const rate = createRate();
  let current = run;
  let lastAnswerAt = Date.now();
  for (let pollMs = firstPollMs; !hasEnded(current.status); pollMs = Math.min(pollMs * 1.3, maxPollMs)) {
    output.live(progressLine(current, rate));
    await delay(pollMs);
    try {
      current = await readRun(client, run.id);
      lastAnswerAt = Date.now();
    } catch (error) {
      const passing = error instanceof WaybillError && error.kind === 'unavailable';
      if (!passing || Date.now() - lastAnswerAt > patienceMs) throw error;
    }
  }
  output.live(null);
  return current;
}

/** What a run came to, for people. */
export function describeRun(run: RunView, output: Output): void {
  const { colors } = output;
  const color = !hasEnded(run.status)
    ? colors.cyan
    : run.status === 'succeeded'
      ? colors.green
      : run.status === 'partial'
        ? colors.yellow
        : colors.red;
  const { files, bytes, skipped, failed } = run.counts;
  output.line(`${run.id}  ${run.pipeline}  ${color(run.status)}`);
  output.line(`  ${files} files, ${formatBytes(bytes)} sent, ${skipped} skipped, ${failed} failed`);
  const hold = holdOf(run);
  if (hold !== null) output.line(`  ${colors.yellow(printable(hold))}`);
  if (run.error !== null) {
    output.line(`  ${colors.red(run.error.kind)}: ${printable(run.error.message)}`);
    output.line(`  ${run.error.advice}`);
  }
  if (run.temporalUrl !== null) output.line(colors.dim(`  ${run.temporalUrl}`));
}

interface Rate {
  /** Bytes per second over the window, or null while too little is known. */
  after(bytesDone: number): number | null;
}

function createRate(): Rate {
  const samples: { at: number; bytes: number }[] = [];
  return {
    after(bytesDone) {
      const now = Date.now();
      samples.push({ at: now, bytes: bytesDone });
      while (samples.length > 2 && samples[0]!.at < now - rateWindowMs) samples.shift();
      const { at, bytes } = samples[0]!;
      return now - at < 500 ? null : ((bytesDone - bytes) * 1000) / (now - at);
    },
  };
}

function progressLine(run: RunView, rate: Rate): string {
  const { filesDone, filesPlanned, bytesDone, bytesPlanned, filesFailed, retries } = run.progress;
  const bytesPerSecond = rate.after(bytesDone);
  const parts = [
    printable(holdOf(run) ?? run.status),
    `${filesDone}/${filesPlanned} files`,
    `${formatBytes(bytesDone)} of ${formatBytes(bytesPlanned)}`,
  ];
  if (bytesPerSecond !== null && bytesPerSecond > 0) {
    parts.push(
      `${formatBytes(Math.round(bytesPerSecond))}/s`,
      `ETA ${formatSeconds((bytesPlanned - bytesDone) / bytesPerSecond)}`,
    );
  }
  if (filesFailed > 0) parts.push(`${filesFailed} failed`);
  if (retries > 0) parts.push(`${retries} retries`);
  return `${run.pipeline}  ${parts.join('  ')}`;
}

function formatSeconds(seconds: number): string {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.ceil(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.ceil((seconds % 3600) / 60)} min`;
}
