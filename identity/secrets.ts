import { createHmac } from 'node:crypto';
import { WaybillError } from '../schema/errors.ts';
import { openSealed, sealBytes } from './keys/sealing.ts';
import type { TenantKey, TenantKeys } from './keys/tenantKeys.ts';

/** First byte of a sealed secret. 1: under HKDF-SHA256 of the master key, which is only opened. 2: under the tenant's own key. */
const forms = { master: 1, tenant: 2 } as const;
const versionBytes = 4;

/**
 * Seals the secrets of tenants with AES-256-GCM. Only what it gives out is stored. All of it throws what `TenantKeys` does
 * when the tenant's key cannot be had; it may be asked in the middle of a transaction.
 */
export interface SecretBox {
  seal(tenantId: string, name: string, plaintext: string): Promise<Buffer>;
  /** Throws integrity when the bytes were changed, or sealed for another tenant or name, or under a master key that is gone. */
  open(tenantId: string, name: string, ciphertext: Uint8Array): Promise<string>;
  /** The same for the same plaintext of the same tenant, through rotations too: tells "unchanged" without opening. Tells nothing to who lacks the key. */
  digest(tenantId: string, plaintext: string): Promise<string>;
  /** 32 bytes for that id, the same until the tenant's key is rotated, that nobody without the keys can tell: the secret of what is given out again. */
  stamp(tenantId: string, id: string): Promise<Buffer>;
}

export function createSecretBox(keys: TenantKeys): SecretBox {
  return {
    seal: async (tenantId, name, plaintext) => sealUnder(await keys.newest(tenantId), tenantId, name, plaintext),
    open: async (tenantId, name, ciphertext) => {
      const bytes = Buffer.from(ciphertext);
      if (bytes[0] === forms.master) return openOldest(keys, tenantId, name, bytes);
      const version = sealedVersion(bytes);
      const key = version === null ? undefined : await keys.ofVersion(tenantId, version);
      const text = key && openSealed(key.derived('seal'), boundTo(tenantId, name), bytes.subarray(1 + versionBytes));
      if (text === undefined) throw unreadable(name);
      return text.toString('utf8');
    },
    digest: async (tenantId, plaintext) => {
      const key = (await keys.first(tenantId)).derived('digest');
      return createHmac('sha256', key).update(plaintext, 'utf8').digest('hex');
    },
    stamp: async (tenantId, id) => {
      const key = (await keys.newest(tenantId)).derived('stamp');
      return createHmac('sha256', key).update(id, 'utf8').digest();
    },
  };
}

/** Form, version of the key, nonce, tag, text. */
export function sealUnder(key: TenantKey, tenantId: string, name: string, plaintext: string): Buffer {
  const head = Buffer.alloc(1 + versionBytes, forms.tenant);
  head.writeUInt32BE(key.version, 1);
  return Buffer.concat([head, sealBytes(key.derived('seal'), boundTo(tenantId, name), Buffer.from(plaintext, 'utf8'))]);
}

/** The version of the tenant's key that it takes to open it; null for what the master key itself has sealed. */
export function sealedVersion(sealed: Uint8Array): number | null {
  return sealed[0] === forms.tenant && sealed.length > versionBytes ? Buffer.from(sealed).readUInt32BE(1) : null;
}

function openOldest({ masterKeys }: TenantKeys, tenantId: string, name: string, bytes: Buffer): string {
  for (const key of masterKeys.derivedKeys(tenantId, 'seal')) {
    const text = openSealed(key, boundTo(tenantId, name), bytes.subarray(1));
    if (text !== undefined) return text.toString('utf8');
  }
  throw unreadable(name);
}

/** A sealed secret that is copied to another row does not open there. */
function boundTo(tenantId: string, name: string): string {
  return `${tenantId}\n${name}`;
}

function unreadable(name: string): WaybillError {
  return new WaybillError(
    'integrity',
    `the stored secret ${name} cannot be opened; set it again, or bring back its master key`,
    { secret: name },
  );
}
