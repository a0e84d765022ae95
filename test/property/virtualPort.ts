import { AsyncLocalStorage } from 'node:async_hooks';
import type { Failure, Json } from '../../schema/plan.ts';
import { type Call, type Port, StepFailed } from '../../workflows/port.ts';
import { Random } from '../random.ts';
import { answer, type SeenCall } from './answers.ts';

export interface VirtualPort extends Port {
  /** In the order in which they were made. */
  readonly calls: SeenCall[];
  /** How often the interpreter has asked whether to suspend. */
  readonly questions: number;
}

export interface VirtualPortOptions {
  /** Decides how long each call takes, and so in which order calls that are made together settle. */
  seed: number;
  /** Numbers of the questions that are answered with: suspend. */
  suspendAt?: (question: number) => boolean;
  /** The run is cancelled when so many calls have been made. */
  cancelAfterCalls?: number;
  /** What the world answers; by default what generated pipelines expect. Throws what a call fails with. */
  answers?: (call: SeenCall, madeBefore: number) => Json;
}

/** A cancellation reaches a scope and all within, but for what is protected. */
interface Scope {
  parent: Scope | null;
  cancelled: boolean;
}

interface Pending {
  atMs: number;
  scope: Scope;
  settle(): void;
  reject(error: Error): void;
}

/** One for all ports: each that has ever been used costs every promise of the process a little. */
const scopes = new AsyncLocalStorage<Scope>();
const beganAtMs = Date.parse('2026-11-22T07:00:00Z');
const callTakesAtMostMs = 40;

/** A port without a world: calls are answered from `answers.ts`, time passes when nothing else can happen. */
export function virtualPort({
  seed,
  suspendAt = () => false,
  cancelAfterCalls,
  answers = generatedAnswer,
}: VirtualPortOptions): VirtualPort {
  const random = new Random(seed);
  const root: Scope = { parent: null, cancelled: false };
  const pending = new Set<Pending>();
  const made = new Map<string, number>();
  const calls: SeenCall[] = [];
  let nowMs = beganAtMs;
  let questions = 0;
  let isTurning = false;

  /** One thing happens at a time, and the interpreter comes to rest between two. */
  const turn = (): void => {
    if (isTurning) return;
    isTurning = true;
    const next = (): void => {
      const first = [...pending].sort((one, other) => one.atMs - other.atMs)[0];
      if (first === undefined) {
        isTurning = false;
        return;
      }
      pending.delete(first);
      nowMs = Math.max(nowMs, first.atMs);
      first.settle();
      setImmediate(next);
    };
    setImmediate(next);
  };
  const enqueue = <Result>(atMs: number, result: () => Result): Promise<Result> => {
    const scope = scopes.getStore() ?? root;
    if (isCancelled(scope)) return Promise.reject(new StepFailed(cancelled));
    return new Promise<Result>((resolve, reject) => {
      const settle = () => {
        try {
          resolve(result());
        } catch (error) {
          reject(error);
        }
      };
      pending.add({ atMs, scope, settle, reject });
      turn();
    });
  };
  const cancel = (scope: Scope): void => {
    scope.cancelled = true;
    for (const entry of [...pending]) {
      if (!isCancelled(entry.scope)) continue;
      pending.delete(entry);
      entry.reject(new StepFailed(cancelled));
    }
  };
  return {
    calls,
    get questions() {
      return questions;
    },
    call({ activity, input }: Call) {
      const seen = { activity, input: JSON.parse(JSON.stringify(input)) as Record<string, Json> };
      if (isCancelled(scopes.getStore() ?? root)) return Promise.reject(new StepFailed(cancelled));
      calls.push(seen);
      const key = JSON.stringify([activity, seen.input.with ?? seen.input]);
      const before = made.get(key) ?? 0;
      made.set(key, before + 1);
      if (calls.length === cancelAfterCalls) cancel(root);
      return enqueue(nowMs + random.between(1, callTakesAtMostMs), () => answers(seen, before));
    },
    now: () => nowMs,
    sleepUntil: (timeMs) => enqueue(timeMs, () => undefined),
    protect: (work) => scopes.run({ parent: null, cancelled: false }, work),
    cancellable(work) {
      const scope: Scope = { parent: scopes.getStore() ?? root, cancelled: false };
      return { result: scopes.run(scope, work), cancel: () => cancel(scope) };
    },
    proceed: () => undefined,
    shouldSuspend: () => suspendAt(++questions),
    beginFinally: () => undefined,
    show: () => undefined,
  };
}

/** What fails once is tried again below the port; the walk only sees the end of it. */
function generatedAnswer(call: SeenCall, madeBefore: number): Json {
  const first = answer(call, madeBefore);
  const last = 'failure' in first && first.flaky === true ? answer(call, madeBefore, 2) : first;
  if ('failure' in last) throw new StepFailed(last.failure);
  return last.output;
}

const cancelled: Failure = { kind: 'cancelled', message: 'cancelled', step: null, endpoint: null, path: null };

function isCancelled(scope: Scope): boolean {
  return scope.cancelled || (scope.parent !== null && isCancelled(scope.parent));
}
