import { createHash, hkdfSync } from 'node:crypto';
import { WaybillError } from '../../schema/errors.ts';
import { keyBytes, openSealed, sealBytes } from './sealing.ts';

/**
 * The keys of the installation, which stand nowhere in the database: the first wraps the keys of tenants, the others only
 * unwrap what was wrapped before they were replaced.
 */
export interface MasterKeys {
  /** Of the present one. It tells which key it is, and nothing about it. */
  readonly id: string;
  wrap(place: string, key: Buffer): Buffer;
  /** Throws integrity, with the id of the master key that is missing, or for bytes that were changed. */
  unwrap(place: string, wrapped: Uint8Array, masterKeyId: string): Buffer;
  /** What secrets were sealed with before tenants had keys of their own, the present master key's first. */
  derivedKeys(tenantId: string, purpose: string): Buffer[];
}

/** Throws invalid when one has not 32 bytes. */
export function createMasterKeys(present: Buffer, previous: readonly Buffer[] = []): MasterKeys {
  const keys = [present, ...previous];
  for (const { length } of keys)
    if (length !== keyBytes) throw new WaybillError('invalid', `the master key has ${length} bytes, not ${keyBytes}`);
  const byId = new Map(keys.map((key) => [idOf(key), key]));
  return {
    id: idOf(present),
    wrap: (place, key) => sealBytes(present, place, key),
    unwrap: (place, wrapped, masterKeyId) => {
      const key = byId.get(masterKeyId);
      if (key === undefined) throw missing(masterKeyId, [...byId.keys()]);
      return openSealed(key, place, wrapped) ?? changed(masterKeyId);
    },
    derivedKeys: (tenantId, purpose) =>
      keys.map((key) => Buffer.from(hkdfSync('sha256', key, tenantId, `waybill/secret/${purpose}/v1`, keyBytes))),
  };
}

const idBytes = 8;

function idOf(key: Buffer): string {
  return createHash('sha256').update(key).digest().subarray(0, idBytes).toString('hex');
}

function missing(masterKeyId: string, present: readonly string[]): WaybillError {
  return new WaybillError(
    'integrity',
    `the stored keys need the master key ${masterKeyId}, and this process has ${present.join(', ')}: give it in WAYBILL_MASTER_KEY, or in WAYBILL_MASTER_KEY_OLD until \`waybill secrets rewrap\` has run`,
    { masterKeyId },
  );
}

function changed(masterKeyId: string): never {
  const message = `a stored key does not open under its master key ${masterKeyId}: its row was changed; bring it back from a backup`;
  throw new WaybillError('integrity', message, { masterKeyId });
}
