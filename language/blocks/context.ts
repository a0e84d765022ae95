import type { ErrorKind } from '../../schema/errors.ts';
import type { RetrySettings, TimeoutSettings } from '../../schema/pipeline.ts';
import type { Block } from '../../schema/plan.ts';
import type { CopiedSource } from '../lints.ts';
import { checkIdentifier } from '../names.ts';
import type { Report } from '../report.ts';
import type { ExpressionScope, ExpressionUses, ScopeFields, ScopeType } from '../scope.ts';
import type { Located } from '../source.ts';

/** What all blocks of a pipeline share. */
export interface PipelineContext {
  report: Report;
  aliases: Readonly<Record<string, string>>;
  usedAliases: Set<string>;
  allSteps: ReadonlySet<string>;
  /** Those that runs may act under, or undefined when that is not known. */
  applications: ReadonlySet<number> | undefined;
  uses: ExpressionUses;
  /** What the transfers of the pipeline copy, in the order of the file. */
  copiedSources: CopiedSource[];
  defaults: { retry?: RetrySettings | undefined; timeout?: TimeoutSettings | undefined };
  /** Blocks hold blocks: the kinds of block check theirs with it. */
  checkBlocks: CheckBlocks;
}

/** Checks a list of blocks in order and compiles it. Gives the outputs that are known after it. */
export type CheckBlocks = (
  list: Located | undefined,
  path: string,
  scope: BlockScope,
  context: PipelineContext,
) => CheckedBlocks;

export interface CheckedBlocks {
  blocks: Block[];
  steps: ScopeFields;
}

export interface CheckedBlock {
  block: Block | null;
  /** What can be named after it. */
  steps: ScopeFields;
}

/** What can be named at a block: `roots` without `steps`, and the outputs of the steps that have run there. */
export interface BlockScope {
  roots: ScopeFields;
  steps: ScopeFields;
  /** The list that it belongs to, when that is not one of `steps`. */
  handler?: 'onError' | 'compensate' | 'finally';
  /** Whether it stands in that list itself, not in a block of it: there it may say `when`. */
  isEntry?: boolean;
  /** In an onError list: the kinds of failure that can be meant, or null when that is not known. */
  errorKinds?: ReadonlySet<ErrorKind> | null;
  /** Where the innermost loop around it stands: its variable means another thing in another loop. */
  loop?: string;
  /** How many of it may run at the same time. */
  width: number;
  /** The number of the first block in a list that is checked one by one. */
  firstIndex?: number;
  /** Whether a group needs no reason: as a branch of a `parallel`, and in a group that has been warned of. */
  mayGroup?: boolean;
}

/** The scope of the blocks within a block. */
export function within(scope: BlockScope, changes: Partial<BlockScope> = {}): BlockScope {
  return { ...scope, isEntry: false, mayGroup: false, firstIndex: 0, ...changes };
}

export function asExpressionScope(scope: BlockScope, context: PipelineContext): ExpressionScope {
  return { roots: { ...scope.roots, steps: scope.steps }, allSteps: context.allSteps, uses: context.uses };
}

export function withStep(steps: ScopeFields, id: string | null, output: ScopeType): ScopeFields {
  return id === null ? steps : { ...steps, [id]: output };
}

/** The id of a block when it can be used; wrong forms are reported by the schema, names that mean something else here. */
export function idOf(block: Located, report: Report): string | null {
  const id = block.entries!.get('id')?.value;
  return id && checkIdentifier(id.value, id.range, report) ? (id.value as string) : null;
}

export function listOf(block: Located, key: string): Located | undefined {
  return block.entries?.get(key)?.value;
}

export function textOf(block: Located, key: string): Located | undefined {
  const value = block.entries?.get(key)?.value;
  return typeof value?.value === 'string' ? value : undefined;
}

export function numberOf(block: Located, key: string): number | undefined {
  const value = block.entries?.get(key)?.value.value;
  return typeof value === 'number' ? value : undefined;
}

export function isTrue(block: Located, key: string): boolean {
  return block.entries?.get(key)?.value.value === true;
}
