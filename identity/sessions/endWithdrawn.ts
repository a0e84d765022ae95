import type { Sql } from '../../prisma/contract.ts';
import { type EndedSessions, endReasons, endSessions, type SessionsEnd } from './endSessions.ts';
import { mayActAs } from './impersonation.ts';

/**
 * Ends the sessions of an account, or in its name, in which somebody acts as a user and may do so no more, since a role or a
 * grant is another one. They let nobody in from then on anyway; this stops their runs. As `endSessions`.
 */
export async function endWithdrawnSessions(
  sql: Sql,
  tenantId: string,
  principalId: string,
  actor: SessionsEnd['actor'],
): Promise<EndedSessions> {
  const alive = await sql.query<{ id: string; role: string; serviceRole: string; isGranted: boolean }>(
    `select s.id, p.role, i.role as "serviceRole",
            exists (select from principal_grant g
                     where g.tenant_id = s.tenant_id and g.principal_id = i.id and g.action = 'actAs' and g.target = p.name) as "isGranted"
       from session s
       join principal p on p.tenant_id = s.tenant_id and p.id = s.principal_id
       join principal i on i.tenant_id = s.tenant_id and i.id = s.impersonator_id
      where s.tenant_id = $1::uuid and $2::uuid in (p.id, i.id) and s.ended_at is null and s.token_hash is not null`,
    [tenantId, principalId],
  );
  const withdrawn = alive.filter(
    ({ role, serviceRole, isGranted }) => !mayActAs({ role: serviceRole, scopes: ['*'] }, { role, isGranted }),
  );
  return endSessions(
    sql,
    tenantId,
    withdrawn.map(({ id }) => id),
    { reason: endReasons.withdrawn, ...(actor && { actor }) },
  );
}
