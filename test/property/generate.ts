import { stringify } from 'yaml';
import type { Json } from '../../schema/plan.ts';
import { Random } from '../random.ts';
import { leafStep } from './leaves.ts';
import { type Node, name, type Surroundings } from './surroundings.ts';

/** A pipeline as its file says it, before it is text, so that it can be made smaller piece by piece. */
export interface GeneratedPipeline {
  seed: number;
  document: Node;
  inputs: Record<string, Json>;
}

const depthAtMost = 4;
const callsAtMost = 40;

/** The pipeline of a seed: every block of the language, nested, with steps that fail as their input says. */
export function generatePipeline(seed: number): GeneratedPipeline {
  const random = new Random(seed);
  const top: Surroundings = {
    random,
    depth: 0,
    budget: { calls: callsAtMost, names: 0, polls: 1 },
    times: 1,
    kind: null,
    loose: false,
    aftermath: false,
    hasError: false,
    loopVariables: [],
    readable: [],
    sets: [],
  };
  const document: Node = {
    pipeline: 'generated',
    apiVersion: 'waybill/v1',
    inputs: {
      numbers: { type: 'list', default: [1, 2, 3] },
      count: { type: 'integer', default: 2 },
      flag: { type: 'boolean', default: true },
    },
    endpoints: { partner: 'acme-sftp', landing: 'landing-zone' },
  };
  if (random.chance(0.5)) document.labels = { owner: 'tests' };
  document.vars = {
    limit: random.between(0, 4),
    place: '/in/${{ inputs.count }}',
    pause: `${random.between(1, 40)}ms`,
  };
  if (random.chance(0.2)) document.concurrency = { key: 'generated-${{ inputs.count }}', limit: 2, onLimit: 'queue' };
  if (random.chance(0.3)) document.defaults = { retry: { attempts: 3, first: '1ms' } };
  document.steps = stepList(top, 1, 4);
  const after = { ...top, aftermath: true, budget: { calls: 6, names: top.budget.names, polls: 0 } };
  if (random.chance(0.4)) document.onError = onErrorList(after);
  if (random.chance(0.5)) document.finally = stepList({ ...after, readable: [...top.readable, 'run.status'] }, 1, 2);
  const readable = top.readable.filter((expression) => expression.startsWith('steps.'));
  if (readable.length > 0 && random.chance(0.6))
    document.outputs = Object.fromEntries(readable.slice(0, 3).map((expression, index) => [`out${index}`, expression]));
  return {
    seed,
    document,
    inputs: {
      numbers: Array.from({ length: random.between(0, 4) }, (_, index) => index + 1),
      count: random.between(0, 4),
      flag: random.chance(0.5),
    },
  };
}

export function textOf({ document }: GeneratedPipeline): string {
  return stringify(document);
}

/** A list of blocks; what one of them gives the later ones may read. */
function stepList(at: Surroundings, least: number, most: number): Node[] {
  const count = at.random.between(least, most);
  return Array.from({ length: count }, () => block(at));
}

function block(at: Surroundings): Node {
  // Before the block has told what it gives: a condition is looked at before it runs.
  const when = at.random.chance(0.15) ? condition(at) : null;
  const node = blockOfAnyKind(at);
  // A set that a skipped step did not make cannot be walked.
  if (when !== null && !('if' in node) && node.use !== 'files.list@1') node.if = when;
  return node;
}

function blockOfAnyKind(at: Surroundings): Node {
  const { random, budget } = at;
  const shapes =
    at.depth >= depthAtMost || budget.calls < at.times * 3
      ? ['leaf']
      : ['leaf', 'leaf', 'group', 'branching', 'forEach', 'forEach', 'parallel', 'parallel', 'wait', 'poll'];
  const shape = random.pick(shapes);
  switch (shape) {
    case 'group':
      return withReactions(at, { steps: stepList(deeper(at), 1, 3) });
    case 'branching':
      return withReactions(at, branching(at));
    case 'forEach':
      return withReactions(at, loop(at));
    case 'parallel':
      return withReactions(at, parallel(at));
    case 'wait':
      return withReactions(at, wait(at));
    case 'poll':
      return at.budget.polls > 0 && at.times <= 4 ? poll(at) : withReactions(at, wait(at));
    default:
      return withReactions(at, leafStep(at));
  }
}

/** The two sides do not see each other; what comes after sees both. */
function branching(at: Surroundings): Node {
  const otherwise = deeper(at, { readable: [...at.readable], sets: [...at.sets] });
  const node: Node = { if: condition(at), steps: stepList(deeper(at), 1, 2), else: stepList(otherwise, 1, 2) };
  at.readable.push(...otherwise.readable.filter((expression) => !at.readable.includes(expression)));
  return node;
}

/** The same budget and names, one level deeper. */
function deeper(at: Surroundings, change: Partial<Surroundings> = {}): Surroundings {
  return { ...at, depth: at.depth + 1, ...change };
}

function loop(at: Surroundings): Node {
  const { random } = at;
  const variable = `item${at.depth}`;
  const isSet = at.sets.length > 0 && random.chance(0.5);
  const items = isSet ? random.pick(at.sets) : random.pick(['inputs.numbers', '[1, 2, 3]', '[7, 8]']);
  const itemsAtMost = isSet ? 5 : 4;
  if (at.times * itemsAtMost > 12) return leafStep(at);
  const id = name(at, 'each');
  const maxParallel = random.pick([1, 2, 3, 8]);
  const failFast = random.chance(0.3);
  const loose = at.loose || (failFast && maxParallel > 1);
  const inside = deeper(at, {
    times: at.times * itemsAtMost,
    kind: maxParallel > 1 ? kindHere(at) : at.kind,
    loose,
    loopVariables: [...at.loopVariables, isSet ? `${variable}.path` : variable],
    // What one item gives is not seen by another, and not after the loop.
    readable: [...at.readable],
    sets: [...at.sets],
  });
  const node: Node = { id, forEach: items, as: variable, maxParallel, steps: stepList(inside, 1, 3) };
  if (failFast) node.failFast = true;
  if (random.chance(0.5)) node.tolerate = random.pick<Json>([0, 1, 2, '0%', '34%', '50%', '100%']);
  if (!at.aftermath && random.chance(0.4)) node.onError = onErrorList({ ...inside, aftermath: true });
  if (!loose) {
    at.readable.push(`steps.${id}.count`, `steps.${id}.succeeded.count`, `steps.${id}.failed.count`);
    if (maxParallel === 1) at.readable.push(`steps.${id}.failed.first(2)`);
  }
  return node;
}

function parallel(at: Surroundings): Node {
  const { random } = at;
  const count = random.between(2, 3);
  const maxParallel = random.pick([1, 2, null]);
  const failFast = random.chance(0.4);
  const kind = maxParallel === 1 ? at.kind : kindHere(at);
  const inside = deeper(at, { kind, loose: at.loose || (failFast && maxParallel !== 1) });
  // Branches do not see each other; what is after the block sees them all.
  const branches: Node[] = [];
  const learnt: Array<Pick<Surroundings, 'readable' | 'sets'>> = [];
  for (let index = 0; index < count; index++) {
    const own = { ...inside, readable: [...at.readable], sets: [...at.sets] };
    branches.push(block(own));
    learnt.push(own);
  }
  for (const { readable, sets } of learnt) {
    at.readable.push(...readable.filter((expression) => !at.readable.includes(expression)));
    at.sets.push(...sets.filter((expression) => !at.sets.includes(expression)));
  }
  const node: Node = { parallel: branches };
  if (maxParallel !== null) node.maxParallel = maxParallel;
  if (failFast) node.failFast = true;
  return node;
}

function wait(at: Surroundings): Node {
  const written: Node[] = [
    { wait: `${at.random.between(1, 60)}ms` },
    { wait: '${{ vars.pause }}' },
    { wait: '2026-11-22T06:00:00Z' },
    { wait: '${{ run.startedAt }}' },
    { wait: { until: 'run.startedAt' } },
  ];
  return at.random.pick(written);
}

/** Looks until its step has been called so often; now and then it asks for more than the deadline leaves time for. */
function poll(at: Surroundings): Node {
  const { random } = at;
  const id = name(at, 'look');
  const data: Node = { fails: 'never' };
  for (const [index, variable] of at.loopVariables.entries()) data[`loop${index}`] = `\${{ ${variable} }}`;
  at.budget.calls -= at.times * 3;
  at.budget.polls--;
  const gives = !at.loose && at.kind === null && random.chance(0.2);
  const look: Node = {
    id,
    use: 'webhook.send@1',
    with: { event: `${gives || at.loose ? 'loose' : 'test'}.${id}`, data },
  };
  const until = gives ? `steps.${id}.webhooks > 1000000` : `steps.${id}.webhooks >= ${random.between(1, 2)}`;
  const node: Node = { wait: { until, every: '1s', deadline: gives ? '1s' : '1h', steps: [look] } };
  if (random.chance(0.5)) {
    const waited = name(at, 'waited');
    node.id = waited;
    if (!gives && !at.loose) at.readable.push(`steps.${waited}.polls`);
  }
  if (!gives && !at.loose) at.readable.push(`steps.${id}.webhooks`);
  return gives ? withReactions(at, node) : node;
}

/** `onError`, `compensate` and `summary` of any block. */
function withReactions(at: Surroundings, node: Node): Node {
  const { random } = at;
  if (random.chance(0.1)) node.summary = 'step of ${{ run.pipeline }}';
  if (at.aftermath) return node;
  // What failed has given nothing. The list of a loop runs for each of its items, and is made with them.
  const own = `steps.${String(node.id)}.`;
  const readable = at.readable.filter((expression) => !expression.startsWith(own));
  const sets = at.sets.filter((expression) => !expression.startsWith(own));
  if (!('forEach' in node) && random.chance(0.2))
    node.onError = onErrorList({ ...at, aftermath: true, readable, sets });
  if (random.chance(0.2)) node.compensate = leafList({ ...at, aftermath: true, hasError: true }, 2);
  return node;
}

function onErrorList(at: Surroundings): Node[] {
  const { random } = at;
  const list = leafList({ ...at, hasError: true }, 2);
  const kind = at.kind ?? 'invalid';
  for (const node of list) {
    if (random.chance(0.4))
      node.when = random.pick([`error.kind == "${kind}"`, `error.kind in ["${kind}", "internal"]`]);
  }
  return list;
}

function leafList(at: Surroundings, most: number): Node[] {
  // What a reaction gives is read by nothing else.
  const own = { ...at, readable: [...at.readable], sets: [...at.sets] };
  return Array.from({ length: at.random.between(1, most) }, () => leafStep(own));
}

function condition({ random, loopVariables, readable }: Surroundings): string {
  const conditions = ['inputs.flag', '!inputs.flag', 'inputs.count > 2', 'vars.limit <= 2', 'size(inputs.numbers) > 1'];
  const numbers = loopVariables.filter((variable) => !variable.includes('.'));
  for (const variable of numbers) conditions.push(`${variable} % 2 == 0`);
  for (const expression of readable) {
    const id = /^steps\.([a-z0-9]+)/.exec(expression)?.[1];
    if (id !== undefined) conditions.push(`has(steps.${id})`, `!has(steps.${id})`);
  }
  return random.pick(conditions);
}

function kindHere(at: Surroundings): string {
  return at.kind ?? at.random.pick(['invalid', 'unavailable', 'internal']);
}
