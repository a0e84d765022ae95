import { type NewEvent, recordEvents } from '../../audit/record.ts';
import { addGrant, type GrantAction, removeGrant } from '../../identity/grants.ts';
import type { EndedSessions } from '../../identity/sessions/endSessions.ts';
import { endWithdrawnSessions } from '../../identity/sessions/endWithdrawn.ts';
import { lockAccounts } from '../../identity/users.ts';
import type { TenantTransaction } from '../../prisma/contract.ts';
import type { Principal } from '../../prisma/generated/client.ts';
import { WaybillError } from '../../schema/errors.ts';
import { resourceNamePattern } from '../../schema/names.ts';
import type { Operation } from '../context.ts';
import { tellEnded } from './closeSession.ts';
import { actorOf } from './events.ts';
import { checkGivable } from './users.ts';

export interface GrantInput {
  account: string;
  action: GrantAction;
  target: string;
}

/**
 * Makes an account that runs act as. Beyond its role, `service` when not given, it may do nothing until something is
 * granted. Throws invalid for a name or role out of form, conflict for a name that is taken, forbidden for a role that may
 * more than the caller.
 */
export async function createServiceAccount(
  { store, caller }: Operation,
  { name, role: asked }: { name: string; role?: string | null | undefined },
): Promise<{ account: Principal }> {
  const { tenantId } = caller;
  const role = asked ?? 'service';
  checkGivable(caller, role);
  if (!new RegExp(resourceNamePattern).test(name))
    throw new WaybillError(
      'invalid',
      'a name has 3 to 63 lower-case letters, digits and hyphens, and begins with a letter',
      {
        field: 'name',
      },
    );
  return store.withTenant(tenantId, async ({ db, sql }) => {
    await lockAccounts(sql, tenantId);
    const namesakes = await sql.query('select 1 from principal where tenant_id = $1::uuid and lower(name) = $2::text', [
      tenantId,
      name,
    ]);
    if (namesakes.length > 0)
      throw new WaybillError('conflict', `there is an account ${name} already`, { field: 'name' });
    const account = await db.principal.create({ data: { tenantId, kind: 'service', name, role } });
    const data = { account: name, role: account.role };
    await recordEvents(sql, tenantId, [{ type: 'account.created', actor: actorOf(caller), data }]);
    return { account };
  });
}

/**
 * Lets an account act as another one, or use an endpoint. What it had already stays. Throws not-found for an account or a
 * target that is not there.
 */
export async function grantAccount(operation: Operation, input: GrantInput): Promise<{ account: Principal }> {
  return change(operation, input, 'account.granted', async (transaction, account) => {
    const { tenantId, principalId } = operation.caller;
    await checkTarget(transaction, tenantId, input);
    const { action, target } = input;
    return addGrant(transaction.sql, tenantId, { principalId: account.id, action, target, createdBy: principalId });
  });
}

/**
 * Takes a grant away. Runs that go on are not stopped by it, the next one is refused; but a session in which the account
 * acts as the target, and may no more, ends with its runs. Throws not-found for an unknown account.
 */
export async function revokeGrant(operation: Operation, input: GrantInput): Promise<{ account: Principal }> {
  const { tenantId } = operation.caller;
  const { action, target } = input;
  let ended: EndedSessions = { sessionIds: [], runs: [] };
  const revoked = await change(operation, input, 'account.revoked', async ({ sql }, account) => {
    const isRemoved = await removeGrant(sql, tenantId, { principalId: account.id, action, target });
    if (isRemoved && action === 'actAs')
      ended = await endWithdrawnSessions(sql, tenantId, account.id, actorOf(operation.caller));
    return isRemoved;
  });
  await tellEnded(operation, ended);
  return revoked;
}

async function change(
  { store, caller }: Operation,
  { account: name, action, target }: GrantInput,
  type: NewEvent['type'],
  work: (transaction: TenantTransaction, account: Principal) => Promise<boolean>,
): Promise<{ account: Principal }> {
  const { tenantId } = caller;
  return store.withTenant(tenantId, async (transaction) => {
    const account = await transaction.db.principal.findFirst({ where: { tenantId, name } });
    if (account === null) throw notThere('account', name, 'account');
    if (await work(transaction, account)) {
      const data = { account: name, action, target };
      await recordEvents(transaction.sql, tenantId, [{ type, actor: actorOf(caller), data }]);
    }
    return { account };
  });
}

async function checkTarget({ db }: TenantTransaction, tenantId: string, { action, target }: GrantInput): Promise<void> {
  const where = { tenantId, name: target };
  if (action === 'actAs') {
    if ((await db.principal.findFirst({ where })) === null) throw notThere('account', target, 'target');
  } else if ((await db.connectorEndpoint.findFirst({ where })) === null) throw notThere('endpoint', target, 'target');
}

function notThere(what: string, name: string, field: string): WaybillError {
  return new WaybillError('not-found', `there is no ${what} ${JSON.stringify(name)}`, { field });
}
