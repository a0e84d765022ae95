import { pipelineDefaults } from '../../schema/pipeline.ts';
import type { Block, ParallelBlock } from '../../schema/plan.ts';
import type { ScopeFields } from '../scope.ts';
import type { Located } from '../source.ts';
import { checkBase } from './base.ts';
import {
  type BlockScope,
  type CheckedBlock,
  idOf,
  isTrue,
  listOf,
  numberOf,
  type PipelineContext,
  within,
} from './context.ts';
import { widen } from './width.ts';

/** Branches see what ran before the block, not each other; after it all of them can be named. */
export function checkParallel(block: Located, path: string, scope: BlockScope, context: PipelineContext): CheckedBlock {
  const list = listOf(block, 'parallel');
  const branches = list?.items ?? [];
  const maxParallel = numberOf(block, 'maxParallel') ?? Math.max(1, branches.length);
  idOf(block, context.report);
  const inner = within(scope, {
    mayGroup: true,
    width: widen(scope, Math.min(maxParallel, branches.length), block, 'parallel', context),
  });
  const blocks: Block[] = [];
  let steps: ScopeFields = scope.steps;
  for (const [index, branch] of branches.entries()) {
    const one: Located = { ...list!, items: [branch] };
    const checked = context.checkBlocks(one, `${path}.parallel`, { ...inner, firstIndex: index }, context);
    steps = { ...steps, ...checked.steps };
    blocks.push(...checked.blocks);
  }
  const compiled: ParallelBlock = {
    kind: 'parallel',
    ...checkBase(block, path, scope, { failed: steps, done: steps }, context),
    branches: blocks,
    maxParallel,
    failFast: block.entries!.has('failFast') ? isTrue(block, 'failFast') : pipelineDefaults.failFast,
  };
  return { block: compiled, steps };
}
