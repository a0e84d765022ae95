/**
 * One attempt at a batch in a process of its own: `node test/transfer/copyProcess.ts JSON`, see `CopyOptions`. It kills
 * itself where it is told to, hands over on SIGTERM, and says at its end on stdout `{"answer"}` or `{"error"}`.
 */
import { appendFileSync, writeSync } from 'node:fs';
import type { LeaseTimes } from '../../activities/limits/allowance.ts';
import { openStore } from '../../prisma/store.ts';
import { asWaybillError } from '../../schema/errors.ts';
import { attemptOf, openEngine, patient } from './world.ts';

export interface CopyOptions {
  applicationUrl: string;
  batch: { tenantId: string; runId: string; transferId: string; batch: number };
  attempt: number;
  /** Kills itself with SIGKILL after this durable step. */
  killAfter?: string;
  /**
   * Each of these deliveries stands still after so many of its durable steps. When all of them do, and one that is not
   * named has come to its last step, the process says at which they stand (`{"stands":{id:step}}`) and kills itself.
   */
  standAfter?: { steps: Record<string, number>; last: string };
  leaseMs?: number;
  /** How the limits of endpoints are leased. */
  limitTimes?: LeaseTimes;
  /** Sends itself that signal once the target has acknowledged so many bytes; says `{"signals":...}` before. */
  signalAfter?: { bytes: number; signal: 'SIGKILL' | 'SIGSTOP' | 'SIGTERM' };
  /** Gets a line `sent AT BYTES` before each write to the target, and `acknowledged AT BYTES` after it. */
  writeLog?: string;
}

const options: CopyOptions = JSON.parse(process.argv[2]!);
const { applicationUrl, batch, attempt, killAfter, standAfter, signalAfter, leaseMs, limitTimes, writeLog } = options;
let acknowledgedBytes = 0;
let hasSignalled = false;
const store = openStore({ applicationUrl, log: { warn: () => undefined } });
const engine = openEngine(store, standAfter === undefined ? killAt : standAt(standAfter), {
  // Those that stand still keep their memory.
  memoryBytes: 512 * 1024 * 1024,
  ...(leaseMs !== undefined && { leaseMs }),
  ...(limitTimes && { limitTimes }),
  onWrite: hearWrite,
});

function hearWrite(event: 'sent' | 'acknowledged', at: number, bytes: number): void {
  if (writeLog !== undefined) appendFileSync(writeLog, `${event} ${at} ${bytes}\n`);
  if (event !== 'acknowledged') return;
  acknowledgedBytes += bytes;
  if (signalAfter === undefined || acknowledgedBytes < signalAfter.bytes || hasSignalled) return;
  hasSignalled = true;
  const { signal } = signalAfter;
  writeSync(process.stdout.fd, `${JSON.stringify({ signals: signal })}\n`);
  process.kill(process.pid, signal);
}

function killAt(step: string): void {
  if (step === killAfter) die();
}

function die(): void {
  process.kill(process.pid, 'SIGKILL');
}

function standAt({ steps, last }: NonNullable<CopyOptions['standAfter']>) {
  const taken = new Map<string, number>();
  const stands: Record<string, string> = {};
  /** Else what stands still would be collected, and its files closed. */
  const standing: unknown[] = [];
  let hasEnded = false;
  return (step: string, deliveryId: string): Promise<void> | undefined => {
    const count = (taken.get(deliveryId) ?? 0) + 1;
    taken.set(deliveryId, count);
    const standsStill = steps[deliveryId] === count;
    if (standsStill) stands[deliveryId] = step;
    else if (step === last && deliveryId in steps) throw new Error(`it has only ${count} steps`);
    else if (step === last) hasEnded = true;
    if (hasEnded && Object.keys(stands).length === Object.keys(steps).length) {
      writeSync(process.stdout.fd, JSON.stringify({ stands }));
      die();
    }
    return standsStill ? new Promise((goOn) => void standing.push(goOn)) : undefined;
  };
}

const leaving = new AbortController();
process.on('SIGTERM', () => leaving.abort());
try {
  const answer = await engine.work.copyBatch(batch, attemptOf({ attempt, retry: patient, signal: leaving.signal }));
  process.stdout.write(JSON.stringify({ answer }));
} catch (error) {
  const { kind, message, context } = asWaybillError(error);
  process.stdout.write(JSON.stringify({ error: { kind, message, leaseLost: context.leaseLost === true } }));
}
await engine.close();
await store.close();
