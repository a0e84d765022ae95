import { pipelineDefaults, pipelineLimits } from '../../schema/pipeline.ts';
import type { WaitBlock, WaitPoll } from '../../schema/plan.ts';
import { parseDurationMs, parseInstantMs } from '../../schema/quantities.ts';
import { checkBare, checkTemplate } from '../checking.ts';
import { typeWords } from '../expressions.ts';
import { waitOutputType } from '../scope.ts';
import type { Located } from '../source.ts';
import { hasExpression } from '../template.ts';
import { checkBase } from './base.ts';
import {
  asExpressionScope,
  type BlockScope,
  type CheckedBlock,
  type CheckedBlocks,
  idOf,
  listOf,
  type PipelineContext,
  textOf,
  within,
  withStep,
} from './context.ts';

/** `wait: 30s`, a time, `{ until }`, or `{ until, every, deadline, steps }`. */
export function checkWait(block: Located, path: string, scope: BlockScope, context: PipelineContext): CheckedBlock {
  const wait = block.entries!.get('wait')!.value;
  const id = idOf(block, context.report);
  const polled = context.checkBlocks(listOf(wait, 'steps'), `${path}.wait.steps`, within(scope), context);
  const steps = withStep(polled.steps, id, waitOutputType);
  const base = checkBase(block, path, scope, { failed: polled.steps, done: steps }, context);
  const compiled: WaitBlock = {
    kind: 'wait',
    ...base,
    for: typeof wait.value === 'string' ? checkFor(wait, scope, context) : null,
    until: checkUntil(wait, { ...scope, steps: polled.steps }, context),
    poll: compilePoll(wait, polled, context),
  };
  return { block: compiled, steps };
}

function checkFor(wait: Located, scope: BlockScope, context: PipelineContext): string {
  const { type, text } = checkTemplate(wait, asExpressionScope(scope, context), context.report);
  if (type !== 'text' && type !== 'any') {
    const message = `a wait needs a duration or a time with its zone, but the expression gives ${typeWords(type)}`;
    const hint = type === 'integer' || type === 'number' ? 'write the unit behind it: ${{ ... }}s' : undefined;
    context.report.add('TYPE_MISMATCH', wait.range, message, type === 'bool' ? conditionHint : hint);
  }
  // That it must not be empty has been said.
  if (text !== '' && !hasExpression(text)) reportNoTime(wait, text, context);
  return text;
}

const conditionHint = 'to wait for a condition, write wait: { until, every, deadline, steps }';

function reportNoTime(wait: Located, text: string, { report }: PipelineContext): void {
  const durationMs = parseDurationMs(text);
  if (durationMs !== undefined) {
    if (durationMs > pipelineLimits.waitMs)
      report.add('INVALID_VALUE', wait.range, `a wait takes ${longestWait} at most`, 'wait for a time, in steps');
    return;
  }
  if (parseInstantMs(text) !== undefined) return;
  const hint = /^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?$/.test(text)
    ? `name the zone: "${text.replace(' ', 'T')}Z" or "${text.replace(' ', 'T')}+01:00"`
    : /^\d{1,2}:\d{2}(:\d{2})?$/.test(text)
      ? 'a time of day needs its date and zone; with an expression: "${{ run.date }}T18:00:00Z"'
      : undefined;
  const message = 'a wait needs a duration such as 30s, or a time with its zone such as 2026-11-22T18:00:00+01:00';
  report.add('INVALID_VALUE', wait.range, message, hint);
}

const longestWait = `${pipelineLimits.waitMs / 86_400_000}d`;

function checkUntil(wait: Located, scope: BlockScope, context: PipelineContext): string | null {
  const until = textOf(wait, 'until');
  if (!until) return null;
  const { report } = context;
  const checked = checkBare(until, asExpressionScope(scope, context), report);
  const isPoll = wait.entries!.has('steps');
  const wanted = isPoll ? 'bool' : 'text';
  if (checked.type === wanted || checked.type === 'any') return checked.cel;
  if (!isPoll && checked.type === 'bool') {
    // What is missing beside `every` or `deadline` is told there.
    if (!wait.entries!.has('every') && !wait.entries!.has('deadline'))
      report.add('MISSING_KEY', until.range, 'a condition needs `steps` that it is looked at after', conditionHint);
  } else {
    const words = isPoll ? 'beside `steps`, `until` must give true or false' : '`until` must give a time with its zone';
    report.add('TYPE_MISMATCH', until.range, `${words}, not ${typeWords(checked.type)}`);
  }
  return checked.cel;
}

function compilePoll(wait: Located, { blocks }: CheckedBlocks, { report }: PipelineContext): WaitPoll | null {
  const entries = wait.entries;
  const steps = entries?.get('steps');
  if (!entries || !steps) {
    for (const key of ['every', 'deadline'] as const)
      if (entries?.has(key))
        report.add(
          'MISSING_KEY',
          entries.get(key)!.key,
          `\`${key}\` needs \`steps\` beside it: what is to be looked at`,
        );
    return null;
  }
  if (!entries.has('every'))
    report.add('MISSING_KEY', steps.key, '`steps` of a wait need `every` beside them', 'such as every: 30s');
  if (!entries.has('deadline'))
    report.add(
      'WAIT_WITHOUT_DEADLINE',
      entries.get('until')?.key ?? steps.key,
      `this wait gives up after ${pipelineDefaults.waitDeadlineMs / 3_600_000} hours, which is not said`,
      'say `deadline:`',
    );
  const everyMs = durationOf(wait, 'every');
  const deadlineMs = durationOf(wait, 'deadline') ?? pipelineDefaults.waitDeadlineMs;
  if (everyMs !== undefined && everyMs < pipelineLimits.pollEveryMs)
    report.add('INVALID_VALUE', entries.get('every')!.value.range, 'every must be 1s or more');
  if (deadlineMs > pipelineLimits.waitMs)
    report.add('INVALID_VALUE', entries.get('deadline')!.value.range, `deadline must be ${longestWait} or less`);
  if (everyMs !== undefined && everyMs > deadlineMs)
    report.add('INVALID_VALUE', entries.get('every')!.value.range, 'every must not be longer than the deadline');
  return { everyMs: everyMs ?? pipelineLimits.pollEveryMs, deadlineMs, steps: blocks };
}

function durationOf(wait: Located, key: 'every' | 'deadline'): number | undefined {
  const text = textOf(wait, key)?.value;
  return typeof text === 'string' ? parseDurationMs(text) : undefined;
}
