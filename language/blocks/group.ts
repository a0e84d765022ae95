import type { GroupBlock } from '../../schema/plan.ts';
import type { Located } from '../source.ts';
import { checkBase } from './base.ts';
import { type BlockScope, type CheckedBlock, idOf, listOf, type PipelineContext, within } from './context.ts';

/** `steps:` with an optional `if:` and `else:`. */
export function checkGroup(block: Located, path: string, scope: BlockScope, context: PipelineContext): CheckedBlock {
  const { report, checkBlocks } = context;
  const otherwise = block.entries!.get('else');
  if (otherwise && !block.entries!.has('if'))
    report.add('MISSING_KEY', otherwise.key, '`else` needs an `if` beside it');
  idOf(block, report);
  const inner = within(scope, { mayGroup: lintEffect(block, scope, context) });
  const then = checkBlocks(listOf(block, 'steps'), `${path}.steps`, inner, context);
  const other = checkBlocks(listOf(block, 'else'), `${path}.else`, within(scope), context);
  const steps = { ...then.steps, ...other.steps };
  const compiled: GroupBlock = {
    kind: 'group',
    ...checkBase(block, path, scope, { failed: steps, done: steps }, context),
    steps: then.blocks,
    else: other.blocks,
  };
  return { block: compiled, steps };
}

/** A branch may need a group to have several steps; elsewhere one that says nothing is probably a slip. Gives whether it warned. */
function lintEffect(block: Located, scope: BlockScope, { report }: PipelineContext): boolean {
  const [only] = block.entries!;
  const isPlain = block.entries!.size === 1 && only?.[0] === 'steps';
  if (isPlain && !scope.mayGroup)
    report.add(
      'GROUP_WITHOUT_EFFECT',
      only[1].key,
      'this group changes nothing: its steps could stand in its place',
      'move its steps out, or give it an `if`, `onError` or `compensate`',
    );
  return isPlain;
}
