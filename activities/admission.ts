import { type NewEvent, recordEvents } from '../audit/record.ts';
import { fill } from '../language/evaluate.ts';
import {
  joinKey,
  type KeyedRun,
  lockConcurrencyKey,
  noteWaiting,
  requestCancel,
  runsOfKey,
} from '../prisma/admission.ts';
import type { Sql } from '../prisma/contract.ts';
import { WaybillError } from '../schema/errors.ts';
import { publicId } from '../schema/names.ts';
import type { ConcurrencyPolicy, Json, Plan, RunFacts } from '../schema/plan.ts';

const maxKeyCharacters = 200;
/** Runs that the word about a wait names. */
const namedHolders = 3;

/** A run's place among those of its key. */
export interface KeyedPolicy extends ConcurrencyPolicy {
  /** The template, filled. */
  key: string;
}

export type Admission =
  | { state: 'admitted' }
  /** `cancel`: workflows that must end first, and that nobody has told yet. */
  | { state: 'waiting'; message: string; cancel: string[] };

/** The policy with its key filled, or null: any number of such runs go on together. Throws invalid for a key that is no text of 1 to 200 characters. */
export function keyedPolicy(plan: Plan, inputs: Record<string, Json>, run: RunFacts): KeyedPolicy | null {
  if (plan.concurrency === null) return null;
  const vars = fill(plan.vars, { inputs, run });
  const key = fill(plan.concurrency.key, { inputs, vars, run });
  // PostgreSQL keeps neither NUL nor half a surrogate pair.
  if (typeof key !== 'string' || key === '' || key.length > maxKeyCharacters || /\0/.test(key) || !key.isWellFormed())
    throw new WaybillError('invalid', `concurrency.key must give a text of 1 to ${maxKeyCharacters} characters`, {
      field: 'concurrency.key',
    });
  return { ...plan.concurrency, key };
}

/**
 * Asks for a place under the key, whose lock the caller's transaction holds. Safe twice: asked again, the answer is that of
 * the present. Throws conflict when the limit is reached and the policy says skip.
 */
export async function admit(
  sql: Sql,
  tenantId: string,
  run: { id: string; actor: NewEvent['actor'] },
  policy: KeyedPolicy,
): Promise<Admission> {
  await joinKey(sql, tenantId, run.id, policy);
  const runs = await runsOfKey(sql, tenantId, policy.key);
  const at = runs.findIndex(({ id }) => id === run.id);
  const holding = runs.filter(({ id, status }) => status === 'running' && id !== run.id);
  const before = runs.slice(0, at).filter(({ status, cancelRequested }) => status === 'starting' && !cancelRequested);
  if (holding.length + before.length < policy.limit) return { state: 'admitted' };

  const quoted = JSON.stringify(policy.key);
  const names = holding.slice(0, namedHolders).map(({ id }) => publicId('run', id));
  if (policy.onLimit === 'skip')
    throw new WaybillError(
      'conflict',
      `${names.join(', ') || 'an earlier run'} goes on under the concurrency key ${quoted}`,
      {
        field: 'concurrency',
      },
    );
  const cancel = policy.onLimit === 'cancel-oldest' ? await makeRoom(sql, tenantId, run, policy, runs, at) : [];
  const place = before.length === 0 ? 'next' : `${before.length} before it`;
  const holders = [...names, ...(holding.length > namedHolders ? ['others'] : [])].join(', ');
  const message = `the concurrency key ${quoted} (limit ${policy.limit}; ${place})${holders === '' ? '' : `, held by ${holders}`}`;
  await noteWaiting(sql, tenantId, run.id, message);
  return { state: 'waiting', message, cancel };
}

/** Workflows that may ask for admission again now that a place may be free, the oldest first. Takes the key's lock. */
export async function nextOfKey(sql: Sql, tenantId: string, key: string): Promise<string[]> {
  await lockConcurrencyKey(sql, tenantId, key);
  const runs = await runsOfKey(sql, tenantId, key);
  const holding = runs.filter(({ status }) => status === 'running').length;
  return runs
    .filter(({ status, cancelRequested }) => status === 'starting' && !cancelRequested)
    .filter(({ limit }, ordinal) => holding + ordinal < limit)
    .map(({ workflowId }) => workflowId);
}

/**
 * Of all runs of the key the newest go on: asks the oldest ones beyond the limit to end. Names also those that were asked
 * before and have not ended: whoever asked may have died before telling them.
 */
async function makeRoom(
  sql: Sql,
  tenantId: string,
  run: { id: string; actor: NewEvent['actor'] },
  { key, limit }: KeyedPolicy,
  runs: readonly KeyedRun[],
  at: number,
): Promise<string[]> {
  const going = runs.filter(({ cancelRequested }) => !cancelRequested);
  const surplus = going.slice(0, Math.max(0, going.length - limit)).filter((other) => runs.indexOf(other) < at);
  const reason = `${publicId('run', run.id)} takes its place under the concurrency key ${JSON.stringify(key)}`;
  for (const { id } of surplus) {
    if (!(await requestCancel(sql, tenantId, id))) continue;
    const data = { reason, replacedBy: publicId('run', run.id) };
    await recordEvents(sql, tenantId, [{ type: 'run.cancel-requested', actor: run.actor, runId: id, data }]);
  }
  const asked = runs.slice(0, at).filter((other) => other.cancelRequested || surplus.includes(other));
  return asked.map(({ workflowId }) => workflowId);
}
