import { pipelineDefaults } from '../../schema/pipeline.ts';
import type { ForEachBlock } from '../../schema/plan.ts';
import { checkBare } from '../checking.ts';
import { typeWords } from '../expressions.ts';
import { checkIdentifier } from '../names.ts';
import { fileFactType, loopOutputType, type ScopeType } from '../scope.ts';
import type { Located } from '../source.ts';
import { checkBase } from './base.ts';
import {
  asExpressionScope,
  type BlockScope,
  type CheckedBlock,
  idOf,
  isTrue,
  listOf,
  numberOf,
  type PipelineContext,
  textOf,
  within,
  withStep,
} from './context.ts';
import { checkTolerance } from './tolerance.ts';
import { widen } from './width.ts';

/** A loop over a list or a file set. */
export function checkForEach(block: Located, path: string, scope: BlockScope, context: PipelineContext): CheckedBlock {
  const { report } = context;
  const items = textOf(block, 'forEach');
  const checked = items ? checkBare(items, asExpressionScope(scope, context), report) : null;
  let element: ScopeType = 'dyn';
  if (checked?.type === 'file set') element = fileFactType;
  else if (checked?.type === 'list') element = checked.elements;
  else if (checked && checked.type !== 'any')
    report.add(
      'TYPE_MISMATCH',
      items!.range,
      `a loop needs a list or a file set, not ${typeWords(checked.type)}`,
      fileSetHint(checked.cel, scope),
    );
  const as = block.entries!.get('as')?.value;
  const variable = typeof as?.value === 'string' ? as.value : pipelineDefaults.as;
  const named = as ? checkIdentifier(as.value, as.range, report, true) : true;
  if (named && Object.hasOwn(scope.roots, variable)) {
    const at = as ? as.range : block.entries!.get('forEach')!.key;
    report.add(
      'DUPLICATE_NAME',
      at,
      `"${variable}" is already the variable of a loop around this one`,
      'name this one with `as:`',
    );
  }
  const roots = named ? { ...scope.roots, [variable]: element } : scope.roots;
  const id = idOf(block, report);
  const maxParallel = numberOf(block, 'maxParallel') ?? pipelineDefaults.maxParallel;
  const inner = within(scope, { roots, loop: path, width: widen(scope, maxParallel, block, 'forEach', context) });
  const body = context.checkBlocks(listOf(block, 'steps'), `${path}.steps`, inner, context);
  const steps = withStep(scope.steps, id, loopOutputType(element));
  const compiled: ForEachBlock = {
    kind: 'forEach',
    ...checkBase(block, path, scope, { failed: body.steps, done: steps, roots }, context),
    items: checked?.cel ?? '',
    as: variable,
    maxParallel,
    tolerate: checkTolerance(block, report),
    failFast: block.entries!.has('failFast') ? isTrue(block, 'failFast') : pipelineDefaults.failFast,
    head: 0,
    steps: body.blocks,
  };
  return { block: compiled, steps };
}

function fileSetHint(cel: string, scope: BlockScope): string | undefined {
  const id = /^steps\.([A-Za-z0-9_]+)$/.exec(cel)?.[1];
  const output = id !== undefined && Object.hasOwn(scope.steps, id) ? scope.steps[id] : undefined;
  return typeof output === 'object' && 'files' in output && typeof output.files === 'object'
    ? `use ${cel}.files`
    : undefined;
}
