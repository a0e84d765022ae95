import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto';
import { WaybillError } from '../schema/errors.ts';

const masterKeyBytes = 32;
const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;
/** First byte of a sealed secret: AES-256-GCM under HKDF-SHA256 of the master key. Another form gets another number. */
const formVersion = 1;

/** Seals the secrets of tenants. Only what it gives out is stored; the master key never is. */
export interface SecretBox {
  seal(tenantId: string, name: string, plaintext: string): Buffer;
  /** Throws integrity when the bytes were changed, or sealed for another tenant or name, or under another master key. */
  open(tenantId: string, name: string, ciphertext: Uint8Array): string;
  /** The same for the same plaintext of the same tenant: tells "unchanged" without opening. Tells nothing to who lacks the key. */
  digest(tenantId: string, plaintext: string): string;
}

/** Throws invalid when the master key has not 32 bytes. */
export function createSecretBox(masterKey: Buffer): SecretBox {
  if (masterKey.length !== masterKeyBytes)
    throw new WaybillError('invalid', `the master key has ${masterKey.length} bytes, not ${masterKeyBytes}`);
  const keyFor = (tenantId: string, purpose: 'seal' | 'digest'): Buffer =>
    Buffer.from(hkdfSync('sha256', masterKey, tenantId, `waybill/secret/${purpose}/v${formVersion}`, keyBytes));

  return {
    seal: (tenantId, name, plaintext) => {
      const nonce = randomBytes(nonceBytes);
      const cipher = createCipheriv('aes-256-gcm', keyFor(tenantId, 'seal'), nonce);
      cipher.setAAD(boundTo(tenantId, name));
      const sealed = Buffer.concat([cipher.update(plaintext, 'utf8'), cipher.final()]);
      return Buffer.concat([Buffer.of(formVersion), nonce, cipher.getAuthTag(), sealed]);
    },
    open: (tenantId, name, ciphertext) => {
      const bytes = Buffer.from(ciphertext);
      const sealedAt = 1 + nonceBytes + tagBytes;
      if (bytes[0] !== formVersion || bytes.length < sealedAt) throw unreadable(name);
      const nonce = bytes.subarray(1, 1 + nonceBytes);
      const decipher = createDecipheriv('aes-256-gcm', keyFor(tenantId, 'seal'), nonce, { authTagLength: tagBytes });
      decipher.setAAD(boundTo(tenantId, name));
      decipher.setAuthTag(bytes.subarray(1 + nonceBytes, sealedAt));
      try {
        return Buffer.concat([decipher.update(bytes.subarray(sealedAt)), decipher.final()]).toString('utf8');
      } catch {
        throw unreadable(name);
      }
    },
    digest: (tenantId, plaintext) =>
      createHmac('sha256', keyFor(tenantId, 'digest')).update(plaintext, 'utf8').digest('hex'),
  };
}

/** A sealed secret that is copied to another row does not open there. */
function boundTo(tenantId: string, name: string): Buffer {
  return Buffer.from(`${tenantId}\n${name}`, 'utf8');
}

function unreadable(name: string): WaybillError {
  return new WaybillError(
    'integrity',
    `the stored secret ${name} cannot be opened; set it again, or bring back its master key`,
    {
      secret: name,
    },
  );
}
