import { pipelineLimits, type RetrySettings, type TimeoutSettings, unavailableKeys } from '../schema/pipeline.ts';
import type { InputDeclaration, Json, Plan } from '../schema/plan.ts';
import { asExpressionScope, checkBlocks, levelSchemas, type PipelineContext, settingsOf } from './blocks.ts';
import { checkBare } from './checking.ts';
import { compilePlan, type PipelineHeader } from './compile.ts';
import { inputMistake } from './inputs.ts';
import { checkIdentifier, checkResourceName, isResourceName } from './names.ts';
import type { Report } from './report.ts';
import { checkSchema } from './schemaCheck.ts';
import { errorType, finishedRunType, inputType, runType, type ScopeFields } from './scope.ts';
import type { Located } from './source.ts';

export interface PipelineCheckOptions {
  /** Names of all endpoints that can be used, or undefined when that is not known. */
  endpoints?: ReadonlySet<string>;
}

/** Checks a pipeline document. Gives its plan, or null when it has errors. */
export function checkPipeline(root: Located, report: Report, options: PipelineCheckOptions): Plan | null {
  const errorsBefore = report.errors;
  checkSchema(root, levelSchemas.pipeline, report, { unavailable: unavailableKeys.pipeline! });
  const name = root.entries?.get('pipeline')?.value;
  if (name) checkResourceName(name.value, name.range, report);

  const inputs = checkInputs(root.entries?.get('inputs')?.value, report);
  const aliases = checkAliases(root.entries?.get('endpoints')?.value, report, options);
  // Nothing more is said about a pipeline that is too large: checking it would take long.
  const allSteps = collectSteps(root, report);
  if (allSteps === null) return null;
  const context: PipelineContext = {
    report,
    aliases,
    usedAliases: new Set(),
    allSteps,
    defaults: {
      retry: settingsOf<RetrySettings>(root.entries?.get('defaults')?.value, 'retry'),
      timeout: settingsOf<TimeoutSettings>(root.entries?.get('defaults')?.value, 'timeout'),
    },
  };
  const inputFields: ScopeFields = Object.fromEntries(
    Object.entries(inputs).map(([input, { type }]) => [input, inputType(type)]),
  );
  const parts = checkParts(root, { inputs: inputFields }, context);
  if (report.errors > errorsBefore) return null;
  lintAliases(root, context);
  return compilePlan(root.value as unknown as PipelineHeader, { ...parts, inputs });
}

function checkParts(
  root: Located,
  roots: ScopeFields,
  context: PipelineContext,
): Pick<Plan, 'steps' | 'onError' | 'finally' | 'outputs'> {
  const entries = root.entries;
  const during = { ...roots, run: runType };
  const after = { ...roots, run: finishedRunType };
  const main = checkBlocks(entries?.get('steps')?.value, 'steps', { roots: during, steps: {} }, context);
  const failed = checkBlocks(
    entries?.get('onError')?.value,
    'onError',
    { roots: { ...during, error: errorType }, steps: main.steps },
    context,
  );
  const last = checkBlocks(entries?.get('finally')?.value, 'finally', { roots: after, steps: main.steps }, context);
  const scope = asExpressionScope({ roots: during, steps: main.steps }, context);
  const outputs: Array<[string, string]> = [];
  for (const [name, { key, value }] of entries?.get('outputs')?.value.entries ?? []) {
    checkIdentifier(name, key, context.report);
    if (typeof value.value === 'string') outputs.push([name, checkBare(value, scope, context.report).cel]);
  }
  return { steps: main.blocks, onError: failed.blocks, finally: last.blocks, outputs: Object.fromEntries(outputs) };
}

function checkInputs(inputs: Located | undefined, report: Report): Record<string, InputDeclaration> {
  const declared: Array<[string, InputDeclaration]> = [];
  for (const [name, { key, value }] of inputs?.entries ?? []) {
    if (!checkIdentifier(name, key, report)) continue;
    const {
      type,
      description,
      default: fallback,
      required,
    } = (value.entries ? value.value : {}) as Partial<InputDeclaration>;
    const known: Array<InputDeclaration['type']> = ['string', 'integer', 'number', 'boolean', 'list', 'map'];
    // Of an input without a proper type nothing is known; what uses it should not be reported too.
    const sureType = known.find((candidate) => candidate === type) ?? 'map';
    const given = value.entries?.get('default')?.value;
    if (given && sureType === type) {
      const mistake = inputMistake(given.value, sureType);
      if (mistake) report.add('INVALID_VALUE', given.range, `the default of ${name} ${mistake}`);
      if (required === true)
        report.add(
          'INVALID_VALUE',
          value.entries!.get('required')!.value.range,
          `the input ${name} has a default, so a run need not give it`,
          'remove `required` or `default`',
        );
    }
    declared.push([
      name,
      {
        type: sureType,
        ...(typeof description === 'string' ? { description } : {}),
        ...(given ? { default: structuredClone(fallback) as Json } : {}),
        required: given ? false : required !== false,
      },
    ]);
  }
  return Object.fromEntries(declared);
}

function checkAliases(
  endpoints: Located | undefined,
  report: Report,
  options: PipelineCheckOptions,
): Record<string, string> {
  const aliases: Array<[string, string]> = [];
  for (const [alias, { key, value }] of endpoints?.entries ?? []) {
    checkResourceName(alias, key, report);
    if (typeof value.value !== 'string') continue;
    aliases.push([alias, value.value]);
    if (options.endpoints && isResourceName(value.value) && !options.endpoints.has(value.value)) {
      report.add(
        'UNKNOWN_ENDPOINT',
        value.range,
        `there is no endpoint "${value.value}"`,
        'publish it first, or together with the pipeline',
      );
    }
  }
  return Object.fromEntries(aliases);
}

function lintAliases(root: Located, context: PipelineContext): void {
  for (const [alias, { key }] of root.entries?.get('endpoints')?.value.entries ?? []) {
    if (!context.usedAliases.has(alias))
      context.report.add('UNUSED_ALIAS', key, `the endpoint alias "${alias}" is never used`);
  }
}

/** The ids of all steps, wherever they stand; reports ids that are used twice. Null, with a report, when there are too many. */
function collectSteps(root: Located, report: Report): ReadonlySet<string> | null {
  const ids = new Set<string>();
  let count = 0;
  const visit = (list: Located | undefined, depth: number): void => {
    for (const block of list?.items ?? []) {
      if (++count === pipelineLimits.steps + 1)
        report.add('FILE_TOO_LARGE', block.range, `a pipeline has at most ${pipelineLimits.steps} steps`);
      if (depth > pipelineLimits.blockDepth) {
        report.add('TOO_DEEP', block.range, `blocks are nested more than ${pipelineLimits.blockDepth} deep`);
        continue;
      }
      const id = block.entries?.get('id')?.value;
      if (typeof id?.value === 'string') {
        if (ids.has(id.value))
          report.add('DUPLICATE_NAME', id.range, `two steps have the id "${id.value.slice(0, 100)}"`);
        ids.add(id.value);
      }
      for (const key of ['steps', 'else', 'onError']) visit(block.entries?.get(key)?.value, depth + 1);
    }
  };
  for (const key of ['steps', 'onError', 'finally']) visit(root.entries?.get(key)?.value, 1);
  return count > pipelineLimits.steps ? null : ids;
}
