import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Caller } from '../identity/caller.ts';
import { allow, type Permission, permissions } from '../identity/permissions.ts';
import type { Store } from '../prisma/contract.ts';
import { publicId } from '../schema/names.ts';
import { refuse, safeHeaders } from './request.ts';

/**
 * `GET /auth/validate`: who a credential is. 403 for one that opens nothing, which is that of a one-time password, and,
 * with `?permission=run:start`, for one that may not do that.
 */
export async function answerValidate(
  store: Store,
  caller: Caller,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (request.method !== 'GET') {
    const headers = { allow: 'GET' };
    refuse(response, { status: 405, code: 'METHOD_NOT_ALLOWED', message: 'Ask by GET.', headers });
    return;
  }
  if (caller.scopes.length === 0) {
    const message = 'The session was opened with a one-time password: set another one, by the mutation setPassword.';
    refuse(response, { status: 403, code: 'FORBIDDEN', message });
    return;
  }
  for (const asked of new URL(request.url!, 'http://waybill').searchParams.getAll('permission')) {
    if (!(permissions as readonly string[]).includes(asked)) {
      const message = `There is no permission ${JSON.stringify(asked.slice(0, 100))}.`;
      refuse(response, { status: 400, code: 'INVALID_INPUT', message });
      return;
    }
    if (!allow(caller, asked as Permission)) {
      refuse(response, { status: 403, code: 'FORBIDDEN', message: `The credential may not ${asked}.` });
      return;
    }
  }
  response.writeHead(200, { 'content-type': 'application/json; charset=utf-8', ...safeHeaders });
  response.end(JSON.stringify(await describe(store, caller)));
}

async function describe(store: Store, caller: Caller): Promise<object> {
  const { tenantId, tenantName, principalId, principalName, role, credential } = caller;
  const [found] = await store.sql(tenantId, (sql) =>
    sql.query<{ userId: number; keyExpiresAt: Date | null }>(
      `select p.user_number as "userId", k.expires_at as "keyExpiresAt"
         from principal p left join api_key k on k.tenant_id = p.tenant_id and k.id = $3::uuid
        where p.tenant_id = $1::uuid and p.id = $2::uuid`,
      [tenantId, principalId, credential.id],
    ),
  );
  const isSession = credential.kind === 'session';
  return {
    tenant: tenantName,
    principal: principalName,
    userId: found!.userId,
    role,
    scopes: caller.scopes,
    // The ids of the rows, not what is presented.
    sessionId: isSession ? publicId('session', credential.id) : null,
    apiKeyId: isSession ? null : publicId('apiKey', credential.id),
    expiresAt: isSession ? credential.expiresAt : found!.keyExpiresAt,
  };
}
