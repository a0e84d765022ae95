import { type EndedSessions, endReasons, endSessions } from '../../identity/sessions/endSessions.ts';
import { verifySession } from '../../identity/sessions/verifySession.ts';
import type { Session } from '../../prisma/generated/client.ts';
import { WaybillError } from '../../schema/errors.ts';
import { rowId } from '../../schema/names.ts';
import type { Operation } from '../context.ts';
import { actorOf } from './events.ts';
import type { SignInOperation } from './signIn.ts';
import { stopRuns } from './stopRun.ts';

/**
 * Ends the session that is presented, and stops its runs. Throws not-found for what is no session of the site, and
 * unauthenticated, with the code of its end, for one that is over; rate-limited after too many attempts.
 */
export async function closePresented(operation: SignInOperation, sessionId: string): Promise<{ closed: boolean }> {
  const { store, visitor, signInLimit } = operation;
  const { address } = visitor;
  const tenantId = visitor.tenantId ?? '';
  return signInLimit({ method: 'close', tenantId, address, user: null }, async () => {
    const caller = await verifySession(store, sessionId).catch((error: unknown) => {
      if (error instanceof WaybillError && error.kind === 'unauthenticated' && error.context.code === undefined)
        return null;
      throw error;
    });
    if (caller === null || caller.tenantId !== tenantId)
      throw new WaybillError('not-found', 'there is no such session', { field: 'sessionId' });
    const { id } = caller.credential;
    const ended = await store.sql(tenantId, (sql) => endSessions(sql, tenantId, [id], { reason: endReasons.closed }));
    await stopRuns(operation, { tenantId, actor: actorOf(caller) }, ended.runs);
    return { closed: true };
  });
}

/**
 * Ends somebody's session by the id of its row, and stops its runs; one that has ended stays as it is. Throws not-found,
 * and conflict for the session of a run, which ends with the run.
 */
export async function closeSession(operation: Operation, input: { id: string }): Promise<{ session: Session }> {
  const { store, caller } = operation;
  const { tenantId } = caller;
  const id = rowId('session', input.id);
  const { session, ended } = await store.withTenant(tenantId, async ({ db, sql }) => {
    const session = id === undefined ? null : await db.session.findFirst({ where: { tenantId, id } });
    if (session === null) throw new WaybillError('not-found', 'there is no such session', { field: 'id' });
    if (session.method === null)
      throw new WaybillError('conflict', 'the session is that of a run, and ends with it; cancel the run', {
        field: 'id',
      });
    const end = { reason: endReasons.byOperator, actor: actorOf(caller) };
    const ended = await endSessions(sql, tenantId, [session.id], end);
    return { session: await db.session.findFirstOrThrow({ where: { tenantId, id: session.id } }), ended };
  });
  await tellEnded(operation, ended);
  return { session };
}

/** Tells the runs of sessions that have ended, after the transaction that ended them. */
export async function tellEnded(operation: Operation, { runs }: EndedSessions): Promise<void> {
  const { caller } = operation;
  await stopRuns(operation, { tenantId: caller.tenantId, actor: actorOf(caller) }, runs);
}
