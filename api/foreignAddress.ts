import type { Log } from '../connectors/contract.ts';
import { addressNotAllowed } from '../identity/apiKeys.ts';
import { WaybillError } from '../schema/errors.ts';

/** A good key at an address where it is not allowed may be a stolen one: the operator reads of it, the caller does not. */
export function logForeignAddress(log: Log, { cause }: WaybillError): void {
  if (!(cause instanceof WaybillError) || cause.context.reason !== addressNotAllowed) return;
  const { keyId, address } = cause.context;
  log.warn({ keyId, address }, 'a good API key was refused: it came from an address that it is not allowed from');
}
