import { recordEvents } from '../../audit/record.ts';
import { totpSecretName } from '../../identity/passwords.ts';
import { newTotpSecret, totpUri } from '../../identity/totp.ts';
import type { Principal } from '../../prisma/generated/client.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { Operation } from '../context.ts';
import { actorOf } from './events.ts';
import { checkGivable, checkMayChangeCredentials, findUser, provePassword } from './users.ts';

/** What a user presents of their own to change how they sign in. */
interface OwnProof {
  currentPassword: string;
  oneTimeCode?: string | null | undefined;
}

/**
 * A new secret for the caller's authenticator, given out once. It counts from its first good code on; until then the one
 * before counts no more, nor does the new. Throws forbidden without the present password, and the code of an
 * authenticator that counts.
 */
export async function enrolAuthenticator(operation: Operation, input: OwnProof): Promise<{ uri: string }> {
  const { store, caller, secretBox } = operation;
  const { tenantId, principalId, principalName, tenantName } = caller;
  checkMayChangeCredentials(caller);
  await provePassword(operation, { password: input.currentPassword, oneTimeCode: input.oneTimeCode });
  const secret = newTotpSecret();
  const totp = Uint8Array.from(await secretBox.seal(tenantId, totpSecretName(principalId), secret));
  await store.withTenant(tenantId, async ({ db, sql }) => {
    await db.principalPassword.updateMany({
      where: { tenantId, principalId },
      data: { totp, totpSince: null, totpLastStep: null },
    });
    const event = { type: 'user.authenticator-enrolled', actor: actorOf(caller), data: { user: principalName } };
    await recordEvents(sql, tenantId, [event]);
  });
  return { uri: totpUri(secret, tenantName, principalName) };
}

/** Makes the enrolled authenticator count, which the password and its first code prove. Throws forbidden when they do not. */
export async function confirmAuthenticator(
  operation: Operation,
  input: { currentPassword: string; oneTimeCode: string },
): Promise<{ user: Principal }> {
  const { store, caller } = operation;
  const { tenantId, principalId: id } = caller;
  checkMayChangeCredentials(caller);
  await provePassword(operation, { password: input.currentPassword, oneTimeCode: input.oneTimeCode });
  return store.withTenant(tenantId, async ({ db }) => {
    const enrolled = await db.principalPassword.findFirst({ where: { tenantId, principalId: id } });
    if (enrolled?.totpSince == null)
      throw new WaybillError('conflict', 'no authenticator is enrolled; enrol one first', { field: 'oneTimeCode' });
    return { user: await db.principal.findFirstOrThrow({ where: { tenantId, id } }) };
  });
}

/** Forgets a user's authenticator: the password alone is enough again. For owners; throws not-found, and forbidden for a role that may more. */
export async function resetAuthenticator(
  { store, caller }: Operation,
  { userName }: { userName: string },
): Promise<{ user: Principal }> {
  const { tenantId } = caller;
  checkMayChangeCredentials(caller);
  return store.withTenant(tenantId, async (transaction) => {
    const user = await findUser(transaction, tenantId, userName);
    checkGivable(caller, user.role);
    const { count } = await transaction.db.principalPassword.updateMany({
      where: { tenantId, principalId: user.id, totp: { not: null } },
      data: { totp: null, totpSince: null, totpLastStep: null },
    });
    const event = { type: 'user.authenticator-reset', actor: actorOf(caller), data: { user: user.name } };
    if (count > 0) await recordEvents(transaction.sql, tenantId, [event]);
    return { user };
  });
}
