import type { Json } from '../../schema/plan.ts';
import type { GeneratedPipeline } from './generate.ts';
import type { Node } from './surroundings.ts';

/** Attempts to make a pipeline smaller; what is left then is small enough to be read. */
const attemptsAtMost = 400;

/**
 * Leaves out keys and steps of a pipeline one by one, as long as `fails` still holds: of what a property found red, the
 * little that matters. `fails` is to be false for a pipeline that the language refuses.
 */
export async function shrink(
  pipeline: GeneratedPipeline,
  fails: (candidate: GeneratedPipeline) => Promise<boolean>,
): Promise<GeneratedPipeline> {
  let best = pipeline;
  let attempts = 0;
  for (let found = true; found; ) {
    found = false;
    for (const document of smaller(best.document)) {
      if (++attempts > attemptsAtMost) return best;
      const candidate = { ...best, document: document as Node };
      if (!(await fails(candidate))) continue;
      best = candidate;
      found = true;
      break;
    }
  }
  return best;
}

/** Every value with one entry less, the big ones first; and every block with what is inside it in its place. */
function* smaller(value: Json): Generator<Json> {
  if (Array.isArray(value)) {
    if (value.length > 1) for (const index of value.keys()) yield value.toSpliced(index, 1);
    for (const [index, item] of value.entries()) {
      for (const inner of innerLists(item)) yield value.toSpliced(index, 1, ...inner);
      for (const less of smaller(item)) yield value.with(index, less);
    }
  } else if (value !== null && typeof value === 'object') {
    for (const key of Object.keys(value)) {
      const { [key]: _gone, ...rest } = value;
      yield rest;
    }
    for (const [key, item] of Object.entries(value)) {
      for (const less of smaller(item)) yield { ...value, [key]: less };
    }
  }
}

function innerLists(item: Json): Json[][] {
  if (item === null || typeof item !== 'object' || Array.isArray(item)) return [];
  return ['steps', 'else', 'parallel'].map((key) => item[key]).filter((list) => Array.isArray(list));
}
