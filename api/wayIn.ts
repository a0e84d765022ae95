import type { IncomingMessage } from 'node:http';
import { verifyApiKey } from '../identity/apiKeys.ts';
import type { Caller, Visitor } from '../identity/caller.ts';
import { sessionTextPrefix } from '../identity/sessions/sessionText.ts';
import { verifySession } from '../identity/sessions/verifySession.ts';
import { findDefaultSite, findSite } from '../identity/sites.ts';
import type { Store } from '../prisma/contract.ts';
import { WaybillError } from '../schema/errors.ts';
import type { ApiDependencies } from './context.ts';
import type { CountFailure } from './failedAuthentication.ts';
import { logForeignAddress } from './foreignAddress.ts';

/*
 * The way of a request:
 *
 *   1. parse     `presented`     one Authorization header, of one scheme; a key or a session, told apart by form
 *   2. verify    `verify`        its hash leads to the tenant and the row: not ended, expired, revoked; from an allowed address
 *   3. principal                 in the same look: not disabled, of a tenant that is not suspended
 *   4. session                   in the same look: not replaced, its service session alive
 *   5. tenant    `enter`         only ever that of the credential; the site in the path, if there is one, must be its site
 *   6. rule                      the permission that the route (api/routes.ts) or the field (api/schema/builder.ts) names
 *
 * A request without a credential is a visitor, who belongs to the site that was asked for and can do nothing but sign in.
 */

/** What a request has proven. A `Visitor` is never a `Caller`: they share no field that a rule reads. */
export type Entered =
  | {
      caller: Caller;
      visitor: Visitor;
      /** The same credential, looked at once more. Throws unauthenticated. */
      verifyAgain: () => Promise<Caller>;
    }
  | { caller: null; visitor: Visitor };

/**
 * Lets a request in. `site` is that of its path, null when it names none. Throws unauthenticated for a credential that is
 * not good, or of another tenant than the site; `context.code` is set for who holds a session that is over. Throws
 * rate-limited for an address that has failed too often, not-found for a visitor of a site that is none, invalid for a
 * Host that says two things, unavailable when the database cannot be asked.
 */
export type WayIn = (request: IncomingMessage, site: string | null) => Promise<Entered>;

export function createWayIn({ store, log }: ApiDependencies, countFailure: CountFailure): WayIn {
  return async (request, site) => {
    // Of the connection, and read now: a socket that is gone has none. No header says where a request comes from.
    const address = request.socket.remoteAddress;
    const credential = presented(request);
    if (credential === undefined) return { caller: null, visitor: await visitorOf(store, request, site, address) };
    const prove = () => verify(store, credential, site, address);
    try {
      const caller = await prove();
      return { caller, visitor: { tenantId: caller.tenantId, address }, verifyAgain: prove };
    } catch (error) {
      if (!(error instanceof WaybillError) || error.kind !== 'unauthenticated') throw error;
      // Who holds the text of a session that is over does not guess.
      if (error.context.code === undefined) await countFailure(address);
      logForeignAddress(log, error);
      throw error;
    }
  };
}

/** The text of the request's one Authorization header; empty for one that holds no credential; undefined without any. */
function presented({ headersDistinct }: IncomingMessage): string | undefined {
  const headers = headersDistinct.authorization;
  if (headers === undefined) return undefined;
  // Two headers: which of them counts is a question that a proxy may answer otherwise.
  const match = headers.length === 1 ? /^Bearer ([\x21-\x7e]+)$/i.exec(headers[0]!) : null;
  return match?.[1] ?? '';
}

async function verify(
  store: Store,
  credential: string,
  site: string | null,
  address: string | undefined,
): Promise<Caller> {
  try {
    const caller = credential.startsWith(sessionTextPrefix)
      ? await verifySession(store, credential)
      : await verifyApiKey(store, credential, address);
    if (site !== null && (await findSite(store, site)) !== caller.tenantId)
      throw new WaybillError('unauthenticated', 'the credential is of another site');
    return caller;
  } catch (error) {
    if (!(error instanceof WaybillError) || error.kind !== 'unauthenticated') throw error;
    throw withoutCredential(error);
  }
}

/** One message for all that is wrong with a credential, but to who holds the right text of a session that is over. */
export function withoutCredential(cause?: WaybillError): WaybillError {
  const code = cause?.context.code;
  if (cause !== undefined && typeof code === 'string')
    return new WaybillError('unauthenticated', cause.message, { code });
  const message =
    'An API key is needed, or a session: "Authorization: Bearer wb_..." or "Bearer wbs_...". It is missing, unknown, expired, revoked, not of this site or not allowed from this address.';
  return new WaybillError('unauthenticated', message, { cause });
}

async function visitorOf(
  store: Store,
  request: IncomingMessage,
  site: string | null,
  address: string | undefined,
): Promise<Visitor> {
  if (site !== null) {
    const tenantId = await findSite(store, site);
    if (tenantId === undefined) throw new WaybillError('not-found', 'There is no site of that name.');
    return { tenantId, address };
  }
  const tenantId = (await findSite(store, hostOf(request))) ?? (await findDefaultSite(store));
  return { tenantId: tenantId ?? null, address };
}

/** The name in the Host header, without its port: it says which site is meant, and nothing else. */
function hostOf({ headersDistinct }: IncomingMessage): string {
  const hosts = headersDistinct.host ?? [];
  const match = hosts.length === 1 ? /^([a-z0-9._-]{1,253}|\[[0-9a-f:.]+\])(?::\d{1,5})?$/i.exec(hosts[0]!) : null;
  if (match === null)
    throw new WaybillError('invalid', 'A request has one Host header, with a name and perhaps a port.');
  return match[1]!;
}
