import { v7 } from 'uuid';
import { recordEvents } from '../../audit/record.ts';
import type { Sql, Store } from '../../prisma/contract.ts';
import { WaybillError } from '../../schema/errors.ts';
import { applications, checkApplication } from '../applications.ts';
import type { ProvenUser } from '../provenUser.ts';
import type { SecretBox } from '../secrets.ts';
import { type EndedSessions, endReasons, endSessions } from './endSessions.ts';
import { concurrentLifetimeHours, replaceableLifetimeHours } from './lifetimes.ts';
import { hashOfSessionText, newSessionText, sessionTextOf } from './sessionText.ts';
import { createTurns } from './turns.ts';

export type SignInMethod =
  | 'open'
  | 'openWithTicket'
  | 'openWithTicketEx'
  | 'openImmutable'
  | 'openImmutableImpersonate'
  | 'openImmutableUserString';

/** A sign-in that is proven, and what it says of itself: that goes into every event of the session. */
export interface NewSession {
  tenantId: string;
  user: ProvenUser;
  applicationId: number;
  kind: 'replaceable' | 'concurrent';
  method: SignInMethod;
  clientVersion: string | null;
  ipAddress: string | null;
  /** The external user. */
  userString: string | null;
  /** Set when somebody else acts as the user. */
  impersonation: Impersonation | null;
}

export interface Impersonation {
  impersonatorId: string;
  /** The service session, with which this one ends. */
  parentId: string;
  reason: string | null;
}

export interface OpenedSession {
  id: string;
  /** What is presented from now on: the documented session id. Only its hash is stored. */
  text: string;
  expiresAt: Date;
  /** What it has replaced. The workflows of those runs are to be told. */
  ended: EndedSessions;
}

/**
 * Opens the session of a proven user. A replaceable one takes the place of the one before it, of the same user and
 * application; with the applications of SFTP and FTPS a concurrent one that is alive is given again, to the same user by
 * the same method and with the same external user. Throws unauthenticated for a disabled user and a suspended tenant
 * (`context.reason`), and as checkApplication does.
 */
export type OpenSession = (session: NewSession) => Promise<OpenedSession>;

export function createOpenSession({ store, secretBox }: { store: Store; secretBox: SecretBox }): OpenSession {
  const turns = createTurns();
  return (session) => {
    const work = () => store.sql(session.tenantId, (sql) => open(sql, secretBox, session));
    // Hundreds of the same user wait here one behind the other, and not each with a connection that others need.
    return isAlone(session) ? turns.take(placeOf(session), work) : work();
  };
}

const givenAgain: readonly number[] = [applications.sftp, applications.ftps];

async function open(sql: Sql, secretBox: SecretBox, session: NewSession): Promise<OpenedSession> {
  const { tenantId, user, applicationId } = session;
  if (isAlone(session))
    await sql.query('select pg_advisory_xact_lock(hashtextextended($1::text, 0))', [placeOf(session)]);
  await refuseDisabled(sql, session);
  await checkApplication(sql, tenantId, applicationId);
  const isGivenAgain = session.kind === 'concurrent' && givenAgain.includes(applicationId);
  const alive = isGivenAgain ? await findAlive(sql, secretBox, session) : undefined;
  if (alive !== undefined) {
    await tell(alive.id, true);
    return { ...alive, ended: { sessionIds: [], runs: [] } };
  }
  const ended =
    session.kind === 'replaceable'
      ? await endSessions(sql, tenantId, await findReplaced(sql, session), { reason: endReasons.replaced })
      : { sessionIds: [], runs: [] };
  const id = v7();
  const text = isGivenAgain ? await sessionTextOf(secretBox, tenantId, id) : newSessionText();
  const expiresAt = await insert(sql, session, id, hashOfSessionText(text));
  await tell(id, false);
  return { id, text, expiresAt, ended };

  async function tell(sessionId: string, again: boolean): Promise<void> {
    const { method, kind, impersonation, clientVersion, ipAddress } = session;
    const actor = { principalId: user.principalId, sessionId, applicationId };
    const data = {
      ...{ method, kind, again },
      // The event itself carries what the first sign-in of the session has said: this one may come from elsewhere.
      ...(again && { clientVersion, ipAddress }),
      ...(impersonation !== null && { reason: impersonation.reason }),
    };
    await recordEvents(sql, tenantId, [{ type: 'session.opened', actor, data }]);
  }
}

/** Whether two of them must not be opened at the same instant. */
function isAlone({ kind, applicationId }: NewSession): boolean {
  return kind === 'replaceable' || givenAgain.includes(applicationId);
}

function placeOf({ tenantId, user, applicationId }: NewSession): string {
  return `session/${tenantId}/${user.principalId}/${applicationId}`;
}

/** Asked again with the row locked: whoever disables the user ends this session too, or comes before it. */
async function refuseDisabled(sql: Sql, { tenantId, user, impersonation }: NewSession): Promise<void> {
  const who = impersonation === null ? [user.principalId] : [user.principalId, impersonation.impersonatorId];
  const disabled = await sql.query<{ disabled: boolean }>(
    `select disabled_at is not null as disabled from principal
      where tenant_id = $1::uuid and id = any($2::uuid[]) order by id for share`,
    [tenantId, who],
  );
  const [tenant] = await sql.query<{ suspended: boolean }>(
    'select suspended_at is not null as suspended from tenant where id = $1::uuid',
    [tenantId],
  );
  const reason = tenant?.suspended !== false ? 'suspended' : disabled.some((row) => row.disabled) ? 'disabled' : null;
  if (reason !== null) throw new WaybillError('unauthenticated', 'the sign-in is refused', { reason });
  if (impersonation === null) return;
  const alive = await sql.query(
    'select id from session where tenant_id = $1::uuid and id = $2::uuid and ended_at is null for share',
    [tenantId, impersonation.parentId],
  );
  if (alive.length === 0)
    throw new WaybillError('unauthenticated', 'the service session has ended', { reason: 'service-session' });
}

async function findReplaced(sql: Sql, { tenantId, user, applicationId }: NewSession): Promise<string[]> {
  const found = await sql.query<{ id: string }>(
    `select id from session where tenant_id = $1::uuid and principal_id = $2::uuid and application_id = $3::int
        and kind = 'replaceable' and ended_at is null`,
    [tenantId, user.principalId, applicationId],
  );
  return found.map(({ id }) => id);
}

/** The newest that is alive. One whose text was made with an older key of the tenant cannot be given again. */
async function findAlive(
  sql: Sql,
  secretBox: SecretBox,
  session: NewSession,
): Promise<Pick<OpenedSession, 'id' | 'text' | 'expiresAt'> | undefined> {
  const { tenantId, user, applicationId, method, userString, impersonation } = session;
  const [found] = await sql.query<{ id: string; expiresAt: Date; tokenHash: Buffer }>(
    `select id, expires_at as "expiresAt", token_hash as "tokenHash" from session
      where tenant_id = $1::uuid and principal_id = $2::uuid and application_id = $3::int and method = $4::text
        and user_string is not distinct from $5::text and parent_id is not distinct from $6::uuid
        and kind = 'concurrent' and ended_at is null and expires_at > now()
      order by created_at desc limit 1`,
    [tenantId, user.principalId, applicationId, method, userString, impersonation?.parentId ?? null],
  );
  if (found === undefined) return undefined;
  const { id, expiresAt, tokenHash } = found;
  const text = await sessionTextOf(secretBox, tenantId, id);
  return hashOfSessionText(text).equals(tokenHash) ? { id, text, expiresAt } : undefined;
}

async function insert(sql: Sql, session: NewSession, id: string, tokenHash: Buffer): Promise<Date> {
  const { tenantId, user, applicationId, kind, method, clientVersion, ipAddress, userString, impersonation } = session;
  const hours = kind === 'replaceable' ? replaceableLifetimeHours : concurrentLifetimeHours;
  const [row] = await sql.query<{ expiresAt: Date }>(
    `with opened as (
       insert into session (tenant_id, id, principal_id, application_id, kind, expires_at, token_hash, method, client_version,
         ip_address, user_string, impersonator_id, parent_id, reason)
       values ($1::uuid, $2::uuid, $3::uuid, $4::int, $5::text, now() + make_interval(hours => $6::int), $7::bytea, $8::text,
         $9::text, $10::text, $11::text, $12::uuid, $13::uuid, $14::text)
       returning expires_at
     ), indexed as (
       insert into credential_index (hash, kind, tenant_id, credential_id) values ($7::bytea, 'session', $1::uuid, $2::uuid)
     )
     select expires_at as "expiresAt" from opened`,
    [
      ...[tenantId, id, user.principalId, applicationId, kind, hours, tokenHash, method, clientVersion, ipAddress],
      ...[userString, impersonation?.impersonatorId ?? null, impersonation?.parentId ?? null],
      impersonation?.reason ?? null,
    ],
  );
  return row!.expiresAt;
}
