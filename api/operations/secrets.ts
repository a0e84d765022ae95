import { recordEvents } from '../../audit/record.ts';
import { type RotatedKey, rotateTenantKey } from '../../identity/keys/rotation.ts';
import type { TenantTransaction } from '../../prisma/contract.ts';
import type { Secret } from '../../prisma/generated/client.ts';
import { WaybillError } from '../../schema/errors.ts';
import { resourceNamePattern } from '../../schema/names.ts';
import type { Operation } from '../context.ts';
import { limits } from '../limits.ts';
import { actorOf } from './events.ts';
import { forgetFailures } from './forgetFailures.ts';
import { releaseRuns } from './pauseEndpoint.ts';

/** Stores a secret that documents name by `{ secret: NAME }`. Throws invalid for a bad name or an empty or too long value. */
export async function setSecret(
  operation: Operation,
  input: { name: string; value: string },
): Promise<{ secret: Secret }> {
  const { store, caller } = operation;
  const { tenantId } = caller;
  checkName(input.name);
  checkValue(input.value);
  const waiting: string[] = [];
  const stored = await store.withTenant(tenantId, async (transaction) => {
    const { db, sql } = transaction;
    const isNew = await storeSecret(operation, transaction, input.name, input.value);
    if (isNew) {
      // Pools compare the version: they open the endpoint again with the new value.
      const endpoints = await sql.query<{ id: string; name: string }>(
        `update connector_endpoint set version = version + 1, updated_at = now()
          where tenant_id = $1::uuid and exists (select 1 from jsonb_each_text(secret_refs) used where used.value = $2::text)
         returning id, name`,
        [tenantId, input.name],
      );
      for (const endpoint of endpoints) waiting.push(...(await forgetFailures(operation, sql, endpoint)));
      await recordEvents(sql, tenantId, [{ type: 'secret.set', actor: actorOf(caller), data: { name: input.name } }]);
    }
    return { secret: await db.secret.findFirstOrThrow({ where: { tenantId, name: input.name } }) };
  });
  await releaseRuns(operation, waiting);
  return stored;
}

/** Removes a stored secret. Throws not-found, and conflict (with who uses it) while an endpoint or a webhook names it. */
export async function removeSecret({ store, caller }: Operation, input: { name: string }): Promise<{ name: string }> {
  const { tenantId } = caller;
  return store.withTenant(tenantId, async ({ db, sql }) => {
    const users = await sql.query<{ user: string }>(
      `select 'endpoint ' || name as user from connector_endpoint
        where tenant_id = $1::uuid and exists (select 1 from jsonb_each_text(secret_refs) used where used.value = $2::text)
       union all select 'webhook ' || name from webhook where tenant_id = $1::uuid and secret_ref = $2::text
       order by 1 limit 10`,
      [tenantId, input.name],
    );
    if (users.length > 0)
      throw new WaybillError('conflict', `the secret is used by ${users.map(({ user }) => user).join(', ')}`, {
        field: 'name',
      });
    const { count } = await db.secret.deleteMany({ where: { tenantId, name: input.name } });
    if (count === 0)
      throw new WaybillError('not-found', `there is no secret ${JSON.stringify(input.name)}`, { field: 'name' });
    await recordEvents(sql, tenantId, [{ type: 'secret.removed', actor: actorOf(caller), data: { name: input.name } }]);
    return { name: input.name };
  });
}

/** A new key for the caller's tenant. Throws integrity, and changes nothing, when a stored secret cannot be opened. */
export function rotateKey({ store, tenantKeys, caller }: Operation): Promise<RotatedKey> {
  return rotateTenantKey(store, tenantKeys, { tenantId: caller.tenantId, actor: actorOf(caller) });
}

/** Seals and stores a value under its name; gives false, and writes nothing, when it is the one that is stored. */
export async function storeSecret(
  { secretBox, caller: { tenantId } }: Operation,
  { db }: TenantTransaction,
  name: string,
  value: string,
): Promise<boolean> {
  const digest = await secretBox.digest(tenantId, value);
  const stored = await db.secret.findFirst({ where: { tenantId, name } });
  if (stored?.digest === digest) return false;
  const ciphertext = Uint8Array.from(await secretBox.seal(tenantId, name, value));
  const sealed = { ciphertext, digest, updatedAt: new Date() };
  await db.secret.upsert({
    where: { tenantId_name: { tenantId, name } },
    create: { tenantId, name, ...sealed },
    update: sealed,
  });
  return true;
}

function checkName(name: string): void {
  if (new RegExp(resourceNamePattern).test(name)) return;
  throw new WaybillError('invalid', 'the name of a secret has 3 to 63 of a-z, 0-9 and -, and begins with a letter', {
    field: 'name',
  });
}

/** Throws invalid for an empty or too long value. */
export function checkValue(value: string): void {
  const bytes = Buffer.byteLength(value);
  if (bytes === 0) throw new WaybillError('invalid', 'the value of a secret is empty', { field: 'value' });
  if (bytes > limits.secretBytes)
    throw new WaybillError('invalid', `the value of a secret has more than ${limits.secretBytes} bytes`, {
      field: 'value',
    });
}
