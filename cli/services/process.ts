import { setTimeout as delay } from 'node:timers/promises';
import type { Log } from '../../connectors/contract.ts';
import { asWaybillError } from '../../schema/errors.ts';
import { exitCodeOf, exitCodes } from '../exit.ts';
import type { ChildMessage } from '../supervisor/child.ts';

export interface RunningService {
  /** What the supervisor is told. */
  facts: Record<string, unknown>;
  /** Rejects when the service ended by a fault. */
  done: Promise<void>;
  stop(): Promise<void>;
}

/** Beyond what any service needs to drain. */
const stopDeadlineMs = 28_000;

/**
 * Runs a service as this process: until SIGINT, SIGTERM, or the end of the supervisor that started it (its channel closes,
 * also when it was killed). Gives the exit code.
 */
export async function runService(
  name: string,
  log: Log,
  start: (signal: AbortSignal) => Promise<RunningService>,
): Promise<number> {
  process.title = `waybill ${name}`;
  const leaving = new AbortController();
  const left = Promise.withResolvers<void>();
  const leave = (why: string): void => {
    if (leaving.signal.aborted) return;
    log.info({ why }, 'stopping');
    leaving.abort();
    left.resolve();
    void delay(stopDeadlineMs, undefined, { ref: false }).then(() => process.exit(exitCodes.failed));
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => leave(signal));
  process.on('disconnect', () => leave('the supervisor has gone'));
  try {
    const service = await start(leaving.signal);
    tell({ ready: service.facts });
    log.info(service.facts, 'ready');
    await Promise.race([left.promise, service.done]);
    await service.stop();
    return exitCodes.done;
  } catch (error) {
    if (leaving.signal.aborted) return exitCodes.done;
    const { kind, message } = asWaybillError(error);
    log.error({ kind, error: message, stack: error instanceof Error ? error.stack : undefined }, `${name} failed`);
    tell({ failed: { kind, message } });
    return exitCodeOf(kind);
  } finally {
    if (process.connected) process.disconnect();
  }
}

function tell(message: ChildMessage): void {
  if (process.connected) process.send?.(message);
}
