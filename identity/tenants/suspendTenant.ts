import { recordEvents } from '../../audit/record.ts';
import { type RunToStop, requestCancelOfAll, runsThatGoOn } from '../../prisma/admission.ts';
import type { Sql, Store } from '../../prisma/contract.ts';
import { WaybillError } from '../../schema/errors.ts';
import { endReasons, endSessions } from '../sessions/endSessions.ts';

export interface Suspension {
  suspendedAt: Date;
  /** Sessions that have ended with it. */
  sessions: number;
  /** Runs that are to end, now or since before. Their workflows are to be told; those that are not told, the sweeps tell. */
  runs: RunToStop[];
}

/**
 * Shuts a tenant: from now on no key or session of it is good and no run begins; its sessions end and its runs are
 * cancelled, with an event for each, in one transaction. Safe twice. `owner` is a store of the role that owns the tables.
 * Throws conflict, and changes nothing, when `cancelRuns` is false and runs go on.
 */
export async function suspendTenant(
  owner: Store,
  tenantId: string,
  { cancelRuns }: { cancelRuns: boolean },
): Promise<Suspension> {
  return owner.sql(tenantId, async (sql) => {
    const isNews = await shut(sql, tenantId);
    const runs = await runsThatGoOn(sql, tenantId);
    if (runs.length > 0 && !cancelRuns)
      throw new WaybillError('conflict', `${runs.length} runs of the tenant go on; wait for them, or cancel them`);
    const { sessionIds } = await endSessions(sql, tenantId, await liveSessions(sql, tenantId), {
      reason: endReasons.suspended,
    });
    const asked = await requestCancelOfAll(sql, tenantId);
    const actor = { principalId: null };
    await recordEvents(sql, tenantId, [
      ...(isNews ? [{ type: 'tenant.suspended', actor, data: { sessions: sessionIds.length } }] : []),
      ...asked.map(({ id, pipelineName }) => ({
        type: 'run.cancel-requested',
        actor,
        runId: id,
        data: { pipeline: pipelineName, reason: endReasons.suspended },
      })),
    ]);
    return {
      suspendedAt: await suspendedAt(sql, tenantId),
      sessions: sessionIds.length,
      runs,
    };
  });
}

/** Opens a tenant again; what was ended stays so. False when it was not suspended. */
export async function resumeTenant(owner: Store, tenantId: string): Promise<boolean> {
  return owner.sql(tenantId, async (sql) => {
    const resumed = await sql.query(
      'update tenant set suspended_at = null where id = $1::uuid and suspended_at is not null returning id',
      [tenantId],
    );
    if (resumed.length === 0) return false;
    await recordEvents(sql, tenantId, [{ type: 'tenant.resumed', actor: { principalId: null }, data: {} }]);
    return true;
  });
}

/** False when it was suspended before. */
async function shut(sql: Sql, tenantId: string): Promise<boolean> {
  const suspended = await sql.query(
    'update tenant set suspended_at = now() where id = $1::uuid and suspended_at is null returning id',
    [tenantId],
  );
  return suspended.length > 0;
}

async function suspendedAt(sql: Sql, tenantId: string): Promise<Date> {
  const [tenant] = await sql.query<{ at: Date }>('select suspended_at as at from tenant where id = $1::uuid', [
    tenantId,
  ]);
  return tenant!.at;
}

async function liveSessions(sql: Sql, tenantId: string): Promise<string[]> {
  const live = await sql.query<{ id: string }>(
    'select id from session where tenant_id = $1::uuid and ended_at is null and token_hash is not null',
    [tenantId],
  );
  return live.map(({ id }) => id);
}
