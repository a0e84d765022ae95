import { recordEvents } from '../../audit/record.ts';
import { keptWrites } from '../../prisma/ledger.ts';
import { asWaybillError, WaybillError } from '../../schema/errors.ts';
import { normalisePath } from '../../schema/paths.ts';
import { parseDurationMs } from '../../schema/quantities.ts';
import type { Operation } from '../context.ts';
import { endsWithin } from '../deadline.ts';
import { limits } from '../limits.ts';
import { endpointByName, openHere, secretsOf, withoutSecrets } from './endpointByName.ts';
import { actorOf } from './events.ts';

export interface Swept {
  folder: string;
  /** Unfinished writes of ours that were removed. */
  removed: number;
}

/**
 * Removes unfinished writes of ours from one folder: temporary files, uploads in parts; none that a run may go on with. Throws not-found, invalid for an
 * age under an hour and for an endpoint that keeps none, and unavailable with what the server said.
 */
export async function sweepEndpoint(
  operation: Operation,
  input: { name: string; path: string; olderThan: string },
): Promise<Swept> {
  const { store, caller } = operation;
  const { tenantId } = caller;
  const olderThanMs = parseDurationMs(input.olderThan);
  if (olderThanMs === undefined || olderThanMs < limits.sweepLeastAgeMs)
    throw new WaybillError('invalid', 'olderThan is a duration of 1h or more: a younger write may be under way', {
      field: 'olderThan',
    });
  const path = normalisePath(input.path);
  const endpoint = await store.withTenant(tenantId, (transaction) => endpointByName(transaction, tenantId, input.name));
  const secrets = await secretsOf(operation, endpoint);
  const { connector, reachable } = openHere(operation, endpoint, secrets);
  try {
    if (connector?.sweep === undefined)
      throw new WaybillError('invalid', `endpoints of ${endpoint.connector} keep no unfinished writes`, {
        field: 'name',
      });
    const signal = AbortSignal.timeout(limits.sweepTimeoutMs);
    const kept = await store.sql(tenantId, (sql) => keptWrites(sql, tenantId));
    const removed = await endsWithin(limits.sweepTimeoutMs, connector.sweep(path, olderThanMs, signal, kept));
    const data = { endpoint: endpoint.name, path, olderThan: input.olderThan, removed };
    await store.sql(tenantId, (sql) =>
      recordEvents(sql, tenantId, [{ type: 'endpoint.swept', actor: actorOf(caller), data }]),
    );
    return { folder: path, removed };
  } catch (thrown) {
    const { kind, message } = asWaybillError(thrown);
    if (kind === 'invalid' || kind === 'internal') throw thrown;
    throw new WaybillError('unavailable', `${kind}: ${withoutSecrets(secrets, message)}`);
  } finally {
    await reachable.close().catch(() => undefined);
  }
}
