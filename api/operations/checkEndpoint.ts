import { recordEvents } from '../../audit/record.ts';
import type { Capabilities, Reachable } from '../../connectors/contract.ts';
import type { ConnectorEndpoint } from '../../prisma/generated/client.ts';
import { asWaybillError, WaybillError } from '../../schema/errors.ts';
import { normalisePath } from '../../schema/paths.ts';
import type { Operation } from '../context.ts';
import { endsWithin } from '../deadline.ts';
import { limits } from '../limits.ts';
import { endpointByName, openHere, secretsOf, withoutSecrets } from './endpointByName.ts';
import { actorOf } from './events.ts';
import { forgetFailures } from './forgetFailures.ts';
import { releaseRuns } from './pauseEndpoint.ts';
import { type EndpointRights, probe } from './probe.ts';

/** What a check found: health, or the error a transfer would have met. */
export interface EndpointReport {
  server: string | null;
  roundTripMs: number | null;
  identity: string | null;
  /** How far the server's clock is ahead of ours. */
  clockSkewMs: number | null;
  /** Of an endpoint that holds files. */
  rights: EndpointRights | null;
  capabilities: Capabilities | null;
  /** A file that the check could not remove again. */
  left: string | null;
  errorKind: string | null;
  errorMessage: string | null;
}

/**
 * Reaches the endpoint, signs in and tries what the account may do in that folder; what goes wrong there is in the report,
 * and a right that is missing is no failure, but that to list. A success closes the breaker. Throws not-found for an
 * unknown name, invalid for a path out of form.
 */
export async function checkEndpoint(
  operation: Operation,
  input: { name: string; path?: string | null | undefined },
): Promise<{ endpoint: ConnectorEndpoint }> {
  const { store, caller } = operation;
  const { tenantId } = caller;
  const path = normalisePath(input.path ?? '/');
  const found = await store.withTenant(tenantId, (transaction) => endpointByName(transaction, tenantId, input.name));
  const report = await reach(operation, found, path);
  const ok = report.errorKind === null;
  const { endpoint, waiting } = await store.withTenant(tenantId, async ({ db, sql }) => {
    const { id, name } = found;
    const { count } = await db.connectorEndpoint.updateMany({
      where: { tenantId, id },
      data: { checkedAt: new Date(), checkOk: ok, checkReport: { ...report } as object },
    });
    if (count === 0)
      throw new WaybillError('not-found', `endpoint ${JSON.stringify(name)} was removed`, { field: 'name' });
    await db.endpointCheck.create({ data: { tenantId, endpointId: id, ok, report: { ...report } as object } });
    const old = await db.endpointCheck.findMany({
      where: { tenantId, endpointId: id },
      orderBy: [{ createdAt: 'desc' }, { id: 'desc' }],
      skip: limits.checksKept,
      select: { id: true },
    });
    if (old.length > 0)
      await db.endpointCheck.deleteMany({ where: { tenantId, id: { in: old.map((check) => check.id) } } });
    const actor = actorOf(caller);
    const { errorKind, identity, roundTripMs, clockSkewMs, rights } = report;
    const facts = { endpoint: name, errorKind, identity, roundTripMs, clockSkewMs, rights: rights && { ...rights } };
    await recordEvents(sql, tenantId, [
      { type: 'endpoint.checked', outcome: ok ? 'success' : 'failure', actor, data: facts },
    ]);
    return {
      endpoint: await db.connectorEndpoint.findFirstOrThrow({ where: { tenantId, id } }),
      waiting: ok ? await forgetFailures(operation, sql, found) : [],
    };
  });
  await releaseRuns(operation, waiting);
  return { endpoint };
}

async function reach(operation: Operation, endpoint: ConnectorEndpoint, path: string): Promise<EndpointReport> {
  const { log } = operation;
  let secrets: Record<string, string> = {};
  let reachable: Reachable | undefined;
  try {
    secrets = await secretsOf(operation, endpoint);
    const opened = openHere(operation, endpoint, secrets);
    reachable = opened.reachable;
    const signal = AbortSignal.timeout(limits.checkTimeoutMs);
    const { connector } = opened;
    const { server, roundTripMs, identity, clockSkewMs } = await endsWithin(
      limits.checkTimeoutMs,
      opened.reachable.check(signal),
    );
    const tried = connector === null ? null : await probe(connector, path, signal);
    if (tried?.rights.list === false)
      throw new WaybillError('forbidden', `${path}: the account may not list this folder`, { path });
    return {
      ...{ server, roundTripMs, identity },
      clockSkewMs: clockSkewMs ?? tried?.clockSkewMs ?? null,
      rights: tried?.rights ?? null,
      capabilities: connector === null ? null : { ...connector.capabilities },
      left: tried?.left ?? null,
      ...{ errorKind: null, errorMessage: null },
    };
  } catch (thrown) {
    const { kind, message } = asWaybillError(thrown);
    if (kind === 'internal')
      log.error({ endpoint: endpoint.name, cause: String(thrown) }, 'the check of an endpoint broke');
    const shown = kind === 'internal' ? 'the check broke; see the log of the API' : message;
    return {
      ...{
        server: null,
        roundTripMs: null,
        identity: null,
        clockSkewMs: null,
        rights: null,
        capabilities: null,
        left: null,
      },
      ...{ errorKind: kind, errorMessage: withoutSecrets(secrets, shown) },
    };
  } finally {
    await reachable?.close().catch((error: unknown) => log.debug({ cause: String(error) }, 'closing after a check'));
  }
}
