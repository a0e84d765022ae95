import { recordEvents } from '../../audit/record.ts';
import { issueApiKey, withdrawApiKey } from '../../identity/apiKeys.ts';
import { allow, permissions } from '../../identity/permissions.ts';
import type { ApiKey } from '../../prisma/generated/client.ts';
import { WaybillError } from '../../schema/errors.ts';
import { rowId } from '../../schema/names.ts';
import type { Operation } from '../context.ts';
import { actorOf } from './events.ts';

/**
 * Makes another key of the caller's own principal; without scopes, with those of the key that asks. Throws invalid for a
 * name, scope or expiry out of bounds, forbidden for a scope that says more than the asking key may.
 */
export async function createApiKey(
  { store, caller }: Operation,
  input: { name: string; scopes?: string[] | null | undefined; expiresInDays?: number | null | undefined },
): Promise<{ apiKey: ApiKey; secret: string }> {
  const { tenantId, principalId } = caller;
  const scopes = input.scopes ?? caller.scopes;
  const tooWide = scopes.find((scope) =>
    permissions.some(
      (permission) => allow({ role: caller.role, scopes: [scope] }, permission) && !allow(caller, permission),
    ),
  );
  if (tooWide !== undefined)
    throw new WaybillError('forbidden', `the scope ${JSON.stringify(tooWide)} says more than the asking key may`, {
      field: 'scopes',
    });
  return store.withTenant(tenantId, async ({ db, sql }) => {
    const expiresInDays = input.expiresInDays ?? undefined;
    const { id, secret } = await issueApiKey(sql, { tenantId, principalId, name: input.name, scopes, expiresInDays });
    const apiKey = await db.apiKey.findFirstOrThrow({ where: { tenantId, id } });
    const data = { name: apiKey.name, keyId: apiKey.keyId, scopes };
    await recordEvents(sql, tenantId, [{ type: 'credential.created', actor: actorOf(caller), data }]);
    return { apiKey, secret };
  });
}

/** Ends a key from now on; a key that had been revoked stays so. Throws not-found. */
export async function revokeApiKey({ store, caller }: Operation, input: { id: string }): Promise<{ apiKey: ApiKey }> {
  const { tenantId } = caller;
  const id = rowId('apiKey', input.id);
  return store.withTenant(tenantId, async ({ db, sql }) => {
    const isNews = id !== undefined && (await withdrawApiKey(sql, { tenantId, id }));
    const apiKey = id === undefined ? null : await db.apiKey.findFirst({ where: { tenantId, id } });
    if (apiKey === null) throw new WaybillError('not-found', 'there is no such key', { field: 'id' });
    if (isNews) {
      const data = { name: apiKey.name, keyId: apiKey.keyId };
      await recordEvents(sql, tenantId, [{ type: 'credential.revoked', actor: actorOf(caller), data }]);
    }
    return { apiKey };
  });
}
