import { evaluate } from '../language/evaluate.ts';
import type { Failure, FileFact, FileSet, ForEachBlock, Json } from '../schema/plan.ts';
import { type Place, Suspended, trailOf, type Walker } from './interpreter.ts';
import { StepFailed } from './port.ts';
import { frameOf, type LoopCursor } from './state.ts';
import { isTolerated, toldTolerance } from './tolerance.ts';

/** Rows of a file set that one page brings into history. */
const pageRows = 200;

/**
 * Runs the block's steps for each item, `maxParallel` at a time. An item that fails does not stop the others, unless
 * `failFast` says so; the loop fails at its end when more have failed than it tolerates. Items that have ended are only
 * counted, so the state does not grow with the loop.
 */
export async function walkLoop(walker: Walker, block: ForEachBlock, place: Place): Promise<Json> {
  const loop = new Loop(walker, block, place);
  return loop.walk();
}

class Loop {
  readonly #walker: Walker;
  readonly #block: ForEachBlock;
  readonly #place: Place;
  readonly #key: string;
  readonly #items: ItemSource;
  readonly #cursor: LoopCursor;
  readonly #running = new Set<Promise<void>>();
  /** Settles when an item has ended. A race of all that run would make as many promises as there are, for each item. */
  #ended = Promise.withResolvers<void>();
  #broken: { error: unknown } | null = null;

  constructor(walker: Walker, block: ForEachBlock, place: Place) {
    this.#walker = walker;
    this.#block = block;
    this.#place = place;
    this.#key = place.instance + block.path;
    this.#items = itemSource(walker, block, place);
    const { loops } = frameOf(walker.state, place.instance);
    loops[block.path] ??= { next: 0, ahead: [], succeeded: 0, failed: 0, bytes: 0, head: [], cancelled: null };
    this.#cursor = loops[block.path]!;
  }

  async walk(): Promise<Json> {
    try {
      await this.#startItems();
    } catch (error) {
      this.#broken = { error };
    }
    await Promise.all(this.#running);
    if (this.#broken !== null) throw this.#broken.error;
    if (this.#walker.suspending) throw new Suspended();
    delete frameOf(this.#walker.state, this.#place.instance).loops[this.#block.path];
    return this.#output();
  }

  async #startItems(): Promise<void> {
    const { maxParallel } = this.#block;
    this.#report('running');
    for (let index = this.#cursor.next; index < this.#items.count; index++) {
      if (this.#cursor.ahead.includes(index)) continue;
      while (this.#running.size >= maxParallel) await this.#ended.promise;
      // An item that a suspension has cut in the middle is to be brought to its end.
      if (this.#takesNoMore() && !Object.hasOwn(this.#walker.state.frames, this.#instance(index))) continue;
      if (this.#broken !== null) return;
      await this.#walker.checkpoint();
      const item = await this.#items.get(index);
      const task: Promise<void> = this.#runItem(index, item)
        .catch((error: unknown) => {
          if (!(error instanceof Suspended)) this.#broken ??= { error };
        })
        .finally(() => {
          this.#running.delete(task);
          this.#ended.resolve();
          this.#ended = Promise.withResolvers();
        });
      this.#running.add(task);
    }
  }

  #takesNoMore(): boolean {
    const { cancelled, failed } = this.#cursor;
    if (cancelled !== null) return true;
    return this.#block.failFast && !isTolerated(this.#block.tolerate, failed, this.#items.count);
  }

  #instance(index: number): string {
    return `${this.#key}#${index}/`;
  }

  async #runItem(index: number, item: Json): Promise<void> {
    const { scope } = this.#place;
    const inside: Place = {
      instance: this.#instance(index),
      trail: trailOf(this.#place, this.#block),
      sent: { bytes: 0 },
      scope: { ...scope, steps: { ...scope.steps }, [this.#block.as]: item },
    };
    const work = () => this.#walker.blocks(this.#block.steps, inside);
    const failure = await this.#walker.unit(work, this.#block.onError, inside);
    this.#cursor.bytes += inside.sent.bytes;
    this.#settle(index, item, failure);
    delete this.#walker.state.frames[inside.instance];
    this.#report('running');
  }

  #settle(index: number, item: Json, failure: Failure | null): void {
    const cursor = this.#cursor;
    if (failure === null) cursor.succeeded++;
    else {
      cursor.failed++;
      // By their place in the loop, not by when they ended: what is told does not depend on who was faster.
      cursor.head.push({ index, item, error: failure });
      cursor.head.sort((left, right) => left.index - right.index).splice(Math.max(1, this.#block.head));
      // A cancellation outweighs what failed before it: the run is to end as cancelled.
      if (failure.kind === 'cancelled') cursor.cancelled = failure;
    }
    cursor.ahead.push(index);
    for (let at = cursor.ahead.indexOf(cursor.next); at >= 0; at = cursor.ahead.indexOf(cursor.next)) {
      cursor.ahead.splice(at, 1);
      cursor.next++;
    }
  }

  #output(): Json {
    const { succeeded, failed, bytes, head, cancelled } = this.#cursor;
    const { count } = this.#items;
    const tolerated = cancelled === null && isTolerated(this.#block.tolerate, failed, count);
    this.#report(tolerated ? 'done' : 'failed');
    const step = trailOf(this.#place, this.#block);
    if (cancelled !== null) throw new StepFailed({ ...cancelled, step });
    const first = head.map(({ item, error }) => ({ item, error: error as unknown as Json }));
    const output = {
      count,
      succeeded: { count: succeeded },
      failed: { count: failed, ...(this.#block.head > 0 ? { head: first } : {}) },
      bytes,
    };
    if (!tolerated) {
      const { message, ...failure } = head[0]!.error;
      const told = `${failed} of ${count} items failed${toldTolerance(this.#block.tolerate)}; the first: ${message}`;
      throw new StepFailed({ ...failure, message: told, step }, output);
    }
    if (failed > 0) this.#walker.state.partial = true;
    return output;
  }

  #report(state: 'running' | 'done' | 'failed'): void {
    const { succeeded, bytes, failed } = this.#cursor;
    const step = trailOf(this.#place, this.#block);
    this.#walker.report({ step, state, done: succeeded, total: this.#items.count, bytes, failed });
  }
}

interface ItemSource {
  count: number;
  get(index: number): Promise<Json>;
}

/** Items by index: of a list directly, of a file set by pages. */
function itemSource(walker: Walker, block: ForEachBlock, place: Place): ItemSource {
  const items = evaluate(block.items, place.scope);
  if (Array.isArray(items)) return { count: items.length, get: async (index) => items[index]! };
  const set = items as unknown as FileSet | null;
  if (typeof set?.ref !== 'string') {
    throw new StepFailed({
      kind: 'invalid',
      message: `forEach: ${block.items} is neither a list nor a file set`,
      step: block.id,
      endpoint: null,
      path: null,
    });
  }
  let page: FileFact[] = [];
  let from = -1;
  return {
    count: set.count,
    async get(index) {
      if (from < 0 || index < from || index >= from + page.length) {
        page = (await walker.port.call({
          activity: 'files.page',
          queue: 'runs',
          input: { tenantId: walker.context.tenantId, ref: set.ref, after: index, limit: pageRows },
          summary: `page of ${block.items}, from row ${index}`,
          retry: pageRetry,
          timeout: { stallMs: 60_000, totalMs: 24 * 3_600_000 },
          attemptMs: 60_000,
          heartbeats: false,
        })) as unknown as FileFact[];
        from = index;
      }
      const row = page[index - from];
      if (row === undefined)
        throw new StepFailed({
          kind: 'not-found',
          message: `row ${index} of the file set ${block.items} is gone`,
          step: block.id,
          endpoint: null,
          path: null,
        });
      return row as unknown as Json;
    },
  };
}

const pageRetry = { forMs: 3_600_000, attempts: null, firstMs: 1000, factor: 2, maxMs: 30_000, jitter: 0.2, notOn: [] };
