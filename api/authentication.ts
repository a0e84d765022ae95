import type { IncomingMessage } from 'node:http';
import type { Log } from '../connectors/contract.ts';
import { addressNotAllowed, type Caller, verifyApiKey } from '../identity/apiKeys.ts';
import type { Store } from '../prisma/contract.ts';
import { WaybillError } from '../schema/errors.ts';

/** The key of the request's one Authorization header, or an empty text, which is no key. */
export function presentedKey(request: IncomingMessage): string {
  const headers = request.headersDistinct.authorization ?? [];
  // Two headers: which of them counts is a question that a proxy may answer otherwise.
  const match = headers.length === 1 ? /^Bearer ([\x21-\x7e]+)$/i.exec(headers[0]!) : null;
  return match?.[1] ?? '';
}

/**
 * The caller that a key proves, at the address of the connection's other end: never one that a header names. Throws
 * unauthenticated, with one message for a missing, unknown, expired or revoked key and one that is not allowed from there,
 * and unavailable when the database cannot be asked.
 */
export async function authenticateKey(store: Store, key: string, address: string | undefined): Promise<Caller> {
  try {
    return await verifyApiKey(store, key, address);
  } catch (error) {
    if (!(error instanceof WaybillError) || error.kind !== 'unauthenticated') throw error;
    const message =
      'An API key is needed: "Authorization: Bearer wb_...". The key is missing, unknown, expired, revoked or not allowed from this address.';
    throw new WaybillError('unauthenticated', message, { cause: error });
  }
}

/** A good key at an address where it is not allowed may be a stolen one: the operator reads of it, the caller does not. */
export function logForeignAddress(log: Log, { cause }: WaybillError): void {
  if (!(cause instanceof WaybillError) || cause.context.reason !== addressNotAllowed) return;
  const { keyId, address } = cause.context;
  log.warn({ keyId, address }, 'a good API key was refused: it came from an address that it is not allowed from');
}
