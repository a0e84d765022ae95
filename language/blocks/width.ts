import type { Located } from '../source.ts';
import { type BlockScope, numberOf, type PipelineContext } from './context.ts';

/** More at the same time than most servers bear: `limits.concurrency` of the endpoints would have to hold them back. */
const manyAtOnce = 100;

/** How many may run at the same time within a block that runs `own` of its parts at once. Warns where it becomes many. */
export function widen(
  scope: BlockScope,
  own: number,
  block: Located,
  key: 'parallel' | 'forEach',
  { report }: PipelineContext,
): number {
  const width = scope.width * Math.max(1, own);
  if (scope.width <= manyAtOnce && width > manyAtOnce) {
    const said = numberOf(block, 'maxParallel') !== undefined;
    report.add(
      'MANY_AT_ONCE',
      block.entries!.get(said ? 'maxParallel' : key)!.key,
      `up to ${width} steps run at the same time here`,
      said ? 'say a smaller `maxParallel`, here or around it' : 'say `maxParallel`',
    );
  }
  return width;
}
