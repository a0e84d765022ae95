import { pipelineLimits } from '../schema/pipeline.ts';
import type { Block } from '../schema/plan.ts';
import type { Report } from './report.ts';
import type { Located } from './source.ts';

/** The ids of all steps, wherever they stand; reports ids that are used twice. Null, with a report, when there are too many. */
export function collectSteps(root: Located, report: Report): ReadonlySet<string> | null {
  const ids = new Map<string, number>();
  let count = 0;
  const visit = (list: Located | undefined, depth: number): void => {
    for (const block of list?.items ?? []) {
      if (++count === pipelineLimits.steps + 1)
        report.add('FILE_TOO_LARGE', block.range, `a pipeline has at most ${pipelineLimits.steps} steps`);
      if (depth > pipelineLimits.blockDepth) {
        report.add('TOO_DEEP', block.range, `blocks are nested more than ${pipelineLimits.blockDepth} deep`);
        continue;
      }
      noteId(block, ids, report);
      for (const key of ['steps', 'else', 'parallel', 'onError', 'compensate'])
        visit(block.entries?.get(key)?.value, depth + 1);
      visit(block.entries?.get('wait')?.value.entries?.get('steps')?.value, depth + 1);
    }
  };
  for (const key of ['steps', 'onError', 'finally']) visit(root.entries?.get(key)?.value, 1);
  return count > pipelineLimits.steps ? null : new Set(ids.keys());
}

function noteId(block: Located, ids: Map<string, number>, report: Report): void {
  const id = block.entries?.get('id')?.value;
  if (typeof id?.value !== 'string') return;
  const first = ids.get(id.value);
  if (first === undefined) ids.set(id.value, id.range[0]);
  else {
    const message = `two steps have the id "${id.value.slice(0, 100)}"; the other one is in line ${report.lineOf(first)}`;
    report.add('DUPLICATE_NAME', id.range, message, 'ids are unique in the whole pipeline, also in different branches');
  }
}

/** Tells each step how many of its rows the expressions of the pipeline read. */
export function applyHeads(blocks: readonly Block[], heads: ReadonlyMap<string, number>): void {
  for (const block of blocks) {
    const head = block.id === null ? undefined : heads.get(block.id);
    if (head !== undefined && (block.kind === 'action' || block.kind === 'forEach')) block.head = head;
    for (const list of listsOf(block)) applyHeads(list, heads);
  }
}

function listsOf(block: Block): Block[][] {
  const handlers = [block.onError, block.compensate];
  switch (block.kind) {
    case 'action':
      return handlers;
    case 'forEach':
      return [block.steps, ...handlers];
    case 'group':
      return [block.steps, block.else, ...handlers];
    case 'parallel':
      return [block.branches, ...handlers];
    case 'wait':
      return [block.poll?.steps ?? [], ...handlers];
  }
}
