import { recordEvents } from '../../audit/record.ts';
import type { Health, Reachable } from '../../connectors/contract.ts';
import type { ConnectorEndpoint } from '../../prisma/generated/client.ts';
import { asWaybillError, WaybillError } from '../../schema/errors.ts';
import type { Operation } from '../context.ts';
import { endsWithin } from '../deadline.ts';
import { limits } from '../limits.ts';
import { actorOf } from './events.ts';

/** What a check found: health, or the error a transfer would have met. */
export interface EndpointReport {
  server: string | null;
  roundTripMs: number | null;
  identity: string | null;
  errorKind: string | null;
  errorMessage: string | null;
}

/** Reaches the endpoint and signs in; what goes wrong there is in the report. Throws not-found for an unknown name. */
export async function checkEndpoint(
  operation: Operation,
  input: { name: string },
): Promise<{ endpoint: ConnectorEndpoint }> {
  const { store, caller } = operation;
  const { tenantId } = caller;
  const found = await store.withTenant(tenantId, async ({ db }) => {
    const endpoint = await db.connectorEndpoint.findFirst({ where: { tenantId, name: input.name } });
    if (endpoint === null)
      throw new WaybillError('not-found', `there is no endpoint ${JSON.stringify(input.name)}`, { field: 'name' });
    const references = endpoint.secretRefs as Record<string, string>;
    const secrets = await db.secret.findMany({ where: { tenantId, name: { in: Object.values(references) } } });
    return { endpoint, references, sealed: new Map(secrets.map(({ name, ciphertext }) => [name, ciphertext])) };
  });

  const report = await reach(operation, found.endpoint, found.references, found.sealed);
  const ok = report.errorKind === null;
  return store.withTenant(tenantId, async ({ db, sql }) => {
    const { id, name } = found.endpoint;
    const { count } = await db.connectorEndpoint.updateMany({
      where: { tenantId, id },
      data: { checkedAt: new Date(), checkOk: ok, checkReport: { ...report } },
    });
    if (count === 0)
      throw new WaybillError('not-found', `endpoint ${JSON.stringify(name)} was removed`, { field: 'name' });
    const { errorKind, identity, roundTripMs } = report;
    await recordEvents(sql, tenantId, [
      {
        type: 'endpoint.checked',
        outcome: ok ? 'success' : 'failure',
        actor: actorOf(caller),
        data: { endpoint: name, errorKind, identity, roundTripMs },
      },
    ]);
    return { endpoint: await db.connectorEndpoint.findFirstOrThrow({ where: { tenantId, id } }) };
  });
}

async function reach(
  { registry, connectorContext, secretBox, caller, log }: Operation,
  endpoint: ConnectorEndpoint,
  references: Record<string, string>,
  sealed: Map<string, Uint8Array>,
): Promise<EndpointReport> {
  const secrets: Record<string, string> = {};
  let reachable: Reachable | undefined;
  try {
    for (const [name, stored] of Object.entries(references)) {
      const ciphertext = sealed.get(stored);
      if (ciphertext === undefined) throw new WaybillError('invalid', `its secret ${name} is not stored any more`);
      secrets[name] = secretBox.open(caller.tenantId, stored, Buffer.from(ciphertext));
    }
    reachable = registry.open(endpoint.connector, endpoint.config, secrets, connectorContext).endpoint;
    const signal = AbortSignal.timeout(limits.checkTimeoutMs);
    const health = await endsWithin(limits.checkTimeoutMs, reachable.check(signal));
    return reportOf(health);
  } catch (thrown) {
    const { kind, message } = asWaybillError(thrown);
    if (kind === 'internal')
      log.error({ endpoint: endpoint.name, cause: String(thrown) }, 'the check of an endpoint broke');
    const shown = kind === 'internal' ? 'the check broke; see the log of the API' : message;
    return { server: null, roundTripMs: null, identity: null, errorKind: kind, errorMessage: without(secrets, shown) };
  } finally {
    await reachable?.close().catch((error: unknown) => log.debug({ cause: String(error) }, 'closing after a check'));
  }
}

function reportOf({ server, roundTripMs, identity }: Health): EndpointReport {
  return { server, roundTripMs, identity, errorKind: null, errorMessage: null };
}

/** Servers repeat what they were sent: a message is cleaned of the endpoint's secrets before it is stored. */
function without(secrets: Record<string, string>, message: string): string {
  return Object.values(secrets)
    .filter((secret) => secret.length > 3)
    .reduce((text, secret) => text.replaceAll(secret, '***'), message);
}
