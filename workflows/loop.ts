import { evaluate } from '../language/evaluate.ts';
import type { Failure, FileFact, FileSet, ForEachBlock, Json } from '../schema/plan.ts';
import { failureOf, type Place, Suspended, trailOf, type Walker } from './interpreter.ts';
import { StepFailed } from './port.ts';
import { forget, type LoopCursor } from './state.ts';

/** Rows of a file set that one page brings into history. */
const pageRows = 200;

/**
 * Runs the block's steps for each item, `maxParallel` at a time. An item that fails does not stop the others; the loop
 * fails at its end. Items that have ended are only counted, so the state does not grow with the loop.
 */
export async function walkLoop(walker: Walker, block: ForEachBlock, place: Place): Promise<Json> {
  const key = place.instance + block.path;
  walker.state.loops[key] ??= { next: 0, ahead: [], succeeded: 0, failed: 0, bytes: 0, firstFailure: null };
  const cursor = walker.state.loops[key];
  const items = itemSource(walker, block, place);
  const step = trailOf(place, block);
  const running = new Set<Promise<void>>();
  let suspended = false;
  for (let index = cursor.next; index < items.count && !suspended; index++) {
    if (cursor.ahead.includes(index)) continue;
    while (running.size >= block.maxParallel) await Promise.race(running);
    if (suspended || walker.port.shouldSuspend()) {
      suspended = true;
      break;
    }
    const item = await items.get(index);
    const task: Promise<void> = runItem(walker, block, place, key, index, item)
      .then(({ failure, bytes }) => {
        cursor.bytes += bytes;
        settle(cursor, index, failure);
        forget(walker.state, `${key}#${index}/`);
        walker.report({
          step,
          state: 'running',
          done: cursor.succeeded,
          total: items.count,
          bytes: cursor.bytes,
          failed: cursor.failed,
        });
      })
      .catch((error: unknown) => {
        if (!(error instanceof Suspended)) throw error;
        suspended = true;
      })
      .finally(() => running.delete(task));
    running.add(task);
    if (cursor.firstFailure?.kind === 'cancelled') break;
  }
  await Promise.all(running);
  if (suspended) throw new Suspended();
  delete walker.state.loops[key];
  walker.report({
    step,
    state: cursor.failed > 0 ? 'failed' : 'done',
    done: cursor.succeeded,
    total: items.count,
    bytes: cursor.bytes,
    failed: cursor.failed,
  });
  return loopOutput(cursor, items.count, step);
}

/** Runs one item; gives its failure, or null, and what its transfers sent. */
async function runItem(
  walker: Walker,
  block: ForEachBlock,
  place: Place,
  key: string,
  index: number,
  item: Json,
): Promise<{ failure: Failure | null; bytes: number }> {
  const inside: Place = {
    instance: `${key}#${index}/`,
    trail: trailOf(place, block),
    sent: { bytes: 0 },
    scope: { ...place.scope, steps: { ...place.scope.steps }, [block.as]: item },
  };
  try {
    await walker.blocks(block.steps, inside);
    return { failure: null, bytes: inside.sent.bytes };
  } catch (error) {
    return { failure: failureOf(error), bytes: inside.sent.bytes };
  }
}

function settle(cursor: LoopCursor, index: number, failure: Failure | null): void {
  if (failure === null) cursor.succeeded++;
  else {
    cursor.failed++;
    // A cancellation outweighs what failed before it: the run is to end as cancelled.
    if (cursor.firstFailure === null || failure.kind === 'cancelled') cursor.firstFailure = failure;
  }
  cursor.ahead.push(index);
  for (let position = cursor.ahead.indexOf(cursor.next); position >= 0; position = cursor.ahead.indexOf(cursor.next)) {
    cursor.ahead.splice(position, 1);
    cursor.next++;
  }
}

function loopOutput(cursor: LoopCursor, count: number, step: string): Json {
  if (cursor.firstFailure !== null) {
    const { kind, message, endpoint, path } = cursor.firstFailure;
    const told = kind === 'cancelled' ? message : `${cursor.failed} of ${count} items failed; the first: ${message}`;
    throw new StepFailed({ kind, message: told, step, endpoint, path });
  }
  return { count, succeeded: { count: cursor.succeeded }, failed: { count: cursor.failed }, bytes: cursor.bytes };
}

/** Items by index: of a list directly, of a file set by pages. */
function itemSource(
  walker: Walker,
  block: ForEachBlock,
  place: Place,
): { count: number; get(index: number): Promise<Json> } {
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
        from = index;
        page = (await walker.port.call({
          activity: 'files.page',
          queue: 'runs',
          input: { tenantId: walker.context.tenantId, ref: set.ref, after: index, limit: pageRows },
          summary: `page of ${block.items}, from row ${index}`,
          retry: pageRetry,
          timeout: { stallMs: 60_000, totalMs: 60_000 },
          heartbeats: false,
        })) as unknown as FileFact[];
      }
      return page[index - from] as unknown as Json;
    },
  };
}

const pageRetry = { forMs: 3_600_000, attempts: null, firstMs: 1000, factor: 2, maxMs: 30_000, jitter: 0.2, notOn: [] };
