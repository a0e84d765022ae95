import { evaluate, evaluateCondition, fill, type Scope } from '../language/evaluate.ts';
import { findAction } from '../schema/actions.ts';
import { asWaybillError } from '../schema/errors.ts';
import type { ActionBlock, Block, Failure, GroupBlock, Json, Plan, RunFacts } from '../schema/plan.ts';
import { walkLoop } from './loop.ts';
import { walkParallel } from './parallel.ts';
import { type Port, type ProgressLine, StepFailed } from './port.ts';
import { frameOf, type Outcome, type RunState } from './state.ts';
import { summarise } from './summaries.ts';
import { copyFiles } from './transfer.ts';
import { walkWait } from './wait.ts';

/** What a walk needs to know besides the plan. */
export interface RunContext {
  tenantId: string;
  runId: string;
  inputs: Record<string, Json>;
  run: RunFacts;
}

export type EndStatus = 'succeeded' | 'partial' | 'failed' | 'cancelled';

export type Walk =
  | { end: 'suspended' }
  | { end: 'done'; status: EndStatus; failure: Failure | null; outputs: Record<string, Json> | null };

/** Where in the plan, and in which loop items, the walk is. */
export interface Place {
  /** The unit: `` or `steps[1]#42/`. Makes keys of the blocks inside a loop item its own. */
  instance: string;
  /** Step ids from the outside in: `each.copy`. */
  trail: string;
  scope: Scope & { steps: Record<string, Json> };
  /** Bytes that the transfers of this item (or of the whole plan) have sent. */
  sent: { bytes: number };
}

/** Unwinds a walk that is to go on in a new history. Never leaves `interpret`. */
export class Suspended extends Error {}

/**
 * Walks a plan to its end, or until the port asks to suspend. Pure: everything it does goes through the port, and all it
 * remembers is in `state`, so the same plan, state and answers give the same calls.
 */
export async function interpret(plan: Plan, context: RunContext, state: RunState, port: Port): Promise<Walk> {
  const walker = new Walker(plan, context, state, port);
  try {
    return await walker.run();
  } catch (error) {
    if (error instanceof Suspended) return { end: 'suspended' };
    throw error;
  }
}

export class Walker {
  readonly plan: Plan;
  readonly context: RunContext;
  readonly state: RunState;
  readonly port: Port;
  readonly #progress = new Map<string, ProgressLine>();
  readonly #suspension = Promise.withResolvers<never>();
  readonly #undoable = new Map<string, Block>();
  #suspending = false;

  constructor(plan: Plan, context: RunContext, state: RunState, port: Port) {
    this.plan = plan;
    this.context = context;
    this.state = state;
    this.port = port;
    // Nobody may be waiting when it is rejected.
    this.#suspension.promise.catch(() => undefined);
  }

  async run(): Promise<Walk> {
    const { inputs, run } = this.context;
    const place: Place = {
      instance: '',
      trail: '',
      sent: { bytes: 0 },
      scope: { inputs, run: { ...run, status: 'running' }, steps: {}, vars: {}, trigger: {} },
    };
    let outputs: Record<string, Json> | null = null;
    const work = async () => {
      place.scope.vars = fill(this.plan.vars, place.scope);
      await this.blocks(this.plan.steps, place);
      outputs = this.#outputs(place);
    };
    let failure = await this.unit(work, this.plan.onError, place);
    // What `finally` tolerates does not change the `run.status` that it sees, whenever it is suspended.
    this.state.status ??= this.#status(failure);
    let status = this.state.status;
    const last = {
      ...place,
      scope: { ...place.scope, run: { ...run, status }, error: failure as unknown as Json },
    };
    if (this.plan.finally.length > 0) this.port.beginFinally();
    try {
      await this.port.protect(() => this.blocks(this.plan.finally, last));
    } catch (error) {
      const late = failureOf(error);
      // What already went wrong is the news; a failing `finally` is only told when nothing else is.
      failure ??= { ...late, message: `in finally: ${late.message}` };
      if (status !== 'cancelled') status = 'failed';
    }
    if (status === 'succeeded' && this.state.partial) status = 'partial';
    return { end: 'done', status, failure, outputs };
  }

  #status(failure: Failure | null): EndStatus {
    if (failure === null) return this.state.partial ? 'partial' : 'succeeded';
    return failure.kind === 'cancelled' ? 'cancelled' : 'failed';
  }

  /**
   * Runs the work of a unit: the run, or one item of a loop. When it fails, what it has done is undone, last first; then
   * `onError` runs, but not for a cancellation. Gives the failure, or null.
   */
  async unit(work: () => Promise<void>, onError: readonly Block[], place: Place): Promise<Failure | null> {
    try {
      await work();
      return null;
    } catch (error) {
      const failure = failureOf(error);
      const after = { ...place, scope: { ...place.scope, error: failure as unknown as Json } };
      await this.port.protect(() => this.#undo(after));
      if (failure.kind !== 'cancelled') await this.#react(onError, after);
      return failure;
    }
  }

  async #undo(place: Place): Promise<void> {
    const done = this.state.frames[place.instance]?.undoable ?? [];
    // A copy: compensations are never undone themselves, but the order is to stay the one of the failure.
    for (const path of [...done].reverse()) await this.#react(this.#blockAt(path).compensate, place);
  }

  async blocks(blocks: readonly Block[], place: Place): Promise<void> {
    for (const block of blocks) {
      const outcome = await this.block(block, place);
      if (block.kind === 'action' && skipsTheRest(block, outcome)) return;
    }
  }

  /** Runs a block once, or gives what it gave before the last suspension. */
  async block(block: Block, place: Place): Promise<Outcome> {
    const recorded = this.state.frames[place.instance]?.outcomes;
    let outcome = recorded?.[block.path];
    if (outcome !== undefined) this.rememberWithin(block, place);
    else {
      outcome = await this.#runBlock(block, place);
      frameOf(this.state, place.instance).outcomes[block.path] = outcome;
    }
    remember(block, outcome, place);
    if (outcome.failure !== null) throw new StepFailed(outcome.failure);
    return outcome;
  }

  /** What the steps of a block gave before the last suspension is in scope again, also when the block then failed. */
  rememberWithin(block: Block, place: Place): void {
    const recorded = this.state.frames[place.instance]?.outcomes ?? {};
    for (const within of everyBlock(blocksWithin(block))) remember(within, recorded[within.path], place);
  }

  async #runBlock(block: Block, place: Place): Promise<Outcome> {
    const known = this.state.frames[place.instance]?.failures[block.path];
    if (known !== undefined) {
      this.rememberWithin(block, place);
      return this.#reactToFailure(block, place, known);
    }
    try {
      if (block.if !== null && block.kind !== 'group' && !evaluateCondition(block.if, place.scope))
        return { output: null, failure: null };
      const output = await this.#kind(block, place);
      if (block.compensate.length > 0) frameOf(this.state, place.instance).undoable.push(block.path);
      return { output, failure: null };
    } catch (error) {
      const failure = failureOf(error, block.id ?? block.path);
      const output = error instanceof StepFailed ? error.output : null;
      return this.#reactToFailure(block, place, { output, failure });
    }
  }

  async #reactToFailure(block: Block, place: Place, failed: Outcome & { failure: Failure }): Promise<Outcome> {
    // The onError of a loop has run for each failed item.
    if (failed.failure.kind === 'cancelled' || block.kind === 'forEach' || block.onError.length === 0) return failed;
    // Before a suspension in onError the failure is to be known: the block itself is not to run again.
    frameOf(this.state, place.instance).failures[block.path] = failed;
    remember(block, failed, place);
    const scope = { ...place.scope, error: failed.failure as unknown as Json };
    await this.#react(block.onError, { ...place, scope });
    return failed;
  }

  #kind(block: Block, place: Place): Promise<Json> {
    switch (block.kind) {
      case 'action':
        return this.#action(block, place);
      case 'group':
        return this.#group(block, place);
      case 'forEach':
        return walkLoop(this, block, place);
      case 'parallel':
        return walkParallel(this, block, place);
      case 'wait':
        return walkWait(this, block, place);
    }
  }

  async #group(block: GroupBlock, place: Place): Promise<Json> {
    const branch = block.if === null || evaluateCondition(block.if, place.scope) ? block.steps : block.else;
    await this.blocks(branch, place);
    return null;
  }

  async #action(block: ActionBlock, place: Place): Promise<Json> {
    await this.checkpoint();
    const manifest = findAction(block.use);
    if (manifest === undefined)
      throw new StepFailed({
        kind: 'unsupported',
        message: `this worker has no action ${block.use}; it is older than the pipeline`,
        step: block.id,
        endpoint: null,
        path: null,
      });
    const filled = fill(block.with, place.scope) as Record<string, Json>;
    const step = trailOf(place, block);
    const input = {
      tenantId: this.context.tenantId,
      runId: this.context.runId,
      step,
      stepKey: place.instance + block.path,
      endpoints: this.plan.endpoints,
      with: filled,
      ...(block.head > 0 ? { head: block.head } : {}),
    };
    const summary = this.summary(block, place) ?? summarise(block.use, filled);
    if (manifest.transfers) return copyFiles(this, block, place, input, summary);
    this.report({ step, state: 'running', done: 0, total: 1, bytes: 0, failed: 0 });
    try {
      const output = await this.port.call({
        activity: block.use,
        queue: manifest.heartbeats ? 'transfers' : 'runs',
        input,
        summary,
        retry: block.retry,
        timeout: block.timeout,
        heartbeats: manifest.heartbeats,
      });
      this.report({ step, state: 'done', done: 1, total: 1, bytes: 0, failed: 0 });
      return output;
    } catch (error) {
      this.report({ step, state: 'failed', done: 0, total: 1, bytes: 0, failed: 1 });
      throw error;
    }
  }

  /** Runs an onError or compensate list. What fails in it does not hide the first failure. */
  async #react(blocks: readonly Block[], place: Place): Promise<void> {
    try {
      await this.blocks(blocks, place);
    } catch (error) {
      if (error instanceof Suspended) throw error;
    }
  }

  #outputs(place: Place): Record<string, Json> {
    const outputs: Record<string, Json> = {};
    for (const [name, expression] of Object.entries(this.plan.outputs))
      outputs[name] = evaluate(expression, place.scope);
    return outputs;
  }

  #blockAt(path: string): Block {
    if (this.#undoable.size === 0) {
      for (const block of everyBlock(this.plan.steps))
        if (block.compensate.length > 0) this.#undoable.set(block.path, block);
    }
    return this.#undoable.get(path)!;
  }

  /** The block's own words for Temporal's UI, filled; null when it has none. */
  summary(block: Block, place: Place): string | null {
    return block.summary === null ? null : String(fill(block.summary, place.scope)).slice(0, 200);
  }

  report(line: ProgressLine): void {
    this.#progress.set(line.step, line);
    this.port.show([...this.#progress.values()]);
  }

  /** To be awaited before each call: here a walk suspends, and waits while the run is paused. */
  checkpoint(): Promise<void> | undefined {
    if (this.#suspending || this.port.shouldSuspend()) throw this.#suspend();
    const paused = this.port.proceed();
    return paused && this.unlessSuspended(paused);
  }

  /** True when another branch of the walk has suspended: nothing new is to begin. */
  get suspending(): boolean {
    return this.#suspending;
  }

  /** What the promise gives; a wait is given up when the walk suspends meanwhile, and taken up again in the next history. */
  async unlessSuspended<Result>(promise: Promise<Result>): Promise<Result> {
    return Promise.race([promise, this.#suspension.promise]);
  }

  #suspend(): Suspended {
    const suspended = new Suspended();
    this.#suspending = true;
    this.#suspension.reject(suspended);
    return suspended;
  }
}

/** The failure that an error stands for. Suspension is none, and goes on unwinding. */
export function failureOf(error: unknown, step: string | null = null): Failure {
  if (error instanceof Suspended) throw error;
  if (error instanceof StepFailed) return error.failure.step === null ? { ...error.failure, step } : error.failure;
  const known = asWaybillError(error);
  return {
    kind: known.kind,
    message: known.message,
    step,
    endpoint: known.context.endpoint ?? null,
    path: known.context.path ?? null,
  };
}

export function trailOf(place: Place, block: Block): string {
  const name = block.id ?? block.path;
  return place.trail === '' ? name : `${place.trail}.${name}`;
}

/** Lets later expressions see what a block gave, and counts what it sent. */
function remember(block: Block, outcome: Outcome | undefined, place: Place): void {
  if (outcome === undefined) return;
  if (block.id !== null) place.scope.steps[block.id] = outcome.output;
  place.sent.bytes += sentBytes(block, outcome);
}

/** Every block of a list, at whatever depth. */
function* everyBlock(blocks: readonly Block[]): Generator<Block> {
  for (const block of blocks) {
    yield block;
    yield* everyBlock(blocksWithin(block));
  }
}

function blocksWithin(block: Block): readonly Block[] {
  switch (block.kind) {
    case 'action':
      return [];
    case 'group':
      return [...block.steps, ...block.else];
    case 'forEach':
      return block.steps;
    case 'parallel':
      return block.branches;
    case 'wait':
      return block.poll?.steps ?? [];
  }
}

/** What a transfer, or a loop around transfers, says that it has sent. */
function sentBytes(block: Block, outcome: Outcome): number {
  const counts = block.kind === 'forEach' || (block.kind === 'action' && findAction(block.use)?.transfers === true);
  return counts && outcome.output !== null ? ((outcome.output as { bytes?: number }).bytes ?? 0) : 0;
}

/** `onEmpty: skip`: a listing without files ends its block. */
function skipsTheRest(block: ActionBlock, outcome: Outcome): boolean {
  if (block.with.onEmpty !== 'skip' || outcome.output === null) return false;
  const output = outcome.output as { files?: number | { count: number }; skipped?: number };
  return output.files === 0 ? output.skipped === 0 : (output.files as { count: number }).count === 0;
}
