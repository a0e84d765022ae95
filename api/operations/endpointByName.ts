import type { Connector, Reachable } from '../../connectors/contract.ts';
import { allowedTo, readHostReference } from '../../identity/hostSecrets.ts';
import type { TenantTransaction } from '../../prisma/contract.ts';
import type { ConnectorEndpoint } from '../../prisma/generated/client.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { Operation } from '../context.ts';

/** Throws not-found. */
export async function endpointByName(
  { db }: TenantTransaction,
  tenantId: string,
  name: string,
): Promise<ConnectorEndpoint> {
  const endpoint = await db.connectorEndpoint.findFirst({ where: { tenantId, name } });
  if (endpoint === null)
    throw new WaybillError('not-found', `there is no endpoint ${JSON.stringify(name)}`, { field: 'name' });
  return endpoint;
}

/** An endpoint that this process opens itself, beside the workers. */
interface OpenedHere {
  reachable: Reachable;
  /** When it holds files. */
  connector: Connector | null;
}

/**
 * Its secrets in clear, by the names that the connector has for them. Throws invalid when one is not stored any more, and as
 * `HostSecrets.read` does.
 */
export async function secretsOf(
  { store, secretBox, hostSecrets, caller: { tenantId, tenantName } }: Operation,
  endpoint: ConnectorEndpoint,
): Promise<Record<string, string>> {
  const references = Object.entries(endpoint.secretRefs as Record<string, string>);
  const stored = await store.withTenant(tenantId, ({ db }) =>
    db.secret.findMany({ where: { tenantId, name: { in: references.map(([, name]) => name) } } }),
  );
  const sealed = new Map(stored.map(({ name, ciphertext }) => [name, ciphertext]));
  const opened: Record<string, string> = {};
  for (const [secret, name] of references) {
    const lent = readHostReference(name);
    if (lent !== undefined) {
      opened[secret] = await hostSecrets.read(tenantName, lent);
      continue;
    }
    const ciphertext = sealed.get(name);
    if (ciphertext === undefined) throw new WaybillError('invalid', `its secret ${secret} is not stored any more`);
    opened[secret] = await secretBox.open(tenantId, name, ciphertext);
  }
  return opened;
}

/** Opens lazily; the caller closes it. Throws invalid when the stored config no longer fits its connector. */
export function openHere(
  { registry, connectorContext, caller }: Operation,
  endpoint: ConnectorEndpoint,
  secrets: Record<string, string>,
): OpenedHere {
  const localRoots = allowedTo(caller.tenantName, connectorContext.localRoots);
  const opened = registry.open(endpoint.connector, endpoint.config, secrets, { ...connectorContext, localRoots });
  return { reachable: opened.endpoint, connector: opened.serves === 'files' ? opened.endpoint : null };
}

/** Servers repeat what they were sent: a message is cleaned of the endpoint's secrets before it is stored or shown. */
export function withoutSecrets(secrets: Record<string, string>, message: string): string {
  return Object.values(secrets)
    .filter((secret) => secret.length > 3)
    .reduce((text, secret) => text.replaceAll(secret, '***'), message);
}
