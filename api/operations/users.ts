import { type NewEvent, recordEvents } from '../../audit/record.ts';
import type { Caller } from '../../identity/caller.ts';
import { checkNewPassword } from '../../identity/passwordRules.ts';
import { allow, mayGive, roles } from '../../identity/permissions.ts';
import { endReasons, endSessionsOf } from '../../identity/sessions/endSessions.ts';
import { endWithdrawnSessions } from '../../identity/sessions/endWithdrawn.ts';
import {
  checkNewDetails,
  findUserByName,
  createUser as insertUser,
  lockAccounts,
  type UserDetails,
} from '../../identity/users.ts';
import type { StoppedRun } from '../../prisma/admission.ts';
import type { Sql, TenantTransaction } from '../../prisma/contract.ts';
import type { Principal } from '../../prisma/generated/client.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { Operation } from '../context.ts';
import { actorOf } from './events.ts';
import { stopRuns } from './stopRun.ts';

export interface CreateUserInput {
  userName: string;
  email?: string | null | undefined;
  firstName?: string | null | undefined;
  lastName?: string | null | undefined;
  role?: string | null | undefined;
  password: string;
}

/** What a user may do to whom nobody has given a role. */
const defaultRole = 'uploader';

/** Makes a user who signs in with that password. Throws invalid for what is out of form, conflict for a name or an address that is taken, forbidden for a role that may more than the caller. */
export async function createUser(operation: Operation, input: CreateUserInput): Promise<{ user: Principal }> {
  const { store, caller, passwords } = operation;
  const { tenantId } = caller;
  const role = input.role ?? defaultRole;
  checkGivable(caller, role);
  checkNewPassword(input.password, input.userName);
  const hash = await passwords.hash(input.password);
  return store.withTenant(tenantId, async ({ db, sql }) => {
    const { userName: name, email = null, firstName = null, lastName = null } = input;
    const { principalId } = await insertUser(
      sql,
      tenantId,
      { name, email, firstName, lastName, role },
      actorOf(caller),
    );
    await db.principalPassword.create({ data: { tenantId, principalId, hash } });
    return { user: await db.principal.findFirstOrThrow({ where: { tenantId, id: principalId } }) };
  });
}

export interface ChangeUserInput {
  userName: string;
  email?: string | null | undefined;
  /** Empty: the user has none from now on. */
  firstName?: string | null | undefined;
  lastName?: string | null | undefined;
  role?: string | null | undefined;
}

/**
 * Gives a user another e-mail address, first or last name, or role; what is not given stays. Throws invalid for what is out
 * of form and when nothing is given, not-found, forbidden when one of both roles may more than the caller, conflict for the
 * last owner and for an address that another user has. A session in which somebody acts as a user, and may no more, ends.
 */
export async function changeUser(
  operation: Operation,
  { userName, ...input }: ChangeUserInput,
): Promise<{ user: Principal }> {
  const { caller } = operation;
  let stopped: StoppedRun[] = [];
  const changed = await change(operation, userName, async ({ db, sql }, user) => {
    const { tenantId, id } = user;
    const given = Object.fromEntries(Object.entries(input).filter(([, value]) => value != null)) as UserDetails;
    if (Object.keys(given).length === 0)
      throw new WaybillError('invalid', 'nothing is given to change: an email, firstName, lastName or role');
    await checkNewDetails(sql, { tenantId, principalId: id }, given);
    if (given.role !== undefined) checkGivable(caller, given.role);
    const { after, before } = differenceOf(user, given);
    if (before.role === 'owner') await checkAnotherOwner(sql, user);
    if (Object.keys(after).length === 0) return null;
    await db.principal.updateMany({ where: { tenantId, id }, data: after });
    if (after.role !== undefined) stopped = (await endWithdrawnSessions(sql, tenantId, id, actorOf(caller))).runs;
    return { type: 'user.changed', data: { user: user.name, ...after, before } };
  });
  await stopRuns(operation, { tenantId: caller.tenantId, actor: actorOf(caller) }, stopped);
  return changed;
}

type Details = Partial<Pick<Principal, keyof UserDetails>>;

/** What is new, and what was there before it. An empty name is none. */
function differenceOf(user: Principal, given: UserDetails): { after: Details; before: Details } {
  const wanted = Object.entries(given).map(([detail, value]) => [detail as keyof UserDetails, value || null] as const);
  const news = wanted.filter(([detail, value]) => user[detail] !== value);
  return {
    after: Object.fromEntries(news) as Details,
    before: Object.fromEntries(news.map(([detail]) => [detail, user[detail]])),
  };
}

/** Ends a user's sessions and keys from now on; one who was disabled stays so. Throws not-found, conflict for the last owner. */
export async function disableUser(
  operation: Operation,
  { userName }: { userName: string },
): Promise<{ user: Principal }> {
  const actor = actorOf(operation.caller);
  let stopped: StoppedRun[] = [];
  const changed = await change(operation, userName, async ({ db, sql }, user) => {
    if (user.disabledAt !== null) return null;
    if (user.role === 'owner') await checkAnotherOwner(sql, user);
    const { tenantId, id } = user;
    await db.principal.updateMany({ where: { tenantId, id }, data: { disabledAt: new Date() } });
    stopped = (await endSessionsOf(sql, tenantId, id, { reason: endReasons.disabled, actor })).runs;
    return { type: 'user.disabled', data: { user: user.name } };
  });
  await stopRuns(operation, { tenantId: operation.caller.tenantId, actor: actorOf(operation.caller) }, stopped);
  return changed;
}

/** Lets a disabled user in again, also one who is locked. Throws not-found. */
export async function enableUser(
  operation: Operation,
  { userName }: { userName: string },
): Promise<{ user: Principal }> {
  return change(operation, userName, async ({ db }, user) => {
    const { tenantId, id } = user;
    const unlocked = await db.principalPassword.updateMany({
      where: { tenantId, principalId: id, failures: { gt: 0 } },
      data: { failures: 0, lockedUntil: null },
    });
    if (user.disabledAt === null && unlocked.count === 0) return null;
    await db.principal.updateMany({ where: { tenantId, id }, data: { disabledAt: null } });
    return { type: 'user.enabled', data: { user: user.name } };
  });
}

export interface SetPasswordInput {
  /** The caller's own when not given. */
  userName?: string | null | undefined;
  password: string;
  currentPassword?: string | null | undefined;
  oneTimeCode?: string | null | undefined;
  /** Of somebody else: good for one sign-in, whose session may only set another. */
  oneTime?: boolean | null | undefined;
}

/**
 * Sets the caller's own password, which the present one proves, or, with `user:change`, that of somebody else, whose lock
 * and sessions end with it. A session of a one-time password needs no other proof. Throws invalid for a password out of bounds,
 * forbidden without the right or the proof, not-found.
 */
export async function setPassword(operation: Operation, input: SetPasswordInput): Promise<{ user: Principal }> {
  const { store, caller, passwords } = operation;
  const { tenantId } = caller;
  const userName = input.userName ?? caller.principalName;
  const isOwn = userName.toLowerCase() === caller.principalName.toLowerCase();
  checkMayChangeCredentials(caller);
  if (!isOwn && !allow(caller, 'user:change'))
    throw new WaybillError('forbidden', "only an owner sets somebody else's password", { field: 'userName' });
  checkNewPassword(input.password, userName);
  if (isOwn) await proveOwn(operation, input);
  const hash = await passwords.hash(input.password);
  let stopped: StoppedRun[] = [];
  const changed = await store.withTenant(tenantId, async (transaction) => {
    const user = await findUser(transaction, tenantId, userName);
    if (!isOwn) {
      checkGivable(caller, user.role);
      const end = { reason: endReasons.byOperator, actor: actorOf(caller) };
      stopped = (await endSessionsOf(transaction.sql, tenantId, user.id, end)).runs;
    }
    const set = { hash, setAt: new Date(), oneTime: !isOwn && input.oneTime === true, failures: 0, lockedUntil: null };
    await transaction.db.principalPassword.upsert({
      where: { tenantId_principalId: { tenantId, principalId: user.id } },
      create: { tenantId, principalId: user.id, ...set },
      update: set,
    });
    const event = { type: 'user.password-set', actor: actorOf(caller), data: { user: user.name } };
    await recordEvents(transaction.sql, tenantId, [event]);
    return { user };
  });
  await stopRuns(operation, { tenantId: operation.caller.tenantId, actor: actorOf(operation.caller) }, stopped);
  return changed;
}

/** What a session of somebody who acts as another may not do, whatever the other may. Throws forbidden. */
export function checkMayChangeCredentials({ credential }: Caller): void {
  if (credential.kind === 'session' && credential.impersonatorId !== null)
    throw new WaybillError('forbidden', 'who acts as somebody else does not change how that one signs in');
}

/** Whoever holds a session does not hold the user: the present password says so, or a key that may change users anyway. */
async function proveOwn(operation: Operation, input: SetPasswordInput): Promise<void> {
  const { store, caller } = operation;
  const { tenantId, principalId, credential } = caller;
  if (credential.kind === 'key' && allow(caller, 'user:change')) return;
  const { currentPassword: password, oneTimeCode } = input;
  if (password == null) {
    const own = await store.withTenant(tenantId, ({ db }) =>
      db.principalPassword.findFirst({ where: { tenantId, principalId } }),
    );
    if (own?.oneTime === true && credential.kind === 'session') return;
    throw new WaybillError('forbidden', 'give the present password too', { field: 'currentPassword' });
  }
  await provePassword(operation, { password, oneTimeCode });
}

/** Throws forbidden when the password, and the code of an authenticator, are not those of the caller's own user. */
export async function provePassword(
  { store, caller, passwords }: Operation,
  { password, oneTimeCode }: { password: string; oneTimeCode: string | null | undefined },
): Promise<void> {
  const attempt = { userName: caller.principalName, password, oneTimeCode: oneTimeCode ?? undefined };
  await passwords.prove(store, caller.tenantId, attempt).catch((error: unknown) => {
    if (!(error instanceof WaybillError) || error.kind !== 'unauthenticated') throw error;
    throw new WaybillError('forbidden', 'the present password or the code is not right', { field: 'currentPassword' });
  });
}

async function change(
  { store, caller }: Operation,
  userName: string,
  work: (transaction: TenantTransaction, user: Principal) => Promise<Pick<NewEvent, 'type' | 'data'> | null>,
): Promise<{ user: Principal }> {
  const { tenantId } = caller;
  checkMayChangeCredentials(caller);
  return store.withTenant(tenantId, async (transaction) => {
    await lockAccounts(transaction.sql, tenantId);
    const user = await findUser(transaction, tenantId, userName);
    checkGivable(caller, user.role);
    const event = await work(transaction, user);
    if (event !== null) await recordEvents(transaction.sql, tenantId, [{ ...event, actor: actorOf(caller) }]);
    return { user: await findUser(transaction, tenantId, userName) };
  });
}

/** By name in whatever case. Throws not-found. */
export async function findUser({ db, sql }: TenantTransaction, tenantId: string, userName: string): Promise<Principal> {
  const found = await findUserByName(sql, tenantId, userName);
  if (found === undefined)
    throw new WaybillError('not-found', `there is no user ${JSON.stringify(userName)}`, { field: 'userName' });
  return db.principal.findFirstOrThrow({ where: { tenantId, id: found.principalId } });
}

/** Throws invalid for no role, forbidden for one that may more than the caller: nobody gets at rights that they lack. */
export function checkGivable(caller: Caller, role: string): void {
  if (!(roles as readonly string[]).includes(role))
    throw new WaybillError('invalid', `there is no role ${JSON.stringify(role)}; one of ${roles.join(', ')}`, {
      field: 'role',
    });
  if (!mayGive(caller, { role, scopes: ['*'] }))
    throw new WaybillError('forbidden', `the role ${role} may more than the asking credential`, { field: 'role' });
}

/** Somebody must be left who may change this. Under the lock on the tenant's accounts, so that two do not remove each other. */
async function checkAnotherOwner(sql: Sql, { tenantId, id }: Principal): Promise<void> {
  const [another] = await sql.query(
    `select 1 from principal where tenant_id = $1::uuid and id <> $2::uuid and kind = 'user' and role = 'owner'
        and disabled_at is null limit 1`,
    [tenantId, id],
  );
  if (another === undefined)
    throw new WaybillError('conflict', 'this is the last owner who is not disabled; make another one first', {
      field: 'userName',
    });
}
