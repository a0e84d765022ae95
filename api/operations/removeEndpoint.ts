import { recordEvents } from '../../audit/record.ts';
import { forgetEndpointGrants } from '../../identity/grants.ts';
import type { TenantTransaction } from '../../prisma/contract.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { Operation } from '../context.ts';
import { lockConfiguration } from './configuration/lock.ts';
import { actorOf } from './events.ts';
import { refuseWhileUsed } from './usesOfEndpoint.ts';

/** Removes an endpoint and the secrets stored for it. Throws not-found, and conflict while it is used. */
export async function removeEndpoint(operation: Operation, input: { name: string }): Promise<{ name: string }> {
  const { store, caller } = operation;
  return store.withTenant(caller.tenantId, async (transaction) => {
    await lockConfiguration(transaction.sql, caller.tenantId);
    await deleteEndpoint(operation, transaction, input.name);
    return { name: input.name };
  });
}

/** The same within a transaction that holds the configuration's lock. */
export async function deleteEndpoint(
  { caller }: Operation,
  { db, sql }: TenantTransaction,
  name: string,
): Promise<void> {
  const { tenantId } = caller;
  await refuseWhileUsed(sql, tenantId, name);
  const { count } = await db.connectorEndpoint.deleteMany({ where: { tenantId, name } });
  if (count === 0)
    throw new WaybillError('not-found', `there is no endpoint ${JSON.stringify(name)}`, { field: 'name' });
  await db.secret.deleteMany({ where: { tenantId, name: { startsWith: `endpoint/${name}/` } } });
  await forgetEndpointGrants(sql, tenantId, name);
  await recordEvents(sql, tenantId, [{ type: 'endpoint.removed', actor: actorOf(caller), data: { endpoint: name } }]);
}
