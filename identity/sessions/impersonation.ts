import type { Sql } from '../../prisma/contract.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { Caller } from '../caller.ts';
import { allow, mayGive, type Permission, permissions } from '../permissions.ts';
import { type FoundUser, findUserByNumber } from '../users.ts';
import type { Impersonation } from './openSession.ts';

/** What nobody does in the name of somebody else: make, change or end credentials and rights, or act as a third. */
const deniedToImpersonators: readonly Permission[] = [
  'session:impersonate',
  'key:create',
  'key:revoke',
  'secret:set',
  'secret:rotate',
  'account:change',
  'user:change',
  'application:change',
  'integration:change',
];

/** The scopes of a session in which somebody acts as its user: besides these the user's role decides. */
export const scopesOfImpersonators: readonly Permission[] = permissions.filter(
  (permission) => !deniedToImpersonators.includes(permission),
);

/** Nobody acts as one of these with a grant alone. */
const neverByGrant: readonly string[] = ['owner'];

/**
 * The user as whom a service session may act, and how. It never climbs: the role of the user may do nothing that the
 * service may not, or the service has an actAs grant for the user, who is no owner. It never nests. Throws unauthenticated
 * with one message for all causes (`context.reason` is for the audit), and invalid for a reason that the tenant asks for.
 */
export async function proveImpersonation(
  sql: Sql,
  service: Caller,
  { userId, reason }: { userId: number; reason: string | null },
): Promise<{ user: FoundUser; impersonation: Impersonation }> {
  const { credential, tenantId, principalId } = service;
  if (credential.kind !== 'session') throw refused('service-session');
  if (credential.impersonatorId !== null) throw refused('nested');
  if (!allow(service, 'session:impersonate')) throw refused('not-permitted');
  const user = await findUserByNumber(sql, tenantId, userId);
  if (user === undefined) throw refused('unknown');
  if (user.disabled) throw refused('disabled');
  const isGranted = await hasGrant(sql, service, user);
  if (!mayActAs(service, { role: user.role, isGranted })) throw refused('higher-role');
  if (reason === null && (await needsReason(sql, tenantId)))
    throw new WaybillError('invalid', 'say why you act as the user', { field: 'reason' });
  return { user, impersonation: { impersonatorId: principalId, parentId: credential.id, reason } };
}

/** Whether who may impersonate at all does not climb by it. Asked again with each request: roles and grants change. */
export function mayActAs(
  service: { role: string; scopes: readonly string[] },
  user: { role: string; isGranted: boolean },
): boolean {
  if (!allow(service, 'session:impersonate')) return false;
  if (mayGive(service, { role: user.role, scopes: ['*'] })) return true;
  return user.isGranted && !neverByGrant.includes(user.role);
}

async function hasGrant(sql: Sql, { tenantId, principalId }: Caller, user: FoundUser): Promise<boolean> {
  const granted = await sql.query(
    `select 1 from principal_grant
      where tenant_id = $1::uuid and principal_id = $2::uuid and action = 'actAs' and target = $3::text`,
    [tenantId, principalId, user.name],
  );
  return granted.length > 0;
}

async function needsReason(sql: Sql, tenantId: string): Promise<boolean> {
  const [tenant] = await sql.query<{ needed: boolean }>(
    'select impersonation_reason as needed from tenant where id = $1::uuid',
    [tenantId],
  );
  return tenant?.needed === true;
}

function refused(reason: string): WaybillError {
  return new WaybillError('unauthenticated', 'the service session may not act as that user', { reason });
}
