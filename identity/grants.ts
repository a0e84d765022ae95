import type { Sql } from '../prisma/contract.ts';
import { WaybillError } from '../schema/errors.ts';
import { checkApplicationOfRun } from './applications.ts';

/** `actAs`: runs may act as that account. `use`: runs may reach that endpoint. The targets are names. */
export const grantActions = ['actAs', 'use'] as const;
export type GrantAction = (typeof grantActions)[number];

/** Roles that may use every endpoint without a grant. */
const usesEveryEndpoint: readonly string[] = ['owner', 'engineer'];
/** Roles that may act as every account without a grant. Everybody may act as themselves. */
const actsAsEveryone: readonly string[] = ['owner'];

/** What a pipeline is going to do, and in whose name. */
export interface IntendedUse {
  publisherId: string;
  /** `session.as`, the name of an account, or null: the run acts as its publisher. */
  as: string | null;
  endpoints: readonly string[];
}

export interface Actor {
  principalId: string;
  name: string;
}

/**
 * The account that a run acts as. The publisher must be allowed to act as it, and both to use every endpoint: nobody
 * reaches through a pipeline what they could not reach themselves. Asked when it is published and again when a run begins.
 * Throws forbidden, and not-found for an account that is not there; the message says who lacks what.
 */
export async function checkUse(sql: Sql, tenantId: string, use: IntendedUse): Promise<Actor> {
  const principals = await principalsOf(sql, tenantId, use);
  const publisher = principals.find(({ id }) => id === use.publisherId);
  if (publisher === undefined) throw new WaybillError('not-found', 'the account that published the pipeline is gone');
  const actor = use.as === null ? publisher : principals.find(({ name }) => name === use.as);
  if (actor === undefined)
    throw new WaybillError('not-found', `there is no account ${JSON.stringify(use.as)} to act as`, {
      field: 'session.as',
    });
  for (const principal of [publisher, actor])
    if (principal.disabled) throw new WaybillError('forbidden', `the account ${principal.name} is disabled`);
  if (!mayActAs(publisher, actor)) throw lacks(publisher, 'actAs', actor.name);
  for (const principal of new Set([publisher, actor]))
    for (const endpoint of use.endpoints) if (!mayUse(principal, endpoint)) throw lacks(principal, 'use', endpoint);
  return { principalId: actor.id, name: actor.name };
}

/**
 * `checkUse` of a run that is about to start: its endpoints must be there too, its application be registered, and its tenant
 * not suspended. Throws as that does, not-found for an endpoint, invalid for the application and forbidden for the tenant.
 */
export async function checkStart(
  sql: Sql,
  tenantId: string,
  use: IntendedUse & { application: number },
): Promise<Actor> {
  const suspended = await sql.query('select id from tenant where id = $1::uuid and suspended_at is not null', [
    tenantId,
  ]);
  if (suspended.length > 0) throw new WaybillError('forbidden', 'the tenant is suspended: no run of it starts');
  const actor = await checkUse(sql, tenantId, use);
  await checkApplicationOfRun(sql, tenantId, use.application);
  const [missing] = await sql.query<{ name: string }>(
    `select name from unnest($2::text[]) as wanted(name)
      where not exists (select from connector_endpoint e where e.tenant_id = $1::uuid and e.name = wanted.name) limit 1`,
    [tenantId, use.endpoints],
  );
  if (missing !== undefined)
    throw new WaybillError('not-found', `the endpoint ${missing.name} was removed since the pipeline was published`, {
      field: 'endpoints',
    });
  return actor;
}

/** Gives a principal a right, in the caller's transaction. False when it had it already. Throws conflict for an unknown principal. */
export async function addGrant(
  sql: Sql,
  tenantId: string,
  grant: { principalId: string; action: GrantAction; target: string; createdBy: string },
): Promise<boolean> {
  const added = await sql.query(
    `insert into principal_grant (tenant_id, principal_id, action, target, created_by)
     values ($1::uuid, $2::uuid, $3::text, $4::text, $5::uuid) on conflict do nothing returning action`,
    [tenantId, grant.principalId, grant.action, grant.target, grant.createdBy],
  );
  return added.length > 0;
}

/** Takes a right away, in the caller's transaction. False when there was none. */
export async function removeGrant(
  sql: Sql,
  tenantId: string,
  grant: { principalId: string; action: GrantAction; target: string },
): Promise<boolean> {
  const removed = await sql.query(
    `delete from principal_grant where tenant_id = $1::uuid and principal_id = $2::uuid and action = $3::text and target = $4::text
     returning action`,
    [tenantId, grant.principalId, grant.action, grant.target],
  );
  return removed.length > 0;
}

/** What was granted on an endpoint ends with it: another one of the same name is another place. */
export async function forgetEndpointGrants(sql: Sql, tenantId: string, endpoint: string): Promise<void> {
  await sql.query(`delete from principal_grant where tenant_id = $1::uuid and action = 'use' and target = $2::text`, [
    tenantId,
    endpoint,
  ]);
}

interface Principal extends Record<string, unknown> {
  id: string;
  name: string;
  role: string;
  disabled: boolean;
  actAs: string[];
  use: string[];
}

async function principalsOf(sql: Sql, tenantId: string, { publisherId, as }: IntendedUse): Promise<Principal[]> {
  return sql.query<Principal>(
    `select p.id, p.name, p.role, p.disabled_at is not null as disabled,
            array(select g.target from principal_grant g
                   where g.tenant_id = p.tenant_id and g.principal_id = p.id and g.action = 'actAs') as "actAs",
            array(select g.target from principal_grant g
                   where g.tenant_id = p.tenant_id and g.principal_id = p.id and g.action = 'use') as use
       from principal p where p.tenant_id = $1::uuid and (p.id = $2::uuid or p.name = $3::text)`,
    [tenantId, publisherId, as],
  );
}

function mayActAs(principal: Principal, account: Principal): boolean {
  return (
    principal.id === account.id || actsAsEveryone.includes(principal.role) || principal.actAs.includes(account.name)
  );
}

function mayUse(principal: Principal, endpoint: string): boolean {
  return usesEveryEndpoint.includes(principal.role) || principal.use.includes(endpoint);
}

function lacks(principal: Principal, action: GrantAction, target: string): WaybillError {
  const [words, option] = action === 'use' ? ['use the endpoint', '--use'] : ['act as', '--act-as'];
  return new WaybillError(
    'forbidden',
    `the account ${principal.name} may not ${words} ${target}; an owner grants it: waybill service-accounts grant ${principal.name} ${option} ${target}`,
    { field: action === 'use' ? 'endpoints' : 'session.as' },
  );
}
