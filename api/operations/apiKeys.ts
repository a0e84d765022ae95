import { recordEvents } from '../../audit/record.ts';
import { isWithin, readAllowedCidrs } from '../../identity/allowedAddresses.ts';
import { issueApiKey, replaceApiKey, withdrawApiKey } from '../../identity/apiKeys.ts';
import type { Caller } from '../../identity/caller.ts';
import { allow, mayGive, permissions } from '../../identity/permissions.ts';
import type { ApiKey } from '../../prisma/generated/client.ts';
import { WaybillError } from '../../schema/errors.ts';
import { publicId, rowId } from '../../schema/names.ts';
import { parseDurationMs } from '../../schema/quantities.ts';
import type { Operation } from '../context.ts';
import { actorOf } from './events.ts';

/** How long a key that was rotated stays good: time to bring the new one to whoever uses it. */
const defaultOverlap = '24h';

/**
 * Makes another key of the caller's own principal; without scopes or networks, with those of the key that asks. Throws
 * invalid for a name, scope, expiry or network out of bounds, forbidden for a scope that says more than the asking key may
 * and for a network that it may not come from itself.
 */
export async function createApiKey(
  { store, caller }: Operation,
  input: {
    name: string;
    scopes?: string[] | null | undefined;
    expiresInDays?: number | null | undefined;
    allowedCidrs?: string[] | null | undefined;
  },
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
  const allowedCidrs = allowedCidrsFor(caller, input.allowedCidrs);
  return store.withTenant(tenantId, async ({ db, sql }) => {
    const { name, expiresInDays } = input;
    const key = { tenantId, principalId, name, scopes, expiresInDays: expiresInDays ?? undefined, allowedCidrs };
    const { id, secret } = await issueApiKey(sql, key);
    const apiKey = await db.apiKey.findFirstOrThrow({ where: { tenantId, id } });
    const data = { name: apiKey.name, keyId: apiKey.keyId, scopes, allowedCidrs };
    await recordEvents(sql, tenantId, [{ type: 'credential.created', actor: actorOf(caller), data }]);
    return { apiKey, secret };
  });
}

/** Those of the new key. A network that only several of the caller's cover together is refused: nobody needs it. */
function allowedCidrsFor(caller: Caller, asked: string[] | null | undefined): string[] {
  const allowedCidrs = asked ? readAllowedCidrs(asked) : caller.allowedCidrs;
  if (caller.allowedCidrs.length === 0) return allowedCidrs;
  const field = 'allowedCidrs';
  if (allowedCidrs.length === 0)
    throw new WaybillError('forbidden', 'a key with allowed networks makes no key without them', { field });
  const outside = allowedCidrs.find((cidr) => !isWithin(cidr, caller.allowedCidrs));
  if (outside !== undefined)
    throw new WaybillError('forbidden', `the asking key is not allowed from all of ${outside}`, { field });
  return allowedCidrs;
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

/**
 * A new key with the rights of one that ends when both have been good for the overlap, a day when it is not given. Throws
 * not-found, conflict for a key that has ended or was rotated already, forbidden for a key that may more than the asking one.
 */
export async function rotateApiKey(
  { store, caller }: Operation,
  input: { id: string; overlap?: string | null | undefined },
): Promise<{ apiKey: ApiKey; secret: string; replacedUntil: Date }> {
  const { tenantId } = caller;
  const id = rowId('apiKey', input.id);
  const overlapMs = parseDurationMs(input.overlap ?? defaultOverlap);
  if (overlapMs === undefined)
    throw new WaybillError('invalid', 'an overlap is a duration, such as 24h', { field: 'overlap' });
  return store.withTenant(tenantId, async ({ db, sql }) => {
    const old =
      id === undefined ? null : await db.apiKey.findFirst({ where: { tenantId, id }, include: { principal: true } });
    if (old === null) throw new WaybillError('not-found', 'there is no such key', { field: 'id' });
    if (!mayGive(caller, { role: old.principal.role, scopes: old.scopes }))
      throw new WaybillError('forbidden', 'the key may more than the asking one', { field: 'id' });
    // The same networks: the asking key must be within them as it would be for a new one.
    allowedCidrsFor(caller, old.allowedCidrs);
    const rotated = await replaceApiKey(sql, { tenantId, id: old.id, overlapMs });
    const apiKey = await db.apiKey.findFirstOrThrow({ where: { tenantId, id: rotated.id } });
    const data = {
      name: old.name,
      keyId: apiKey.keyId,
      replaces: old.keyId,
      apiKey: publicId('apiKey', apiKey.id),
      until: rotated.oldEndsAt.toISOString(),
    };
    await recordEvents(sql, tenantId, [{ type: 'credential.rotated', actor: actorOf(caller), data }]);
    return { apiKey, secret: rotated.secret, replacedUntil: rotated.oldEndsAt };
  });
}
