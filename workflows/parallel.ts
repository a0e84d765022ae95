import type { Block, Failure, Json, ParallelBlock } from '../schema/plan.ts';
import { failureOf, type Place, Suspended, type Walker } from './interpreter.ts';
import { StepFailed } from './port.ts';

/**
 * Runs the branches at the same time, `maxParallel` at most. A branch that fails does not stop the others, unless
 * `failFast` says so: those that run are then cancelled, and those that have not begun never do. Fails with the failure of
 * the first branch in the order of the file.
 */
export async function walkParallel(walker: Walker, block: ParallelBlock, place: Place): Promise<Json> {
  const failures = new Map<number, Failure>();
  const running = new Map<number, { task: Promise<void>; cancel(): void }>();
  let broken: { error: unknown } | null = null;
  let stopped = false;

  function note(index: number, error: unknown): void {
    if (error instanceof Suspended) return;
    const failure = failureOf(error);
    failures.set(index, failure);
    if (failure.kind === 'cancelled' || !block.failFast || stopped) return;
    stopped = true;
    for (const other of running.values()) other.cancel();
  }

  function start(index: number, branch: Block): void {
    const { result, cancel } = walker.port.cancellable(() => walker.block(branch, place));
    const task = result
      .then(
        () => undefined,
        (error: unknown) => note(index, error),
      )
      .catch((error: unknown) => {
        broken ??= { error };
      })
      .finally(() => running.delete(index));
    running.set(index, { task, cancel });
  }

  // What ended before a suspension is known again before anything begins: a failure among it may stop the rest.
  const outcomes = walker.state.frames[place.instance]?.outcomes ?? {};
  const left = [...block.branches.entries()].filter(([, { path }]) => outcomes[path] === undefined);
  for (const [index, branch] of block.branches.entries())
    if (outcomes[branch.path] !== undefined)
      await walker.block(branch, place).catch((error: unknown) => note(index, error));
  for (const [index, branch] of left) {
    while (running.size >= block.maxParallel) await Promise.race([...running.values()].map(({ task }) => task));
    if (walker.suspending || broken !== null) break;
    // A branch that is not taken up again has left what its compensations read.
    if (stopped) walker.rememberWithin(branch, place);
    else start(index, branch);
  }
  await Promise.all([...running.values()].map(({ task }) => task));
  if (broken !== null) throw (broken as { error: unknown }).error;
  if (walker.suspending) throw new Suspended();
  const inOrder = [...failures].sort(([left], [right]) => left - right).map(([, failure]) => failure);
  const first = inOrder.find(({ kind }) => kind !== 'cancelled') ?? inOrder[0];
  if (first !== undefined) throw new StepFailed(first);
  return null;
}
