import { evaluate, evaluateCondition, fill, type Scope } from '../language/evaluate.ts';
import { findAction } from '../schema/actions.ts';
import { asWaybillError } from '../schema/errors.ts';
import type { ActionBlock, Block, Failure, GroupBlock, Json, Plan, RunFacts } from '../schema/plan.ts';
import { walkLoop } from './loop.ts';
import { type Port, type ProgressLine, StepFailed } from './port.ts';
import type { Outcome, RunState } from './state.ts';
import { summarise } from './summaries.ts';
import { copyFiles } from './transfer.ts';

/** What a walk needs to know besides the plan. */
export interface RunContext {
  tenantId: string;
  runId: string;
  inputs: Record<string, Json>;
  run: RunFacts;
}

export type Walk =
  | { end: 'suspended' }
  | {
      end: 'done';
      status: 'succeeded' | 'failed' | 'cancelled';
      failure: Failure | null;
      outputs: Record<string, Json> | null;
    };

/** Where in the plan, and in which loop items, the walk is. */
export interface Place {
  /** `` or `steps[1]#42/`: makes keys of the blocks inside a loop item its own. */
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
  readonly progress = new Map<string, ProgressLine>();

  constructor(plan: Plan, context: RunContext, state: RunState, port: Port) {
    this.plan = plan;
    this.context = context;
    this.state = state;
    this.port = port;
  }

  async run(): Promise<Walk> {
    const { inputs, run } = this.context;
    const place: Place = {
      instance: '',
      trail: '',
      sent: { bytes: 0 },
      scope: { inputs, run: { ...run, status: 'running' }, steps: {}, vars: {}, trigger: {} },
    };
    let failure: Failure | null = null;
    let outputs: Record<string, Json> | null = null;
    try {
      await this.blocks(this.plan.steps, place);
      outputs = this.#outputs(place);
    } catch (error) {
      failure = failureOf(error);
    }
    let status: 'succeeded' | 'failed' | 'cancelled' =
      failure === null ? 'succeeded' : failure.kind === 'cancelled' ? 'cancelled' : 'failed';
    const after: Place = {
      ...place,
      scope: { ...place.scope, run: { ...run, status }, error: failure as unknown as Json },
    };
    if (status === 'failed') await this.#react(this.plan.onError, after);
    try {
      await this.port.protect(() => this.blocks(this.plan.finally, after));
    } catch (error) {
      // What already went wrong is the news; a failing `finally` is only told when nothing else is.
      if (failure === null) {
        failure = failureOf(error);
        status = 'failed';
      }
    }
    return { end: 'done', status, failure, outputs };
  }

  async blocks(blocks: readonly Block[], place: Place): Promise<void> {
    for (const block of blocks) {
      const outcome = await this.#block(block, place);
      if (block.kind === 'action' && skipsTheRest(block, outcome)) return;
    }
  }

  /** Runs a block once, or gives what it gave before the last suspension. */
  async #block(block: Block, place: Place): Promise<Outcome> {
    const key = place.instance + block.path;
    const recorded = this.state.outcomes[key];
    const outcome = recorded ?? (await this.#runBlock(block, place));
    this.state.outcomes[key] = outcome;
    if (block.id !== null) place.scope.steps[block.id] = outcome.output;
    place.sent.bytes += sentBytes(block, outcome);
    if (outcome.failure !== null) throw new StepFailed(outcome.failure);
    return outcome;
  }

  async #runBlock(block: Block, place: Place): Promise<Outcome> {
    try {
      if (block.if !== null && block.kind !== 'group' && !evaluateCondition(block.if, place.scope))
        return { output: null, failure: null };
      return { output: await this.#kind(block, place), failure: null };
    } catch (error) {
      const failure = failureOf(error, block.id ?? block.path);
      const scope = { ...place.scope, error: failure as unknown as Json };
      if (failure.kind !== 'cancelled') await this.#react(block.onError, { ...place, scope });
      return { output: null, failure };
    }
  }

  #kind(block: Block, place: Place): Promise<Json> {
    switch (block.kind) {
      case 'action':
        return this.#action(block, place);
      case 'group':
        return this.#group(block, place);
      case 'forEach':
        return walkLoop(this, block, place);
    }
  }

  async #group(block: GroupBlock, place: Place): Promise<Json> {
    const branch = block.if === null || evaluateCondition(block.if, place.scope) ? block.steps : block.else;
    await this.blocks(branch, place);
    return null;
  }

  async #action(block: ActionBlock, place: Place): Promise<Json> {
    this.suspendIfAsked();
    const manifest = findAction(block.use);
    if (manifest === undefined)
      throw new StepFailed({
        kind: 'unsupported',
        message: `this worker has no action ${block.use}`,
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
    };
    const summary = block.summary === null ? summarise(block.use, filled) : String(fill(block.summary, place.scope));
    if (manifest.transfers) return copyFiles(this, block, input, summary);
    this.report({ step, state: 'running', done: 0, total: 1, bytes: 0, failed: 0 });
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
  }

  /** Runs an onError list. What fails in it does not hide the first failure. */
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

  report(line: ProgressLine): void {
    this.progress.set(line.step, line);
    this.port.show([...this.progress.values()]);
  }

  suspendIfAsked(): void {
    if (this.port.shouldSuspend()) throw new Suspended();
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
