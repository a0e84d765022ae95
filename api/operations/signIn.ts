import { isIP } from 'node:net';
import { type NewEvent, recordEvents } from '../../audit/record.ts';
import { checkApplication } from '../../identity/applications.ts';
import type { Visitor } from '../../identity/caller.ts';
import { checkText } from '../../identity/passwordRules.ts';
import type { ProvenUser } from '../../identity/provenUser.ts';
import { proveImpersonation } from '../../identity/sessions/impersonation.ts';
import type { Impersonation, NewSession, OpenSession } from '../../identity/sessions/openSession.ts';
import { verifySession } from '../../identity/sessions/verifySession.ts';
import { proveTicket } from '../../identity/tickets/proveTicket.ts';
import type { TicketLimit } from '../../identity/tickets/ticketLimit.ts';
import { findOrCreateUserByEmail, findUserByName } from '../../identity/users.ts';
import type { Principal } from '../../prisma/generated/client.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { Operation } from '../context.ts';
import type { ApiErrorCode } from '../errorCatalogue.ts';
import { limits } from '../limits.ts';
import type { SignInLimit } from '../signInLimit.ts';
import { boundedReason } from './reason.ts';
import { stopRuns } from './stopRun.ts';

/** What a sign-in needs: no caller, for there is none yet. */
export interface SignInOperation extends Omit<Operation, 'caller'> {
  visitor: Visitor;
  openSession: OpenSession;
  ticketLimit: TicketLimit;
  signInLimit: SignInLimit;
}

export interface SessionData {
  /** What is presented from now on. */
  sessionId: string;
  user: Principal;
  expiresAt: Date;
}

type Optional<Value> = Value | null | undefined;

/** What every way in takes besides its proof. */
export interface SignInFacts {
  applicationId: number;
  clientVersion?: Optional<string>;
  userString?: Optional<string>;
  /** Of the user's machine, when somebody signs in for the user. */
  ipAddress?: Optional<string>;
}

export interface PasswordProof {
  userName: string;
  password: string;
  oneTimeCode?: Optional<string>;
}

export interface ServiceProof {
  serviceSessionId: string;
  userId: number;
  reason?: Optional<string>;
}

/**
 * Signs in with a user name and a password. Like all of this file throws unauthenticated, with one message and one
 * `context.code` whatever was wrong (the event `session.denied` keeps why), invalid for what cannot be anybody's and, with
 * code APPLICATION_REFUSED, for the application, rate-limited after too many attempts.
 */
export async function openWithPassword(
  operation: SignInOperation,
  method: 'open' | 'openImmutable' | 'openImmutableUserString',
  { userName, password, oneTimeCode, ...facts }: PasswordProof & SignInFacts,
): Promise<SessionData> {
  const { store, passwords, visitor } = operation;
  const kind = method === 'open' ? 'replaceable' : 'concurrent';
  return signIn(operation, { method, kind, named: userName, code: 'SIGN_IN_REFUSED', facts }, async (tenantId) => {
    const attempt = { userName, password, oneTimeCode: oneTimeCode ?? undefined, address: visitor.address };
    return { user: await passwords.prove(store, tenantId, attempt), impersonation: null };
  });
}

/** Signs in with a ticket, which names the user. */
export async function openWithTicket(
  operation: SignInOperation,
  { ticket, ...facts }: { ticket: string } & SignInFacts,
): Promise<SessionData> {
  const attempt = {
    method: 'openWithTicket',
    kind: 'replaceable',
    named: null,
    code: 'TICKET_REFUSED',
    facts,
  } as const;
  return signIn(operation, attempt, async (tenantId) => {
    const { userName } = await takeTicket(operation, tenantId, ticket);
    const user = await operation.store.sql(tenantId, (sql) => findUserByName(sql, tenantId, userName));
    if (user === undefined || user.disabled) throw denied(user === undefined ? 'unknown' : 'disabled');
    return { user, impersonation: null };
  });
}

/** Signs in with a ticket that proves its key and time alone: the user is found by e-mail address, or made. */
export async function openWithTicketEx(
  operation: SignInOperation,
  { ticket, emailAddress, firstName, lastName, ...facts }: TicketExInput,
): Promise<SessionData> {
  const attempt = {
    method: 'openWithTicketEx',
    kind: 'replaceable',
    named: emailAddress,
    code: 'TICKET_REFUSED',
  } as const;
  return signIn(operation, { ...attempt, facts }, async (tenantId) => {
    await takeTicket(operation, tenantId, ticket);
    const person = { emailAddress, firstName: firstName ?? '', lastName: lastName ?? '' };
    const user = await operation.store.sql(tenantId, async (sql) => {
      // Asked again when the session is opened; here, so that nobody is made who cannot sign in.
      await checkApplication(sql, tenantId, facts.applicationId);
      return findOrCreateUserByEmail(sql, tenantId, person, { principalId: null });
    });
    if (user.disabled) throw denied('disabled');
    return { user, impersonation: null };
  });
}

export interface TicketExInput extends SignInFacts {
  ticket: string;
  emailAddress: string;
  firstName?: Optional<string>;
  lastName?: Optional<string>;
}

/** Signs in as another user, in the name of a service session that may: `proveImpersonation`. */
export async function openAsUser(
  operation: SignInOperation,
  method: 'openImmutableImpersonate' | 'openImmutableUserString',
  { serviceSessionId, userId, reason, ...facts }: ServiceProof & SignInFacts,
): Promise<SessionData> {
  const { store } = operation;
  const named = `userId ${userId}`;
  const attempt = { method, kind: 'concurrent', named, code: 'IMPERSONATION_REFUSED', facts } as const;
  return signIn(operation, attempt, async (tenantId) => {
    const service = await verifySession(store, serviceSessionId);
    if (service.tenantId !== tenantId) throw denied('other-site');
    if (reason != null) checkText('reason', reason, limits.reasonLength);
    const why = boundedReason(reason);
    return store.sql(tenantId, (sql) => proveImpersonation(sql, service, { userId, reason: why }));
  });
}

interface Attempt {
  method: NewSession['method'];
  kind: NewSession['kind'];
  /** Whom it names, for the limit and the audit log. */
  named: string | null;
  /** What a refusal is called. */
  code: Extract<ApiErrorCode, 'SIGN_IN_REFUSED' | 'TICKET_REFUSED' | 'IMPERSONATION_REFUSED'>;
  facts: SignInFacts;
}

type Prove = (tenantId: string) => Promise<{ user: ProvenUser; impersonation: Impersonation | null }>;

async function signIn(operation: SignInOperation, attempt: Attempt, prove: Prove): Promise<SessionData> {
  const { store, visitor, signInLimit } = operation;
  const { tenantId, address } = visitor;
  if (tenantId === null) throw refusedAs(attempt.code);
  const { method, named } = attempt;
  try {
    return await signInLimit({ method, tenantId, address, user: named }, async () => {
      checkFacts(attempt.facts);
      const proven = await prove(tenantId);
      const { facts, kind } = attempt;
      const { applicationId, clientVersion = null, userString = null, ipAddress = null } = facts;
      const opened = await operation.openSession({
        ...{ tenantId, ...proven, applicationId, kind, method, clientVersion, userString },
        ipAddress: ipAddress ?? address ?? null,
      });
      const actor = { principalId: proven.user.principalId, sessionId: opened.id, applicationId };
      await stopRuns(operation, { tenantId, actor }, opened.ended.runs);
      const user = await store.withTenant(tenantId, ({ db }) =>
        db.principal.findFirstOrThrow({ where: { tenantId, id: proven.user.principalId } }),
      );
      return { sessionId: opened.text, user, expiresAt: opened.expiresAt };
    });
  } catch (error) {
    if (!(error instanceof WaybillError) || !['unauthenticated', 'invalid'].includes(error.kind)) throw error;
    await recordDenied(operation, tenantId, attempt, error);
    throw error.kind === 'invalid' ? error : refusedAs(attempt.code, error);
  }
}

/** What cannot be stored or would break a line of the log. Throws invalid; `context.field` says which. */
function checkFacts({ clientVersion, userString, ipAddress }: SignInFacts): void {
  if (clientVersion) checkText('clientVersion', clientVersion, limits.clientVersionLength);
  if (userString != null) checkText('userString', userString, limits.userStringLength);
  // No zone either (fe80::1%eth0): it means something on that machine alone, and may be of any length.
  if (ipAddress != null && (isIP(ipAddress) === 0 || ipAddress.includes('%')))
    throw new WaybillError('invalid', 'ipAddress is no IPv4 or IPv6 address', { field: 'ipAddress' });
}

async function takeTicket(
  { store, secretBox, ticketLimit, visitor }: SignInOperation,
  tenantId: string,
  ticket: string,
): Promise<{ userName: string }> {
  return ticketLimit({ tenantId, address: visitor.address }, () => proveTicket({ store, secretBox }, tenantId, ticket));
}

/** Never a password, a ticket or a session; of a name no more than shows who was meant. */
async function recordDenied(
  { store, visitor }: SignInOperation,
  tenantId: string,
  { method, named, facts }: Attempt,
  error: WaybillError,
): Promise<void> {
  const event: NewEvent = {
    type: 'session.denied',
    outcome: 'failure',
    actor: { principalId: null },
    data: {
      method,
      reason: reasonOf(error),
      user: named?.slice(0, limits.deniedNameLength).toWellFormed() ?? null,
      application: facts.applicationId,
      clientVersion: facts.clientVersion?.slice(0, limits.clientVersionLength) ?? null,
      address: visitor.address ?? null,
    },
  };
  await store.sql(tenantId, (sql) => recordEvents(sql, tenantId, [event]));
}

function reasonOf({ kind, context }: WaybillError): string {
  if (kind === 'invalid') return context.code === undefined ? `invalid ${context.field}` : 'application';
  return String(context.reason ?? context.code ?? 'unknown session');
}

function denied(reason: string): WaybillError {
  return new WaybillError('unauthenticated', 'the sign-in is refused', { reason });
}

const words: Record<Attempt['code'], string> = {
  SIGN_IN_REFUSED: 'The user name or the password is not right.',
  TICKET_REFUSED: 'The ticket is not taken; ask for a new one.',
  IMPERSONATION_REFUSED: 'The service session may not act as that user.',
};

/** The one answer to all that is wrong; only who holds the text of a session that is over learns that it is. */
function refusedAs(code: Attempt['code'], cause?: WaybillError): WaybillError {
  const told = cause?.context.code;
  if (cause !== undefined && typeof told === 'string')
    return new WaybillError('unauthenticated', cause.message, { code: told });
  return new WaybillError('unauthenticated', words[code], { code, cause });
}
