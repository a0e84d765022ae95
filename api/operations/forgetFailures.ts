import { recordEvents } from '../../audit/record.ts';
import type { Sql } from '../../prisma/contract.ts';
import { clearBreaker } from '../../prisma/endpointBreakers.ts';
import { heldWorkflows } from '../../prisma/holds.ts';
import type { Operation } from '../context.ts';
import { actorOf } from './events.ts';

/**
 * The failures of an endpoint count no more: it works, or it is another one since its change. Gives the workflows that wait
 * for its breaker, to be told (`releaseRuns`) when the transaction has ended.
 */
export async function forgetFailures(
  { caller }: Operation,
  sql: Sql,
  { id, name }: { id: string; name: string },
): Promise<string[]> {
  const { tenantId } = caller;
  if (!(await clearBreaker(sql, tenantId, id))) return [];
  await recordEvents(sql, tenantId, [
    { type: 'endpoint.breaker-closed', actor: actorOf(caller), data: { endpoint: name } },
  ]);
  return heldWorkflows(sql, tenantId, name);
}
