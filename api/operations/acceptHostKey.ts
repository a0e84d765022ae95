import { createHash } from 'node:crypto';
import { recordEvents } from '../../audit/record.ts';
import type { ConnectorEndpoint, Prisma } from '../../prisma/generated/client.ts';
import { asWaybillError, WaybillError } from '../../schema/errors.ts';
import type { Operation } from '../context.ts';
import { lockConfiguration } from './configuration/lock.ts';
import { endpointByName } from './endpointByName.ts';
import { actorOf } from './events.ts';
import { forgetFailures } from './forgetFailures.ts';
import { releaseRuns } from './pauseEndpoint.ts';
import { boundedReason } from './reason.ts';

/**
 * Trusts the host key that the server shows now, and of those that were trusted only what it still shows. Accepts nothing
 * but what it shows at this moment. The endpoint gets a new version, and its file is out of date: applying the old file
 * puts the old key back. Runs that wait because the endpoint was refused go on. Throws not-found, invalid, and unavailable
 * when the server cannot be asked.
 */
export async function acceptHostKey(
  operation: Operation,
  input: { name: string; fingerprint: string; reason: string },
): Promise<{ endpoint: ConnectorEndpoint }> {
  const { store, caller, registry, connectorContext } = operation;
  const { tenantId } = caller;
  const found = await store.withTenant(tenantId, (transaction) => endpointByName(transaction, tenantId, input.name));
  const { hostKeys } = registry.find(found.connector) ?? {};
  if (hostKeys === undefined)
    throw new WaybillError('invalid', `endpoints of ${found.connector} are not trusted by a host key`, {
      field: 'name',
    });
  const shown = await hostKeys.shown(found.config as never, connectorContext).catch((thrown: unknown) => {
    const { kind, message } = asWaybillError(thrown);
    throw new WaybillError('unavailable', `the server was not asked: ${kind}: ${message}`, { cause: thrown });
  });
  const fingerprint = input.fingerprint.replace(/=+$/, '');
  const shownNow = shown.map((key) => key.fingerprint);
  if (!shownNow.includes(fingerprint))
    throw new WaybillError(
      'invalid',
      `the server shows ${shownNow.join(' and ')}, not ${fingerprint}; ask its owner which is right`,
      { field: 'fingerprint' },
    );
  const { endpoint, waiting } = await store.withTenant(tenantId, async (transaction) => {
    const { db, sql } = transaction;
    await lockConfiguration(sql, tenantId);
    const endpoint = await endpointByName(transaction, tenantId, input.name);
    if (endpoint.version !== found.version)
      throw new WaybillError('conflict', 'the endpoint was changed meanwhile; ask again', { field: 'name' });
    const trusted = hostKeys.trusted(endpoint.config as never).map((key) => key.replace(/=+$/, ''));
    if (trusted.includes(fingerprint)) return { endpoint, waiting: [] };
    const kept = [...trusted.filter((key) => shownNow.includes(key)), fingerprint];
    const config = hostKeys.trust(endpoint.config as never, kept) as Prisma.InputJsonObject;
    const contentHash = createHash('sha256').update(`${endpoint.contentHash} accepted ${fingerprint}`).digest('hex');
    const changed = await db.connectorEndpoint.update({
      where: { tenantId_id: { tenantId, id: endpoint.id } },
      data: { config, contentHash, version: { increment: 1 }, updatedAt: new Date() },
    });
    const data = {
      ...{ endpoint: endpoint.name, version: changed.version, before: trusted, after: kept, accepted: fingerprint },
      reason: boundedReason(input.reason),
    };
    await recordEvents(sql, tenantId, [{ type: 'endpoint.host-key-accepted', actor: actorOf(caller), data }]);
    return { endpoint: changed, waiting: await forgetFailures(operation, sql, changed) };
  });
  await releaseRuns(operation, waiting);
  return { endpoint };
}
