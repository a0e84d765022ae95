import { Type } from 'typebox';
import { type ActionManifest, actions, findAction } from '../schema/actions.ts';
import { errorKinds } from '../schema/errors.ts';
import {
  pipelineDefaults,
  pipelineLimits,
  pipelineSchemas,
  type RetrySettings,
  type TimeoutSettings,
  unavailableKeys,
} from '../schema/pipeline.ts';
import type { ActionBlock, Block, ForEachBlock, GroupBlock, Json } from '../schema/plan.ts';
import { checkBare, checkCondition, checkTemplate } from './checking.ts';
import { compileRetry, compileTimeout } from './compile.ts';
import { didYouMean, typeWords } from './expressions.ts';
import { lintTransfer } from './lints.ts';
import { checkIdentifier } from './names.ts';
import type { Report } from './report.ts';
import { checkSchema } from './schemaCheck.ts';
import { errorType, fileFactType, loopOutputType, outputType, type ScopeFields, type ScopeType } from './scope.ts';
import type { Located } from './source.ts';
import { checkStepInput } from './stepInput.ts';

/** What all blocks of a pipeline share. */
export interface PipelineContext {
  report: Report;
  aliases: Readonly<Record<string, string>>;
  usedAliases: Set<string>;
  allSteps: ReadonlySet<string>;
  defaults: { retry?: RetrySettings | undefined; timeout?: TimeoutSettings | undefined };
}

/** What can be named at a block: `roots` without `steps`, and the outputs of the steps that have run there. */
export interface BlockScope {
  roots: ScopeFields;
  steps: ScopeFields;
}

/** The schema of one level: nested blocks are looked at when it is their turn. */
export const levelSchemas = pipelineSchemas((description) =>
  Type.Array(Type.Unknown(), { minItems: 1, maxItems: pipelineLimits.steps, description }),
);

/** Checks a list of blocks in order and compiles it. Gives the outputs that are known after it. */
export function checkBlocks(
  list: Located | undefined,
  path: string,
  scope: BlockScope,
  context: PipelineContext,
): { blocks: Block[]; steps: ScopeFields } {
  const blocks: Block[] = [];
  let steps = scope.steps;
  for (const [index, block] of (list?.items ?? []).entries()) {
    const checked = checkBlock(block, `${path}[${index}]`, { roots: scope.roots, steps }, context);
    steps = checked.steps;
    if (checked.block) blocks.push(checked.block);
  }
  return { blocks, steps };
}

interface CheckedBlock {
  block: Block | null;
  steps: ScopeFields;
}

function checkBlock(block: Located, path: string, scope: BlockScope, context: PipelineContext): CheckedBlock {
  const { report } = context;
  if (!block.entries) {
    report.add('INVALID_VALUE', block.range, 'a step must be a mapping with `use`, `forEach` or `steps`');
    return { block: null, steps: scope.steps };
  }
  const keys = block.entries;
  const kind = keys.has('use')
    ? 'action'
    : keys.has('forEach')
      ? 'forEach'
      : keys.has('steps') || keys.has('else')
        ? 'group'
        : null;
  if (kind === null) return { block: null, steps: reportKindless(block, scope, context) };
  if (kind === 'action' && (keys.has('forEach') || keys.has('steps'))) {
    const other = keys.has('forEach') ? 'forEach' : 'steps';
    report.add('AMBIGUOUS_STEP', keys.get(other)!.key, `a step has either \`use\` or \`${other}\`, not both`);
    return { block: null, steps: scope.steps };
  }
  checkSchema(block, levelSchemas[kind], report, { unavailable: unavailableKeys.step! });
  if (kind === 'action') return checkAction(block, path, scope, context);
  return kind === 'forEach' ? checkForEach(block, path, scope, context) : checkGroup(block, path, scope, context);
}

function reportKindless(block: Located, scope: BlockScope, { report }: PipelineContext): ScopeFields {
  const known = ['use', 'forEach', 'steps', 'with', 'id', 'if', 'retry', 'timeout', 'onError', 'summary'];
  for (const [name, { key }] of block.entries ?? []) {
    if (known.includes(name)) continue;
    if (unavailableKeys.step!.includes(name))
      report.add('NOT_AVAILABLE', key, `"${name}" is not available in this version of Waybill`);
    else report.add('UNKNOWN_KEY', key, `unknown key "${name.slice(0, 100)}"`, didYouMean(name, known));
  }
  const first = block.entries?.values().next().value;
  report.add(
    'AMBIGUOUS_STEP',
    first ? first.key : block.range,
    'a step needs `use` (an action), `forEach` (a loop) or `steps` (a group)',
  );
  return scope.steps;
}

function checkAction(block: Located, path: string, scope: BlockScope, context: PipelineContext): CheckedBlock {
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
  const expressionScope = asExpressionScope(scope, context);
  const stepInput = action ? checkInput(input, block, action, scope, context) : checkLoose(input, scope, context);
  const summary = textOf(block, 'summary');
  if (action) lintRetry(block, action, report);
  const compiled: ActionBlock | null = action
    ? {
        kind: 'action',
        ...checkBase(block, path, scope, scope.steps, context),
        use: action.use,
        with: stepInput,
        retry: compileRetry(action, context.defaults.retry, settingsOf<RetrySettings>(block, 'retry')),
        timeout: compileTimeout(action, context.defaults.timeout, settingsOf<TimeoutSettings>(block, 'timeout')),
        summary: summary ? checkTemplate(summary, expressionScope, report).text : null,
      }
    : null;
  if (!action) checkBase(block, path, scope, scope.steps, context);
  return { block: compiled, steps: withStep(scope.steps, id, action ? outputType(action.output) : 'dyn') };
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
  if (action.transfers) lintTransfer(input, compiled, context.report);
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

function lintRetry(block: Located, action: ActionManifest, report: Report): void {
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

function checkForEach(block: Located, path: string, scope: BlockScope, context: PipelineContext): CheckedBlock {
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
  const body = checkBlocks(listOf(block, 'steps'), `${path}.steps`, { roots, steps: scope.steps }, context);
  const compiled: ForEachBlock = {
    kind: 'forEach',
    ...checkBase(block, path, scope, body.steps, context, roots),
    items: checked?.cel ?? '',
    as: variable,
    maxParallel: numberOf(block, 'maxParallel') ?? pipelineDefaults.maxParallel,
    steps: body.blocks,
  };
  return { block: compiled, steps: withStep(scope.steps, id, loopOutputType) };
}

function fileSetHint(cel: string, scope: BlockScope): string | undefined {
  const id = /^steps\.([A-Za-z0-9_]+)$/.exec(cel)?.[1];
  const output = id !== undefined && Object.hasOwn(scope.steps, id) ? scope.steps[id] : undefined;
  return typeof output === 'object' && 'files' in output && typeof output.files === 'object'
    ? `use ${cel}.files`
    : undefined;
}

function checkGroup(block: Located, path: string, scope: BlockScope, context: PipelineContext): CheckedBlock {
  const { report } = context;
  const otherwise = block.entries!.get('else');
  if (otherwise && !block.entries!.has('if'))
    report.add('MISSING_KEY', otherwise.key, '`else` needs an `if` beside it');
  idOf(block, report);
  const then = checkBlocks(listOf(block, 'steps'), `${path}.steps`, scope, context);
  const other = checkBlocks(listOf(block, 'else'), `${path}.else`, scope, context);
  const steps = { ...then.steps, ...other.steps };
  const compiled: GroupBlock = {
    kind: 'group',
    ...checkBase(block, path, scope, steps, context),
    steps: then.blocks,
    else: other.blocks,
  };
  return { block: compiled, steps };
}

/** What every block has. Its `onError` sees what ran before it and in it, the loop variable, and `error`. */
function checkBase(
  block: Located,
  path: string,
  scope: BlockScope,
  inner: ScopeFields,
  context: PipelineContext,
  roots: ScopeFields = scope.roots,
) {
  const condition = textOf(block, 'if');
  const id = block.entries!.get('id')?.value.value;
  return {
    path,
    id: typeof id === 'string' ? id : null,
    if: condition ? checkCondition(condition, asExpressionScope(scope, context), context.report) : null,
    onError: checkBlocks(
      listOf(block, 'onError'),
      `${path}.onError`,
      { roots: { ...roots, error: errorType }, steps: inner },
      context,
    ).blocks,
  };
}

export function asExpressionScope(scope: BlockScope, context: PipelineContext) {
  return { roots: { ...scope.roots, steps: scope.steps }, allSteps: context.allSteps };
}

function withStep(steps: ScopeFields, id: string | null, output: ScopeType): ScopeFields {
  return id === null ? steps : { ...steps, [id]: output };
}

/** The id of a block when it can be used; wrong forms are reported by the schema, names that mean something else here. */
function idOf(block: Located, report: Report): string | null {
  const id = block.entries!.get('id')?.value;
  return id && checkIdentifier(id.value, id.range, report) ? (id.value as string) : null;
}

function listOf(block: Located, key: string): Located | undefined {
  return block.entries!.get(key)?.value;
}

function textOf(block: Located, key: string): Located | undefined {
  const value = block.entries!.get(key)?.value;
  return typeof value?.value === 'string' ? value : undefined;
}

function numberOf(block: Located, key: string): number | undefined {
  const value = block.entries!.get(key)?.value.value;
  return typeof value === 'number' ? value : undefined;
}

/** Settings whose form the schema has checked; when they were wrong they are left out, and the plan is thrown away anyway. */
export function settingsOf<Settings extends RetrySettings | TimeoutSettings>(
  owner: Located | undefined,
  key: 'retry' | 'timeout',
): Settings | undefined {
  const value = owner?.entries?.get(key)?.value.value;
  return isSettings(value) ? (value as Settings) : undefined;
}

/** Compiling reads texts and numbers only: a mapping or list in the wrong place has been reported, and is left out. */
function isSettings(value: Json | undefined): value is { [key: string]: Json } {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return false;
  return Object.entries(value).every(([name, item]) =>
    name === 'notOn'
      ? Array.isArray(item)
      : name === 'attempts' || name === 'factor'
        ? typeof item === 'number'
        : typeof item === 'string',
  );
}
