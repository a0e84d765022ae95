import { timingSafeEqual } from 'node:crypto';
import type { Sql, Store } from '../../prisma/contract.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { Caller } from '../caller.ts';
import { endReasons } from './endSessions.ts';
import { mayActAs, scopesOfImpersonators } from './impersonation.ts';
import { idleSince } from './lifetimes.ts';
import { hashOfSessionText, isSessionText } from './sessionText.ts';

/** What who holds the text of a session that is over is told; all others are told nothing. */
export type SessionEndCode = 'SESSION_REPLACED' | 'SESSION_ENDED' | 'SESSION_EXPIRED';

/**
 * The caller that a presented session proves. Garbage is refused before the database is asked. Notes the time of use, at
 * most once a minute. Throws unauthenticated; only who holds the right text learns, from `context.code`, that the session
 * was replaced, has ended or has expired. That of a disabled user, impersonator or tenant has ended.
 */
export async function verifySession(store: Store, text: string): Promise<Caller> {
  if (!isSessionText(text)) throw unknownSession();
  const hash = hashOfSessionText(text);
  const place = await store.findCredential('session', hash);
  if (!place) throw unknownSession();
  const { tenantId, credentialId: sessionId } = place;
  const [session] = await store.look<SessionRow>(tenantId, selectSession, [tenantId, sessionId]);
  if (!session?.tokenHash || !timingSafeEqual(session.tokenHash, hash)) throw unknownSession();
  const code = endOf(session);
  if (code !== null) throw sessionOver(code);
  if (session.useIsNews) await store.sql(tenantId, (sql) => sql.query(noteUse, [tenantId, sessionId]));
  const { tenantName, principalId, principalName, role, applicationId, expiresAt, impersonatorId } = session;
  const credential = { kind: 'session' as const, id: sessionId, applicationId, expiresAt, impersonatorId };
  const scopes = scopesOf(session);
  return { tenantId, tenantName, principalId, principalName, role, scopes, allowedCidrs: [], credential };
}

/**
 * The session of that text in the tenant, in the caller's transaction, when its next request would be let in and it opens
 * more than the way to another password; undefined for every other text, after the same one statement. Notes no use.
 */
export async function findLiveSession(
  sql: Sql,
  tenantId: string,
  text: string,
): Promise<{ sessionId: string; principalId: string } | undefined> {
  const [session] = await sql.query<SessionRow>(
    `${selectSessions} where s.tenant_id = $1::uuid and s.token_hash = $2::bytea`,
    [tenantId, hashOfSessionText(text)],
  );
  if (session === undefined || endOf(session) !== null || session.mustSetPassword) return undefined;
  return { sessionId: session.sessionId, principalId: session.principalId };
}

/**
 * Keeps the session alive until the caller's transaction ends: whoever ends it waits for that, or comes before. Throws
 * unauthenticated for one that has ended, with `context.code`.
 */
export async function holdSession(sql: Sql, tenantId: string, sessionId: string): Promise<void> {
  const [session] = await sql.query<{ ended: boolean; endReason: string | null }>(
    `select ended_at is not null as ended, end_reason as "endReason" from session
      where tenant_id = $1::uuid and id = $2::uuid for share`,
    [tenantId, sessionId],
  );
  if (session === undefined) throw unknownSession();
  if (session.ended) throw sessionOver(codeOfReason(session.endReason) ?? 'SESSION_ENDED');
}

const words: Record<SessionEndCode, string> = {
  SESSION_REPLACED: 'The session was replaced: the same user has signed in again with the same application.',
  SESSION_ENDED: 'The session has ended; sign in again.',
  SESSION_EXPIRED: 'The session has expired; sign in again.',
};

interface SessionRow extends Record<string, unknown> {
  sessionId: string;
  tenantName: string;
  principalId: string;
  principalName: string;
  role: string;
  applicationId: number;
  expiresAt: Date;
  impersonatorId: string | null;
  impersonatorRole: string | null;
  /** The impersonator may act as the user by a grant. */
  isGranted: boolean;
  tokenHash: Buffer | null;
  endReason: string | null;
  ended: boolean;
  expired: boolean;
  withdrawn: boolean;
  /** Signed in with a one-time password, which opens nothing but the way to another one. */
  mustSetPassword: boolean;
  useIsNews: boolean;
}

/** A session for somebody else is good as long as the service session is, which the sweep may not have ended yet. */
const selectSessions = `
  select s.id as "sessionId", t.name as "tenantName", p.id as "principalId", p.name as "principalName", p.role, s.application_id as "applicationId",
    s.expires_at as "expiresAt", s.impersonator_id as "impersonatorId", s.token_hash as "tokenHash", s.end_reason as "endReason",
    i.role as "impersonatorRole", coalesce(g.action is not null, false) as "isGranted",
    s.ended_at is not null as ended, s.expires_at <= now() or ${idleSince('now()')} as expired,
    p.disabled_at is not null or t.suspended_at is not null or i.disabled_at is not null
      or parent.ended_at is not null or coalesce(parent.expires_at <= now(), false) as withdrawn,
    coalesce(w.one_time, false) and s.parent_id is null and s.method in ('open', 'openImmutable', 'openImmutableUserString')
      as "mustSetPassword",
    coalesce(s.last_used_at < now() - interval '1 minute', true) as "useIsNews"
  from session s
  join principal p on p.tenant_id = s.tenant_id and p.id = s.principal_id
  join tenant t on t.id = s.tenant_id
  left join principal_password w on w.tenant_id = s.tenant_id and w.principal_id = s.principal_id
  left join principal i on i.tenant_id = s.tenant_id and i.id = s.impersonator_id
  left join principal_grant g on g.tenant_id = s.tenant_id and g.principal_id = s.impersonator_id and g.action = 'actAs' and g.target = p.name
  left join session parent on parent.tenant_id = s.tenant_id and parent.id = s.parent_id`;
const selectSession = `${selectSessions} where s.tenant_id = $1::uuid and s.id = $2::uuid`;

/** The condition again: of many requests in the same second one writes. */
const noteUse = `
  update session set last_used_at = now()
  where tenant_id = $1::uuid and id = $2::uuid and coalesce(last_used_at < now() - interval '1 minute', true)`;

function endOf(session: SessionRow): SessionEndCode | null {
  const { ended, endReason, expired, withdrawn } = session;
  const code = codeOfReason(endReason);
  if (code !== null) return code;
  if (ended || withdrawn || climbs(session)) return 'SESSION_ENDED';
  return expired ? 'SESSION_EXPIRED' : null;
}

function codeOfReason(endReason: string | null): SessionEndCode | null {
  if (endReason === endReasons.replaced) return 'SESSION_REPLACED';
  return endReason === endReasons.expired ? 'SESSION_EXPIRED' : null;
}

/** Whether who acts as the user might not begin to now: a role or a grant is another one since. */
function climbs({ impersonatorRole, role, isGranted }: SessionRow): boolean {
  return impersonatorRole !== null && !mayActAs({ role: impersonatorRole, scopes: ['*'] }, { role, isGranted });
}

/** Of a one-time password: none, which leaves what everybody may, such as to set another password. */
function scopesOf({ impersonatorId, mustSetPassword }: SessionRow): string[] {
  if (mustSetPassword) return [];
  return impersonatorId === null ? ['*'] : [...scopesOfImpersonators];
}

function sessionOver(code: SessionEndCode): WaybillError {
  return new WaybillError('unauthenticated', words[code], { code });
}

function unknownSession(): WaybillError {
  return new WaybillError('unauthenticated', 'the session is not valid');
}
