import { Type } from 'typebox';
import { pipelineLimits, pipelineSchemas, unavailableKeys } from '../schema/pipeline.ts';
import type { Block } from '../schema/plan.ts';
import { checkAction } from './blocks/action.ts';
import type { BlockScope, CheckBlocks, CheckedBlock, PipelineContext } from './blocks/context.ts';
import { checkForEach } from './blocks/forEach.ts';
import { checkGroup } from './blocks/group.ts';
import { checkParallel } from './blocks/parallel.ts';
import { checkWait } from './blocks/wait.ts';
import { didYouMean } from './expressions.ts';
import { checkSchema } from './schemaCheck.ts';
import type { ScopeFields } from './scope.ts';
import type { Located } from './source.ts';

/** The schema of one level: nested blocks are looked at when it is their turn. */
export const levelSchemas = pipelineSchemas((description) =>
  Type.Array(Type.Unknown(), { minItems: 1, maxItems: pipelineLimits.steps, description }),
);

export const checkBlocks: CheckBlocks = (list, path, scope, context) => {
  const blocks: Block[] = [];
  let steps = scope.steps;
  for (const [index, block] of (list?.items ?? []).entries()) {
    const checked = checkBlock(block, `${path}[${(scope.firstIndex ?? 0) + index}]`, { ...scope, steps }, context);
    steps = checked.steps;
    if (checked.block) blocks.push(checked.block);
  }
  return { blocks, steps };
};

const kinds = {
  use: { kind: 'action', check: checkAction },
  forEach: { kind: 'forEach', check: checkForEach },
  parallel: { kind: 'parallel', check: checkParallel },
  wait: { kind: 'wait', check: checkWait },
  steps: { kind: 'group', check: checkGroup },
} as const;
type KindKey = keyof typeof kinds;
const kindKeys = Object.keys(kinds) as KindKey[];

function checkBlock(block: Located, path: string, scope: BlockScope, context: PipelineContext): CheckedBlock {
  const { report } = context;
  if (!block.entries) {
    const key = /^([A-Za-z]\w{0,60}):\S/.exec(String(block.value))?.[1];
    const hint = key === undefined ? undefined : `put a blank behind \`${key}:\``;
    report.add('INVALID_VALUE', block.range, `a step must be a mapping with ${kindWords}`, hint);
    return { block: null, steps: scope.steps };
  }
  const keys = block.entries;
  const key = kindKeys.find((candidate) => keys.has(candidate)) ?? (keys.has('else') ? 'steps' : undefined);
  if (key === undefined) return { block: null, steps: reportKindless(block, scope, context) };
  const other = kindKeys.find((candidate) => candidate !== key && keys.has(candidate));
  if (other !== undefined && !(key === 'forEach' && other === 'steps')) {
    const hint =
      key === 'wait' && other === 'steps' ? 'steps of a wait stand in it: wait: { until, every, steps }' : undefined;
    report.add('AMBIGUOUS_STEP', keys.get(other)!.key, `a step has either \`${key}\` or \`${other}\`, not both`, hint);
    return { block: null, steps: scope.steps };
  }
  const { kind, check } = kinds[key];
  checkSchema(block, levelSchemas[kind], report, { unavailable: unavailableKeys.step! });
  return check(block, path, scope, context);
}

const kindWords = '`use`, `forEach`, `parallel`, `wait` or `steps`';

/** Of the keys that are not built yet those that would say what a step is. */
const unavailableKinds = ['approve', 'expect', 'call'];

function reportKindless(block: Located, scope: BlockScope, { report }: PipelineContext): ScopeFields {
  const known = new Set(Object.values(kinds).flatMap(({ kind }) => Object.keys(levelSchemas[kind].properties)));
  for (const [name, { key }] of block.entries ?? []) {
    if (known.has(name)) continue;
    if (unavailableKeys.step!.includes(name))
      report.add('NOT_AVAILABLE', key, `"${name}" is not available in this version of Waybill`);
    else report.add('UNKNOWN_KEY', key, `unknown key "${name.slice(0, 100)}"`, didYouMean(name, known));
  }
  if (unavailableKinds.some((kind) => block.entries?.has(kind))) return scope.steps;
  const first = block.entries?.values().next().value;
  report.add(
    'AMBIGUOUS_STEP',
    first ? first.key : block.range,
    'a step needs `use` (an action), `forEach` (a loop), `parallel` (branches), `wait` or `steps` (a group)',
  );
  return scope.steps;
}
