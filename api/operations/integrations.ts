import { recordEvents } from '../../audit/record.ts';
import { loadIntegrationKeys } from '../../identity/tickets/integrationKeys.ts';
import {
  disableIntegration as disable,
  insertIntegration,
  type NewIntegration,
  rotateKey,
} from '../../identity/tickets/integrations.ts';
import { type Made, makeTicket, makeUploadToken } from '../../identity/tickets/makeTicket.ts';
import type { TenantTransaction } from '../../prisma/contract.ts';
import type { Integration, IntegrationKey } from '../../prisma/generated/client.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { Operation } from '../context.ts';
import { actorOf } from './events.ts';

export type IntegrationWithKeys = Integration & { keys: Omit<IntegrationKey, 'ciphertext'>[] };

/** What the partner gets. It is not given out again. */
export interface IssuedSecret {
  integration: IntegrationWithKeys;
  kid: string;
  keyBase64: string;
  ivBase64: string;
}

/** What is read of the keys of an integration: never their sealed bytes. */
export const withKeys = { keys: { omit: { ciphertext: true }, orderBy: { id: 'asc' } } } as const;

/** Lets a partner's site make tickets. Throws invalid for a name, site or secret out of form, conflict for a name that is taken. */
export async function createIntegration(operation: Operation, input: NewIntegration): Promise<IssuedSecret> {
  const { store, secretBox, caller } = operation;
  const { tenantId } = caller;
  return store.withTenant(tenantId, async (transaction) => {
    const { kid, keyBase64, ivBase64 } = await insertIntegration(
      transaction.sql,
      secretBox,
      tenantId,
      input,
      new Date(),
    );
    const { name, site, legacy } = input;
    await note(transaction, operation, 'integration.created', { integration: name, site, legacy, kid });
    return { integration: await findIntegration(transaction, tenantId, name), kid, keyBase64, ivBase64 };
  });
}

/** Makes a new key; the one before it is good until the overlap is over. Throws invalid, not-found, conflict when it is disabled. */
export async function rotateIntegration(
  operation: Operation,
  { name, overlapHours }: { name: string; overlapHours?: number | null | undefined },
): Promise<IssuedSecret & { oldKeyEndsAt: Date }> {
  const { store, secretBox, caller } = operation;
  const { tenantId } = caller;
  return store.withTenant(tenantId, async (transaction) => {
    const overlap = { name, overlapHours: overlapHours ?? undefined };
    const issued = await rotateKey(transaction.sql, secretBox, tenantId, overlap, new Date());
    const { kid, keyBase64, ivBase64, oldKeyEndsAt, ended } = issued;
    const facts = { integration: name, kid, oldKeyEndsAt: oldKeyEndsAt.toISOString(), ended };
    await note(transaction, operation, 'integration.rotated', facts);
    const integration = await findIntegration(transaction, tenantId, name);
    return { integration, kid, keyBase64, ivBase64, oldKeyEndsAt };
  });
}

/** Refuses its tickets and tokens from now on; one that was disabled stays so. Throws not-found. */
export async function disableIntegration(
  operation: Operation,
  { name }: { name: string },
): Promise<{ integration: IntegrationWithKeys }> {
  const { store, caller } = operation;
  const { tenantId } = caller;
  return store.withTenant(tenantId, async (transaction) => {
    if (await disable(transaction.sql, tenantId, name, new Date()))
      await note(transaction, operation, 'integration.disabled', { integration: name });
    return { integration: await findIntegration(transaction, tenantId, name) };
  });
}

export interface TicketInput {
  integration: string;
  user: string;
  version?: number | null | undefined;
}

/** A ticket as the partner's own program would make it. Throws invalid, not-found, conflict for a version that is not taken. */
export async function createTicket(operation: Operation, input: TicketInput): Promise<Made> {
  const { key, now } = await newestKey(operation, input.integration);
  return makeTicket(key, { user: input.user, version: readVersion(input.version), now });
}

export interface UploadTokenInput {
  integration: string;
  folderId: string;
  email: string;
  ip: string;
  session: string;
  version?: number | null | undefined;
}

/** An upload token, in the same way. Throws the same. */
export async function createUploadToken(operation: Operation, input: UploadTokenInput): Promise<Made> {
  const { key, now } = await newestKey(operation, input.integration);
  const { folderId, email, ip, session } = input;
  return makeUploadToken(key, { content: { folderId, email, ip, session }, version: readVersion(input.version), now });
}

async function newestKey({ store, secretBox, caller }: Operation, name: string) {
  const { tenantId } = caller;
  const now = new Date();
  const keys = await store.sql(tenantId, (sql) => loadIntegrationKeys(sql, secretBox, tenantId, now));
  const key = keys.findLast(({ integration }) => integration === name);
  if (key === undefined)
    throw new WaybillError('not-found', `there is no integration ${JSON.stringify(name)} that is in use`, {
      field: 'integration',
    });
  return { key, now };
}

function readVersion(version: number | null | undefined): 1 | 2 | undefined {
  if (version === 1 || version === 2) return version;
  if (version == null) return undefined;
  throw new WaybillError('invalid', `there is no version ${version}; 1 or 2`, { field: 'version' });
}

async function findIntegration(
  { db }: TenantTransaction,
  tenantId: string,
  name: string,
): Promise<IntegrationWithKeys> {
  return db.integration.findFirstOrThrow({ where: { tenantId, name }, include: withKeys });
}

async function note(
  { sql }: TenantTransaction,
  { caller }: Operation,
  type: string,
  data: Record<string, string | boolean | string[]>,
): Promise<void> {
  await recordEvents(sql, caller.tenantId, [{ type, actor: actorOf(caller), data }]);
}
