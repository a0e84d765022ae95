import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, renameSync, statSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { ErrorKind } from '../../schema/errors.ts';
import { WaybillError } from '../../schema/errors.ts';

/** What our processes tell the supervisor over their channel. */
export type ChildMessage =
  | { ready: Record<string, unknown> }
  | { failed: { kind: ErrorKind; message: string } }
  | { progress: string };

export interface ChildPlan {
  /** `api`, `worker`, `temporal`, `postgres` */
  name: string;
  script: string;
  /** Made anew for each start: after the first one they hold the ports that were chosen then. */
  arguments: () => string[];
  environment: () => Record<string, string>;
  logFile: string;
  /** What it may take to stop by itself before it is killed. */
  stopTimeoutMs: number;
}

export interface ChildEvents {
  progress(message: string): void;
  /** It is up, the first time or again. */
  ready(facts: Record<string, unknown>): void;
  /** It ended although nobody asked; it is started again after the wait. */
  died(how: string, waitMs: number): void;
}

export interface SupervisedChild {
  readonly name: string;
  /** Of the process itself; undefined while it is down. */
  readonly pid: number | undefined;
  /** Settles when it is up for the first time; rejects with its own error when it cannot start. */
  readonly firstReady: Promise<Record<string, unknown>>;
  /** Ends it and waits until it is gone. Safe twice. */
  stop(): Promise<void>;
  /** Ends it at once. */
  kill(): void;
}

const firstWaitMs = 500;
const maxWaitMs = 10_000;
/** Up for so long counts as a good start: the next wait is short again. */
const goodStartMs = 30_000;
const maxLogBytes = 16 * 2 ** 20;

/**
 * Keeps one process of ours alive. It runs in its own process group, so that Ctrl-C reaches the supervisor alone and things
 * stop in the supervisor's order; its end of the channel closes when the supervisor dies, which it takes as the order to stop.
 */
export function superviseChild(plan: ChildPlan, events: ChildEvents): SupervisedChild {
  let child: ChildProcess | undefined;
  let stopping = false;
  let waitMs = firstWaitMs;
  const wake = new AbortController();
  const first = Promise.withResolvers<Record<string, unknown>>();
  first.promise.catch(() => undefined);
  let settled = false;

  const runOnce = async (): Promise<void> => {
    const startedAt = Date.now();
    child = start(plan);
    let failure: WaybillError | undefined;
    child.on('message', (message: ChildMessage) => {
      if ('progress' in message) events.progress(message.progress);
      if ('failed' in message) failure = new WaybillError(message.failed.kind, message.failed.message);
      if ('ready' in message && !stopping) {
        settled = true;
        events.ready(message.ready);
        first.resolve(message.ready);
      }
    });
    const how = await untilExit(child);
    child = undefined;
    if (stopping) return;
    if (!settled) throw failure ?? new WaybillError('unavailable', `${plan.name} ${how}; see ${plan.logFile}`);
    if (Date.now() - startedAt > goodStartMs) waitMs = firstWaitMs;
    events.died(failure === undefined ? how : failure.message, waitMs);
    await delay(waitMs, undefined, { signal: wake.signal }).catch(() => undefined);
    waitMs = Math.min(waitMs * 2, maxWaitMs);
  };
  const life = (async () => {
    while (!stopping) await runOnce();
  })().catch((error: unknown) => first.reject(error));

  return {
    name: plan.name,
    get pid() {
      return child?.pid;
    },
    firstReady: first.promise,
    async stop() {
      stopping = true;
      wake.abort();
      first.reject(new WaybillError('cancelled', `${plan.name} was stopped`));
      const ending = child;
      ending?.kill('SIGTERM');
      const timer = setTimeout(() => ending?.kill('SIGKILL'), plan.stopTimeoutMs);
      await life;
      clearTimeout(timer);
    },
    kill() {
      stopping = true;
      wake.abort();
      child?.kill('SIGKILL');
    },
  };
}

function start(plan: ChildPlan): ChildProcess {
  rotate(plan.logFile);
  const log = openSync(plan.logFile, 'a', 0o600);
  const child = spawn(process.execPath, [plan.script, ...plan.arguments()], {
    env: plan.environment(),
    detached: true,
    stdio: ['ignore', log, log, 'ipc'],
  });
  closeSync(log);
  return child;
}

function untilExit(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(`could not start: ${error.message}`));
    child.once('exit', (code, signal) =>
      resolve(signal === null ? `ended with code ${code}` : `was ended by ${signal}`),
    );
  });
}

function rotate(logFile: string): void {
  const bytes = statSync(logFile, { throwIfNoEntry: false })?.size ?? 0;
  if (bytes > maxLogBytes) renameSync(logFile, `${logFile}.1`);
}
