import type { Json } from '../../schema/plan.ts';
import { type Node, name, type Surroundings } from './surroundings.ts';

/** A step that calls an action. What it is called with tells how it ends (`answers.ts`). */
export function leafStep(at: Surroundings): Node {
  const { random } = at;
  at.budget.calls -= at.times;
  const action = random.pick(['event', 'event', 'event', 'webhook', 'delete', 'move', 'list', 'copy']);
  switch (action) {
    case 'webhook':
      return event(at, 'webhook.send@1');
    case 'delete':
      return path(at, (from) => ({ use: 'files.delete@1', with: { at: from } }));
    case 'move':
      return path(at, (from) => ({ use: 'files.move@1', with: { from, to: '/done/', onConflict: 'version' } }));
    case 'list':
      return list(at);
    case 'copy':
      return copy(at);
    default:
      return event(at, 'audit.write@1');
  }
}

function event(at: Surroundings, use: string): Node {
  const { random } = at;
  const id = name(at, 'n');
  const data: Node = { ...ending(at) };
  for (const [index, variable] of at.loopVariables.entries()) data[`loop${index}`] = `\${{ ${variable} }}`;
  if (at.readable.length > 0 && random.chance(0.6)) data.read = `\${{ ${random.pick(at.readable)} }}`;
  if (at.sets.length > 0 && random.chance(0.3)) data.head = `\${{ ${random.pick(at.sets)}.first(2) }}`;
  if (random.chance(0.3)) data.place = '${{ vars.place }}/x';
  if (at.hasError) data.kind = '${{ error.kind }}';
  const node: Node = { id, use, with: { event: `${at.loose ? 'loose' : 'test'}.${id}`, data } };
  if (data.fails === 'once') node.retry = { attempts: 5, first: '1ms' };
  // In a loop that may stop early what is read later would be a matter of time.
  if (!at.loose) at.readable.push(`steps.${id}.${use === 'audit.write@1' ? 'event' : 'webhooks'}`);
  return node;
}

function ending({ random, kind, aftermath }: Surroundings): { fails: string; as?: string } {
  const fails = random.pick(['never', 'never', 'never', 'never', 'some', 'once', aftermath ? 'some' : 'always']);
  if (fails === 'never' || fails === 'once') return { fails };
  return { fails, as: kind ?? random.pick(['invalid', 'unavailable', 'internal']) };
}

function path(at: Surroundings, make: (from: string) => Node): Node {
  const id = name(at, 'n');
  const { fails, as = 'none' } = ending({ ...at });
  const items = at.loopVariables.map((variable) => `/\${{ ${variable} }}`).join('');
  const node = make(
    `partner:/${fails === 'once' ? 'never' : fails}/${as}/${at.loose ? 'loose' : 'test'}-${id}${items}`,
  );
  if (!at.loose) at.readable.push(`steps.${id}.path`);
  return { id, ...node };
}

function list(at: Surroundings): Node {
  const id = name(at, 'list');
  const input: Node = { from: `partner:/list/${at.random.between(0, 5)}/${at.loose ? 'loose' : 'test'}-${id}/*` };
  if (at.random.chance(0.2)) input.onEmpty = 'skip';
  if (!at.loose) at.readable.push(`steps.${id}.files.count`);
  // Every loop of the pipeline may walk what its first level has listed.
  if (!at.aftermath && at.depth === 0) at.sets.push(`steps.${id}.files`);
  return { id, use: 'files.list@1', with: input };
}

function copy(at: Surroundings): Node {
  const { random } = at;
  const id = name(at, 'copy');
  const batches = random.between(1, 3);
  const fails = random.pick(['never', 'never', 'file', 'batch']);
  const kind = at.kind ?? random.pick(['invalid', 'not-found', 'forbidden']);
  const from = `partner:/copy/${batches * 2}/${batches}/${fails}/${kind}/${at.loose ? 'loose' : 'test'}-${id}/*`;
  const node: Node = { id, use: 'transfer.copy@1', with: { from, to: 'landing:/in/' } };
  if (random.chance(0.4)) node.tolerate = random.pick<Json>([0, 1, '100%', '10%']);
  if (!at.loose) at.readable.push(`steps.${id}.files`);
  return node;
}
