import { recordEvents } from '../../audit/record.ts';
import { checkApplicationOfRun } from '../../identity/applications.ts';
import { checkUse } from '../../identity/grants.ts';
import type { Sql, Store } from '../../prisma/contract.ts';
import { WaybillError } from '../../schema/errors.ts';
import { publicId, rowId } from '../../schema/names.ts';
import type { Json } from '../../schema/plan.ts';
import { runActor, stepDigest } from '../messages.ts';

/** The clean-up rule of concurrent sessions: 48 hours. The run ends them before. */
const sessionLifetimeMs = 48 * 3_600_000;

export interface SessionInput {
  tenantId: string;
  runId: string;
  stepKey: string;
  with: Record<string, Json>;
}

/**
 * `session.open`: a concurrent session of the run's account, or of one that it may act as. Its id comes from the step, so a
 * second call opens nothing more. Throws forbidden, not-found for an unknown account, and invalid for an application that
 * is not registered.
 */
export async function openSession(store: Store, input: SessionInput): Promise<{ session: string }> {
  const { tenantId, runId, with: given } = input;
  const as = typeof given.as === 'string' ? given.as : null;
  const sessionId = stepUuid(input);
  await store.sql(tenantId, async (sql) => {
    await requireRunning(sql, tenantId, runId);
    const run = await runActor(sql, tenantId, runId);
    if (run.principalId === null || run.applicationId === null)
      throw new WaybillError('invalid', 'the run has no session of its own, so it cannot open another');
    const account = await checkUse(sql, tenantId, { publisherId: run.principalId, as, endpoints: [] });
    const applicationId = typeof given.application === 'number' ? given.application : run.applicationId;
    await checkApplicationOfRun(sql, tenantId, applicationId);
    await sql.query(
      `insert into session (tenant_id, id, principal_id, application_id, kind, expires_at, run_id, parent_id, client_version,
         ip_address, user_string, impersonator_id)
       select $1::uuid, $2::uuid, $3::uuid, $4::int, 'concurrent', now() + $5::bigint * interval '1 millisecond', $6::uuid,
         own.parent_id, own.client_version, own.ip_address, own.user_string, own.impersonator_id
         from session own where own.tenant_id = $1::uuid and own.id = $7::uuid
       on conflict (tenant_id, id) do nothing`,
      [tenantId, sessionId, account.principalId, applicationId, sessionLifetimeMs, runId, run.sessionId],
    );
    const data = {
      kind: 'concurrent',
      session: publicId('session', sessionId),
      application: applicationId,
      as: account.name,
    };
    await recordEvents(sql, tenantId, [
      { type: 'session.opened', actor: run, runId, data, dedupeKey: `session.opened/${sessionId}` },
    ]);
  });
  return { session: publicId('session', sessionId) };
}

/** `session.close`: ends a session that this run opened. Throws not-found for any other, as if it were not there. */
export async function closeSession(store: Store, input: SessionInput): Promise<{ session: string; closed: boolean }> {
  const { tenantId, runId, with: given } = input;
  const session = String(given.session ?? '');
  const sessionId = rowId('session', session);
  const closed = await store.sql(tenantId, async (sql) => {
    const state = sessionId === undefined ? undefined : await endSession(sql, tenantId, runId, sessionId);
    if (state === undefined)
      throw new WaybillError('not-found', `this run has opened no session ${JSON.stringify(session.slice(0, 100))}`, {
        field: 'session',
      });
    const actor = await runActor(sql, tenantId, runId);
    await recordEvents(sql, tenantId, [
      {
        type: 'session.closed',
        actor,
        runId,
        data: { reason: 'closed by a step', session },
        dedupeKey: `session.closed/${sessionId}`,
      },
    ]);
    return state.closed;
  });
  return { session, closed };
}

/** The end of the run ends its sessions: one that came after it would stay. The lock makes the end wait for us, or us for it. */
async function requireRunning(sql: Sql, tenantId: string, runId: string): Promise<void> {
  const rows = await sql.query(
    `select id from run where tenant_id = $1::uuid and id = $2::uuid and status in ('starting', 'running') for share`,
    [tenantId, runId],
  );
  if (rows.length === 0) throw new WaybillError('invalid', 'the run has ended, so it opens no session any more');
}

async function endSession(sql: Sql, tenantId: string, runId: string, sessionId: string) {
  const [row] = await sql.query<{ closed: boolean }>(
    `with found as (
       select id, ended_at from session where tenant_id = $1::uuid and id = $2::uuid and run_id = $3::uuid for update
     ), ended as (
       update session s set ended_at = now(), end_reason = 'closed by a step' from found
        where s.tenant_id = $1::uuid and s.id = found.id and found.ended_at is null
     )
     select ended_at is null as closed from found`,
    [tenantId, sessionId, runId],
  );
  return row;
}

/** The digest of the step in the form of a UUID (version 8, RFC 9562). */
function stepUuid(input: SessionInput): string {
  const hex = stepDigest(input);
  const variant = ((Number.parseInt(hex[16]!, 16) & 0x3) | 0x8).toString(16);
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `8${hex.slice(13, 16)}`,
    `${variant}${hex.slice(17, 20)}`,
    hex.slice(20, 32),
  ].join('-');
}
