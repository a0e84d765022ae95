import { type NewEvent, recordEvents } from '../../audit/record.ts';
import { requestCancelOfSessions, type StoppedRun } from '../../prisma/admission.ts';
import type { Sql } from '../../prisma/contract.ts';
import { publicId } from '../../schema/names.ts';

/** Why a session has ended, as its row keeps it. */
export const endReasons = {
  closed: 'closed',
  replaced: 'replaced',
  expired: 'expired',
  disabled: 'the user was disabled',
  withService: 'the service session ended',
  byOperator: 'closed by an operator',
  suspended: 'the tenant was suspended',
  withdrawn: 'the right to act as the user has ended',
} as const;
export type EndReason = (typeof endReasons)[keyof typeof endReasons];

export interface SessionsEnd {
  reason: Exclude<EndReason, typeof endReasons.withService>;
  /** Who ends them; without one each session is its own actor. */
  actor?: NewEvent['actor'];
}

/** What has ended. The workflows of the runs are to be told after the commit; those that are not told, the sweeps tell. */
export interface EndedSessions {
  sessionIds: string[];
  runs: StoppedRun[];
}

/**
 * Ends sessions that are alive, those that they had opened for somebody else, and asks the runs of all of them to stop,
 * with an event for each, in the caller's transaction. What has ended already stays as it is: safe twice.
 */
export async function endSessions(
  sql: Sql,
  tenantId: string,
  sessionIds: readonly string[],
  end: SessionsEnd,
): Promise<EndedSessions> {
  if (sessionIds.length === 0) return { sessionIds: [], runs: [] };
  const ended = await sql.query<EndedRow>(
    `update session s set ended_at = now(),
            end_reason = case when s.id = any($2::uuid[]) then $3::text else '${endReasons.withService}' end
      where s.tenant_id = $1::uuid and (s.id = any($2::uuid[]) or s.parent_id = any($2::uuid[]))
        and s.ended_at is null and s.token_hash is not null
      returning s.id, s.principal_id as "principalId", s.application_id as "applicationId", s.end_reason as reason`,
    [tenantId, sessionIds, end.reason],
  );
  if (ended.length === 0) return { sessionIds: [], runs: [] };
  const ids = ended.map(({ id }) => id);
  const runs = await requestCancelOfSessions(sql, tenantId, ids);
  await recordEvents(sql, tenantId, [
    ...ended.map((session) => eventOf(session, end)),
    ...runs.map((run) => cancelEvent(run, ended.find(({ id }) => id === run.sessionId)!, end)),
  ]);
  return { sessionIds: ids, runs };
}

/** Ends every session that somebody has signed in with. As `endSessions`. */
export async function endSessionsOf(
  sql: Sql,
  tenantId: string,
  principalId: string,
  end: SessionsEnd,
): Promise<EndedSessions> {
  const alive = await sql.query<{ id: string }>(
    `select id from session where tenant_id = $1::uuid and (principal_id = $2::uuid or impersonator_id = $2::uuid)
        and ended_at is null and token_hash is not null`,
    [tenantId, principalId],
  );
  return endSessions(
    sql,
    tenantId,
    alive.map(({ id }) => id),
    end,
  );
}

interface EndedRow extends Record<string, unknown> {
  id: string;
  principalId: string;
  applicationId: number;
  reason: EndReason;
}

const eventTypes: Partial<Record<EndReason, 'session.replaced' | 'session.expired'>> = {
  [endReasons.replaced]: 'session.replaced',
  [endReasons.expired]: 'session.expired',
};

function eventOf(session: EndedRow, { actor }: SessionsEnd): NewEvent {
  const { id, principalId, applicationId, reason } = session;
  return {
    type: eventTypes[reason] ?? 'session.closed',
    actor: actor ?? { principalId, sessionId: id, applicationId },
    data: { session: publicId('session', id), user: publicId('principal', principalId), reason },
    dedupeKey: `session.closed/${id}`,
  };
}

function cancelEvent(run: StoppedRun, session: EndedRow, { actor }: SessionsEnd): NewEvent {
  const { id, principalId, applicationId, reason } = session;
  return {
    type: 'run.cancel-requested',
    actor: actor ?? { principalId, sessionId: id, applicationId },
    runId: run.id,
    data: {
      pipeline: run.pipelineName,
      reason: `the session that started it has ended: ${reason}`,
      session: publicId('session', id),
    },
  };
}
