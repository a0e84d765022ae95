import { evaluate, evaluateCondition, fill } from '../language/evaluate.ts';
import { WaybillError } from '../schema/errors.ts';
import type { Json, WaitBlock, WaitPoll } from '../schema/plan.ts';
import { parseDurationMs, parseInstantMs } from '../schema/quantities.ts';
import { type Place, trailOf, type Walker } from './interpreter.ts';
import { StepFailed } from './port.ts';
import { frameOf, type WaitCursor } from './state.ts';

/** Longer waits are a mistake in an expression. */
const longestWaitMs = 366 * 86_400_000;

/**
 * Waits for a time, or looks at a condition again and again until it holds. A time that has passed is not waited for.
 * Throws `timeout` when the condition does not hold by its deadline, `invalid` for what is no time.
 */
export async function walkWait(walker: Walker, block: WaitBlock, place: Place): Promise<Json> {
  await walker.checkpoint();
  const { waits } = frameOf(walker.state, place.instance);
  waits[block.path] ??= beginWait(walker, block, place);
  const cursor = waits[block.path]!;
  if (block.poll === null) await sleepUntil(walker, block, place, cursor.untilMs, cursor.untilMs);
  else await pollUntil(walker, block, block.poll, place, cursor);
  delete waits[block.path];
  const step = trailOf(place, block);
  walker.report({ step, state: 'done', done: cursor.polls, total: cursor.polls, bytes: 0, failed: 0 });
  const endedMs = block.poll === null ? cursor.untilMs : walker.port.now();
  return { until: new Date(endedMs).toISOString(), polls: cursor.polls };
}

function beginWait(walker: Walker, block: WaitBlock, place: Place): WaitCursor {
  const nowMs = walker.port.now();
  if (block.poll !== null) return { untilMs: nowMs + block.poll.deadlineMs, polls: 0, nextMs: nowMs };
  const given = block.for === null ? evaluate(block.until!, place.scope) : fill(block.for, place.scope);
  const durationMs = typeof given === 'string' ? parseDurationMs(given) : undefined;
  const untilMs = durationMs === undefined ? timeOf(given) : nowMs + durationMs;
  if (untilMs - nowMs > longestWaitMs)
    throw new WaybillError('invalid', `the wait until ${tell(untilMs)} is longer than 366 days`);
  return { untilMs, polls: 0, nextMs: untilMs };
}

/** A time with its zone; a date without time is the midnight, UTC, at which it begins. */
function timeOf(value: Json): number {
  const text = typeof value === 'string' && /^\d{4}-\d{2}-\d{2}$/.test(value) ? `${value}T00:00:00Z` : value;
  const timeMs = typeof text === 'string' ? parseInstantMs(text) : undefined;
  if (timeMs === undefined)
    throw new WaybillError(
      'invalid',
      `${JSON.stringify(value).slice(0, 100)} is no duration (30s, 5m, 2h, 7d) and no time with its zone (2026-11-22T18:00:00Z)`,
    );
  return timeMs;
}

async function pollUntil(
  walker: Walker,
  block: WaitBlock,
  poll: WaitPoll,
  place: Place,
  cursor: WaitCursor,
): Promise<void> {
  for (;;) {
    await sleepUntil(walker, block, place, cursor.nextMs, cursor.untilMs);
    if (await look(walker, block, poll, place, cursor)) return;
    const nowMs = walker.port.now();
    if (nowMs + poll.everyMs > cursor.untilMs)
      throw new StepFailed({
        kind: 'timeout',
        message: `${block.until} did not hold within ${Math.round(poll.deadlineMs / 1000)} s (looked ${cursor.polls} times)`,
        step: trailOf(place, block),
        endpoint: null,
        path: null,
      });
    cursor.nextMs = nowMs + poll.everyMs;
  }
}

/** One look: the steps, then the condition. It is a unit of its own: what it did is undone when it fails, and only then. */
async function look(
  walker: Walker,
  block: WaitBlock,
  poll: WaitPoll,
  place: Place,
  cursor: WaitCursor,
): Promise<boolean> {
  const instance = `${place.instance}${block.path}~${cursor.polls}/`;
  const failure = await walker.unit(
    () => walker.blocks(poll.steps, { ...place, instance, trail: trailOf(place, block) }),
    [],
    { ...place, instance },
  );
  const { outcomes } = frameOf(walker.state, instance);
  delete walker.state.frames[instance];
  if (failure !== null) throw new StepFailed(failure);
  // What the last look gave is seen by the steps after the wait, also in another history.
  Object.assign(frameOf(walker.state, place.instance).outcomes, outcomes);
  const holds = evaluateCondition(block.until!, place.scope);
  cursor.polls++;
  return holds;
}

async function sleepUntil(
  walker: Walker,
  block: WaitBlock,
  place: Place,
  timeMs: number,
  lastMs: number,
): Promise<void> {
  const { port } = walker;
  const step = trailOf(place, block);
  const { polls } = frameOf(walker.state, place.instance).waits[block.path]!;
  const waitsFor = block.poll === null ? `until ${tell(timeMs)}` : `${block.until}, until ${tell(lastMs)}`;
  walker.report({ step, state: 'waiting', done: polls, total: polls, bytes: 0, failed: 0, waitsFor });
  if (timeMs <= port.now()) return walker.checkpoint();
  const own = walker.summary(block, place);
  const worded = block.poll === null ? `wait until ${tell(timeMs)}` : `look again at ${tell(timeMs)} (${block.until})`;
  await walker.unlessSuspended(port.sleepUntil(timeMs, (own ?? worded).slice(0, 200)));
  await walker.checkpoint();
}

/** `2026-11-22 18:00:00Z` */
function tell(timeMs: number): string {
  return new Date(timeMs)
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, 'Z');
}
