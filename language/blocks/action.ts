import { type ActionManifest, actions, defaultRetry, findAction, isIdempotent } from '../../schema/actions.ts';
import { errorKinds } from '../../schema/errors.ts';
import type { RetrySettings, TimeoutSettings } from '../../schema/pipeline.ts';
import type { ActionBlock, Json, RetryPolicy, Tolerance } from '../../schema/plan.ts';
import { checkTemplate } from '../checking.ts';
import { compileRetry, compileTimeout, settingsOf } from '../compile.ts';
import { didYouMean } from '../expressions.ts';
import { lintSelection, lintTransfer, noteSource } from '../lints.ts';
import type { Report } from '../report.ts';
import { outputType } from '../scope.ts';
import type { Located } from '../source.ts';
import { checkStepInput } from '../stepInput.ts';
import { checkBase } from './base.ts';
import {
  asExpressionScope,
  type BlockScope,
  type CheckedBlock,
  idOf,
  type PipelineContext,
  withStep,
} from './context.ts';
import { checkTolerance } from './tolerance.ts';

/** `use:` with the input of the action. */
export function checkAction(block: Located, path: string, scope: BlockScope, context: PipelineContext): CheckedBlock {
  const { report } = context;
  const use = block.entries!.get('use')!.value;
  const action = typeof use.value === 'string' ? findAction(use.value) : undefined;
  if (!action) reportUnknownAction(use, report);
  const id = idOf(block, report);
  if (action?.transfers && !block.entries!.has('id')) {
    report.add(
      'STEP_NEEDS_ID',
      use.range,
      `a step that uses ${action.use} needs an id`,
      'add `id:`; its deliveries are shown under it',
    );
  }
  const input = block.entries!.get('with')?.value;
  const stepInput = action ? checkInput(input, block, action, scope, context) : checkLoose(input, scope, context);
  const steps = withStep(scope.steps, id, action ? outputType(action.output) : 'dyn');
  const base = checkBase(block, path, scope, { failed: scope.steps, done: steps }, context);
  const tolerate = checkActionTolerance(block, action, report);
  if (!action) return { block: null, steps };
  const retry = compileRetry(
    defaultRetry(action, stepInput),
    context.defaults.retry,
    settingsOf<RetrySettings>(block, 'retry'),
  );
  lintRetry(block, action, stepInput, retry, report);
  lintCompensation(block, action, report);
  const compiled: ActionBlock = {
    kind: 'action',
    ...base,
    use: action.use,
    with: stepInput,
    retry,
    timeout: compileTimeout(action, context.defaults.timeout, settingsOf<TimeoutSettings>(block, 'timeout')),
    tolerate,
    head: 0,
  };
  noteSource(compiled, block, scope, context);
  return { block: compiled, steps };
}

function checkInput(
  input: Located | undefined,
  block: Located,
  action: ActionManifest,
  scope: BlockScope,
  context: PipelineContext,
): Record<string, Json> {
  const required = action.input.required ?? [];
  if (!input || input.value === null) {
    if (required.length > 0)
      context.report.add(
        'MISSING_KEY',
        block.entries!.get('use')!.value.range,
        `${action.use} needs \`with:\` (${required.join(', ')})`,
      );
    return {};
  }
  if (!input.entries) return {};
  const compiled = checkStepInput(input, action, { ...context, scope: asExpressionScope(scope, context) });
  if (action.transfers) lintTransfer(input, compiled, context.aliases, context.report);
  lintSelection(input, context.report);
  return compiled;
}

/** The expressions in the `with` of a step whose action is not known: one mistake should not hide the others. */
function checkLoose(input: Located | undefined, scope: BlockScope, context: PipelineContext): Record<string, Json> {
  const visit = (value: Located): void => {
    if (typeof value.value === 'string') checkTemplate(value, asExpressionScope(scope, context), context.report);
    for (const entry of value.entries?.values() ?? []) visit(entry.value);
    for (const item of value.items ?? []) visit(item);
  };
  if (input) visit(input);
  return {};
}

function reportUnknownAction(use: Located, report: Report): void {
  if (typeof use.value !== 'string') return;
  const [name, major] = use.value.split('@');
  const versions = actions.filter((action) => action.use.startsWith(`${name}@`)).map((action) => action.use);
  if (versions.length > 0) {
    const message =
      major === undefined
        ? `"${name}" needs its major version`
        : `there is no version ${major.slice(0, 20)} of ${name}`;
    report.add('UNKNOWN_ACTION', use.range, message, `write ${versions.at(-1)}`);
    return;
  }
  const names = actions.map((action) => action.use);
  report.add(
    'UNKNOWN_ACTION',
    use.range,
    `there is no action "${use.value.slice(0, 100)}"`,
    didYouMean(use.value, names) ??
      didYouMean(
        name!,
        names.map((known) => known.split('@')[0]!),
      ) ??
      `known actions: ${names.join(', ')}`,
  );
}

function checkActionTolerance(block: Located, action: ActionManifest | undefined, report: Report): Tolerance | null {
  const tolerance = checkTolerance(block, report);
  const entry = block.entries!.get('tolerate');
  if (entry && action && !action.transfers)
    report.add(
      'MISPLACED_KEY',
      entry.key,
      `${action.use} has no files that could fail one by one`,
      'put `tolerate` on a loop or a transfer',
    );
  return tolerance;
}

/** Only what reads can be left as it is. */
function lintCompensation(block: Located, action: ActionManifest, report: Report): void {
  const entry = block.entries!.get('compensate');
  if (entry && readingActions.includes(action.use))
    report.add('NOTHING_TO_UNDO', entry.key, `${action.use} only reads: there is nothing to undo`);
}

const readingActions: readonly string[] = ['files.list@1', 'files.stat@1', 'files.read@1'];

function lintRetry(
  block: Located,
  action: ActionManifest,
  input: Record<string, Json>,
  policy: RetryPolicy,
  report: Report,
): void {
  const retry = block.entries!.get('retry');
  const isRaised = policy.attempts !== 1 && defaultRetry(action, input).attempts === 1;
  if (isRaised && !isIdempotent(action, input))
    report.add(
      'RETRY_NOT_IDEMPOTENT',
      retry?.key ?? block.entries!.get('use')!.value.range,
      `${action.use} may do its work again with each attempt`,
      'write `retry: { attempts: 1 }`, unless twice does no harm',
    );
  const notOn = block.entries!.get('retry')?.value.entries?.get('notOn')?.value;
  for (const kind of notOn?.items ?? []) {
    if (
      typeof kind.value === 'string' &&
      Object.hasOwn(errorKinds, kind.value) &&
      !(action.errorKinds as readonly string[]).includes(kind.value)
    ) {
      report.add('UNUSED_RETRY_KIND', kind.range, `${action.use} never fails with "${kind.value.slice(0, 60)}"`);
    }
  }
}
