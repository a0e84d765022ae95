import { recordEvents } from '../../audit/record.ts';
import type { Sql, Store } from '../../prisma/contract.ts';
import { publicId } from '../../schema/names.ts';
import { endReasons, endSessions } from './endSessions.ts';
import { idleSince } from './lifetimes.ts';

const rowsPerRound = 500;

/**
 * Ends the sessions of all tenants whose time is over at `now`. One that has started a run which still goes on is spared
 * until that has ended: nobody gets in with it any more, but the work goes on. Sessions that runs had opened for
 * themselves end with the run; those whose run is gone without having ended them are closed. Safe twice, and two at once.
 */
export async function sweepSessions(store: Store, now: Date): Promise<{ expired: number; orphaned: number }> {
  const due = await store.system((sql) => findDue(sql, now));
  const counts = { expired: 0, orphaned: 0 };
  for (const [tenantId, ids] of Map.groupBy(due, (row) => row.tenantId))
    await store.sql(tenantId, async (sql) => {
      // Asked again with the rows locked: a run may have been started meanwhile.
      const still = await stillDue(
        sql,
        tenantId,
        ids.map(({ id }) => id),
        now,
      );
      const [own, presented] = [still.filter((row) => row.ofRun), still.filter((row) => !row.ofRun)];
      const expired = presented.map(({ id }) => id);
      counts.expired += (await endSessions(sql, tenantId, expired, { reason: endReasons.expired })).sessionIds.length;
      counts.orphaned += await closeOrphans(sql, tenantId, own);
    });
  return counts;
}

interface DueRow extends Record<string, unknown> {
  tenantId: string;
  id: string;
  principalId: string;
  /** Opened by a run, and presented by nobody. */
  ofRun: boolean;
}

const columns = `s.tenant_id as "tenantId", s.id, s.principal_id as "principalId", s.method is null as "ofRun"`;
const live = `r.tenant_id = s.tenant_id and r.status in ('starting', 'running')`;
/** `$1` is the time. What a session for somebody else has started, the service session has started too. */
const isDue = `s.ended_at is null and case when s.method is null
    then not exists (select from run r where ${live} and (r.session_id = s.id or r.id = s.run_id))
    else (s.expires_at <= $1::timestamptz or ${idleSince('$1::timestamptz')})
      and not exists (select from run r where ${live} and r.started_by_session = s.id)
      and not exists (select from session c join run r on r.started_by_session = c.id
                       where c.tenant_id = s.tenant_id and c.parent_id = s.id and ${live})
    end`;

async function findDue(sql: Sql, now: Date): Promise<DueRow[]> {
  return sql.query<DueRow>(`select ${columns} from session s where ${isDue} order by s.expires_at limit $2::int`, [
    now,
    rowsPerRound,
  ]);
}

async function stillDue(sql: Sql, tenantId: string, ids: readonly string[], now: Date): Promise<DueRow[]> {
  return sql.query<DueRow>(
    `select ${columns} from session s where s.tenant_id = $2::uuid and s.id = any($3::uuid[]) and ${isDue}
      order by s.id for update of s skip locked`,
    [now, tenantId, ids],
  );
}

async function closeOrphans(sql: Sql, tenantId: string, orphans: readonly DueRow[]): Promise<number> {
  if (orphans.length === 0) return 0;
  const reason = 'its run is gone';
  await sql.query(
    'update session set ended_at = now(), end_reason = $3::text where tenant_id = $1::uuid and id = any($2::uuid[])',
    [tenantId, orphans.map(({ id }) => id), reason],
  );
  await recordEvents(
    sql,
    tenantId,
    orphans.map(({ id, principalId }) => ({
      type: 'session.closed',
      actor: { principalId, sessionId: id },
      data: { reason, session: publicId('session', id) },
      dedupeKey: `session.closed/${id}`,
    })),
  );
  return orphans.length;
}
