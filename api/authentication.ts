import type { IncomingMessage } from 'node:http';
import { type Caller, verifyApiKey } from '../identity/apiKeys.ts';
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
 * The caller that a key proves. Throws unauthenticated, with one message for a missing, unknown, expired or revoked key,
 * and unavailable when the database cannot be asked.
 */
export async function authenticateKey(store: Store, key: string): Promise<Caller> {
  try {
    return await verifyApiKey(store, key);
  } catch (error) {
    if (!(error instanceof WaybillError) || error.kind !== 'unauthenticated') throw error;
    const message =
      'An API key is needed: "Authorization: Bearer wb_...". The key is missing, unknown, expired or revoked.';
    throw new WaybillError('unauthenticated', message, { cause: error });
  }
}
