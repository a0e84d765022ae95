import { type RetrySettings, type TimeoutSettings, unavailableKeys } from '../schema/pipeline.ts';
import type { InputDeclaration, Json, Plan } from '../schema/plan.ts';
import { checkApplication } from './applicationCheck.ts';
import { asExpressionScope, type BlockScope, type PipelineContext } from './blocks/context.ts';
import { checkBlocks, levelSchemas } from './blocks.ts';
import { checkBare } from './checking.ts';
import { compilePlan, type PipelineHeader, type PlanParts, settingsOf } from './compile.ts';
import { errorKindsOf } from './errorKinds.ts';
import { inputMistake } from './inputs.ts';
import { lintSources } from './lints.ts';
import { checkIdentifier, checkResourceName, isResourceName } from './names.ts';
import { checkConcurrency, checkVars, lintVars } from './pipelineHeader.ts';
import type { Report } from './report.ts';
import { checkSchema } from './schemaCheck.ts';
import { errorType, finishedRunType, inputType, runType, type ScopeFields } from './scope.ts';
import type { Located } from './source.ts';
import { applyHeads, collectSteps } from './steps.ts';

export interface PipelineCheckOptions {
  /** Names of all endpoints that can be used, or undefined when that is not known. */
  endpoints?: ReadonlySet<string> | undefined;
  /** The applications that runs may act under, or undefined when that is not known. */
  applications?: ReadonlySet<number> | undefined;
}

/** Checks a pipeline document. Gives its plan, or null when it has errors. */
export function checkPipeline(root: Located, report: Report, options: PipelineCheckOptions): Plan | null {
  const errorsBefore = report.errors;
  checkSchema(root, levelSchemas.pipeline, report, {
    unavailable: unavailableKeys.pipeline!,
    explainUnknownKey: (key, pointer) => (pointer === '' ? foreignKey(key) : undefined),
  });
  const name = root.entries?.get('pipeline')?.value;
  if (name) checkResourceName(name.value, name.range, report);

  const inputs = checkInputs(root.entries?.get('inputs')?.value, report);
  const { applications } = options;
  checkApplication(root.entries?.get('session')?.value.entries?.get('application')?.value, applications, report);
  const aliases = checkAliases(root.entries?.get('endpoints')?.value, report, options);
  // Nothing more is said about a pipeline that is too large: checking it would take long.
  const allSteps = collectSteps(root, report);
  if (allSteps === null) return null;
  const context: PipelineContext = {
    report,
    aliases,
    usedAliases: new Set(),
    allSteps,
    applications,
    uses: { vars: new Set(), heads: new Map() },
    copiedSources: [],
    defaults: {
      retry: settingsOf<RetrySettings>(root.entries?.get('defaults')?.value, 'retry'),
      timeout: settingsOf<TimeoutSettings>(root.entries?.get('defaults')?.value, 'timeout'),
    },
    checkBlocks,
  };
  const parts = checkParts(root, inputs, context);
  lintSources(context.copiedSources, report);
  if (report.errors > errorsBefore) return null;
  lintAliases(root, context);
  lintVars(root.entries?.get('vars')?.value, context.uses.vars, report);
  for (const blocks of [parts.steps, parts.onError, parts.finally]) applyHeads(blocks, context.uses.heads);
  return compilePlan(root.value as unknown as PipelineHeader, parts);
}

/** Keys that other languages of this kind have. */
function foreignKey(key: string): { code: 'UNKNOWN_KEY' | 'NOT_AVAILABLE'; message: string } | undefined {
  if (['on', 'true', 'schedule', 'trigger'].includes(key))
    return {
      code: 'NOT_AVAILABLE',
      message: `"${key}": what starts a pipeline will be called \`triggers\`, which is not available in this version of Waybill`,
    };
  if (['jobs', 'stages', 'tasks'].includes(key))
    return { code: 'UNKNOWN_KEY', message: `unknown key "${key}": what a pipeline does stands in \`steps\`` };
  if (['env', 'variables'].includes(key))
    return {
      code: 'UNKNOWN_KEY',
      message: `unknown key "${key}": constants stand in \`vars\`, what a run is given in \`inputs\``,
    };
  return undefined;
}

function checkParts(root: Located, inputs: Plan['inputs'], context: PipelineContext): PlanParts {
  const { report } = context;
  const part = (key: string) => root.entries?.get(key)?.value;
  const inputFields: ScopeFields = Object.fromEntries(
    Object.entries(inputs).map(([input, { type }]) => [input, inputType(type)]),
  );
  const given: ScopeFields = { inputs: inputFields, run: runType };
  const { vars, types } = checkVars(part('vars'), { roots: given, allSteps: new Set(), uses: context.uses }, report);
  const during: ScopeFields = { ...given, vars: types };
  const atStart = { roots: during, allSteps: new Set<string>(), uses: context.uses };
  const concurrency = checkConcurrency(part('concurrency'), atStart, report);
  const main = checkBlocks(part('steps'), 'steps', { roots: during, steps: {}, width: 1 }, context);
  const onError: BlockScope = {
    roots: { ...during, error: errorType },
    steps: main.steps,
    width: 1,
    handler: 'onError',
    isEntry: true,
    errorKinds: errorKindsOf(part('steps')?.items ?? []),
  };
  const failed = checkBlocks(part('onError'), 'onError', onError, context);
  const atEnd: BlockScope = {
    roots: { ...during, run: finishedRunType },
    steps: main.steps,
    width: 1,
    handler: 'finally',
  };
  const last = checkBlocks(part('finally'), 'finally', atEnd, context);
  const scope = asExpressionScope({ roots: during, steps: main.steps, width: 1 }, context);
  const outputs: Array<[string, string]> = [];
  for (const [name, { key, value }] of part('outputs')?.entries ?? []) {
    checkIdentifier(name, key, report);
    if (typeof value.value === 'string') outputs.push([name, checkBare(value, scope, report).cel]);
  }
  return {
    inputs,
    vars,
    concurrency,
    steps: main.blocks,
    onError: failed.blocks,
    finally: last.blocks,
    outputs: Object.fromEntries(outputs),
  };
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
