import { checkCondition, checkTemplate } from '../checking.ts';
import { checkErrorKinds, errorKindsOf } from '../errorKinds.ts';
import { errorType, type ScopeFields } from '../scope.ts';
import type { Located } from '../source.ts';
import { asExpressionScope, type BlockScope, listOf, type PipelineContext, textOf, within } from './context.ts';

/** What the lists of a block that are for later can name. */
export interface LaterScopes {
  /** When it has failed: what ran before it and in it. */
  failed: ScopeFields;
  /** When it has succeeded: its outputs too. */
  done: ScopeFields;
  /** With the variable of a loop, whose `onError` is for one item. */
  roots?: ScopeFields;
}

/** What every block has. */
export function checkBase(
  block: Located,
  path: string,
  scope: BlockScope,
  { failed, done, roots = scope.roots }: LaterScopes,
  context: PipelineContext,
) {
  const id = block.entries!.get('id')?.value.value;
  const summary = textOf(block, 'summary');
  const onError = within(scope, {
    roots: { ...roots, error: errorType },
    steps: failed,
    handler: 'onError',
    isEntry: true,
    errorKinds: errorKindsOf([block]),
  });
  const compensate = within(scope, {
    roots: { ...scope.roots, error: errorType },
    steps: done,
    handler: 'compensate',
    errorKinds: null,
  });
  reportMisplaced(block, scope, context);
  return {
    path,
    id: typeof id === 'string' ? id : null,
    if: compileCondition(block, scope, context),
    onError: context.checkBlocks(listOf(block, 'onError'), `${path}.onError`, onError, context).blocks,
    compensate: context.checkBlocks(listOf(block, 'compensate'), `${path}.compensate`, compensate, context).blocks,
    summary: summary ? checkTemplate(summary, asExpressionScope(scope, context), context.report).text : null,
  };
}

/** `when` says which failures a step of an onError list is for, `if` whether it runs at all: the plan has one condition. */
function compileCondition(block: Located, scope: BlockScope, context: PipelineContext): string | null {
  const conditions = ['when', 'if'].flatMap((key) => {
    const text = textOf(block, key);
    if (!text) return [];
    if (scope.errorKinds !== undefined) checkErrorKinds(text, scope.errorKinds, context.report);
    return [checkCondition(text, asExpressionScope(scope, context), context.report)];
  });
  return conditions.length > 1 ? conditions.map((cel) => `(${cel})`).join(' && ') : (conditions[0] ?? null);
}

function reportMisplaced(block: Located, scope: BlockScope, { report }: PipelineContext): void {
  const when = block.entries!.get('when');
  if (when && !scope.isEntry)
    report.add(
      'MISPLACED_KEY',
      when.key,
      '`when` belongs to the steps that stand directly in an onError list',
      'write `if`',
    );
  else if (when && block.entries!.has('else'))
    report.add(
      'MISPLACED_KEY',
      when.key,
      '`when` and `else` cannot stand together: it would not be clear what `else` is for',
      'put the group with `else` into a group with `when`',
    );
  const compensate = block.entries!.get('compensate');
  if (compensate && scope.handler)
    report.add(
      'MISPLACED_KEY',
      compensate.key,
      `what stands in \`${scope.handler}\` is not undone: it runs when the outcome is settled`,
    );
}
