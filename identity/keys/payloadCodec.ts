import type { Payload, PayloadCodec, SerializationContext } from '@temporalio/common';
import { WaybillError } from '../../schema/errors.ts';
import { openSealed, sealBytes } from './sealing.ts';
import { installationId, type TenantKeys } from './tenantKeys.ts';

/** What Temporal keeps of a payload: that it is encrypted, and under which key. A tenant is its id here, as in workflow ids. */
const encoding = 'binary/encrypted';
const encodingField = 'encoding';
const keyField = 'waybill-key';
const lengthBytes = 4;

/**
 * Encrypts what Temporal stores, with AES-256-GCM under the key of the tenant whose workflow it belongs to; what belongs to
 * none, under that of the installation. Decoding passes by what is not encrypted: workflows that began before payloads were,
 * go on. It throws integrity for a payload that was changed, or that belongs to another tenant than its workflow.
 */
export function createPayloadCodec(keys: TenantKeys): PayloadCodec {
  return {
    encode: (payloads, context) => encodePayloads(keys, ownerOf(context) ?? installationId, payloads),
    decode: async (payloads, context) => {
      const owner = ownerOf(context);
      return Promise.all(
        payloads.map((payload) => {
          const sealedFor = payloadOwner(payload);
          if (sealedFor === null) return payload;
          if (owner !== undefined && sealedFor !== owner && sealedFor !== installationId) throw foreign();
          return decodePayload(keys, payload);
        }),
      );
    },
  };
}

/** Encrypts payloads for a tenant. */
export async function encodePayloads(keys: TenantKeys, tenantId: string, payloads: Payload[]): Promise<Payload[]> {
  if (payloads.length === 0) return payloads;
  const key = await keys.newest(tenantId);
  const name = `${tenantId}/${key.version}`;
  return payloads.map((payload) => ({
    metadata: { [encodingField]: Buffer.from(encoding), [keyField]: Buffer.from(name) },
    data: sealBytes(key.derived('payload'), boundTo(name), pack(payload)),
  }));
}

/** Whose key an encrypted payload names; null for one that is not encrypted. */
export function payloadOwner({ metadata }: Payload): string | null {
  if (textOf(metadata?.[encodingField]) !== encoding) return null;
  return keyNameOf(metadata)?.tenantId ?? '';
}

/** Throws integrity when the payload was changed, or its key is not there. */
export async function decodePayload(keys: TenantKeys, { metadata, data }: Payload): Promise<Payload> {
  const name = keyNameOf(metadata);
  const key = name && (await keys.ofVersion(name.tenantId, name.version));
  const plain =
    key && openSealed(key.derived('payload'), boundTo(textOf(metadata?.[keyField])), data ?? new Uint8Array());
  if (plain === undefined) throw unreadable();
  return unpack(plain);
}

/** Workflow ids begin with the tenant: `<tenant>/<pipeline>/<run>`. Undefined without a workflow. */
function ownerOf(context: SerializationContext | undefined): string | undefined {
  if (context?.workflowId === undefined) return undefined;
  return /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\//.exec(context.workflowId)?.[1] ?? installationId;
}

function keyNameOf(metadata: Payload['metadata']): { tenantId: string; version: number } | undefined {
  const match = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\/([1-9][0-9]{0,8})$/.exec(textOf(metadata?.[keyField]));
  return match === null ? undefined : { tenantId: match[1]!, version: Number(match[2]) };
}

function textOf(bytes: Uint8Array | null | undefined): string {
  return bytes == null ? '' : Buffer.from(bytes).toString('utf8');
}

/** A payload does not open under another key's name. */
function boundTo(keyName: string): string {
  return `waybill/payload\n${keyName}`;
}

/** Length of the metadata, the metadata as JSON with its values in base64, the data. */
function pack({ metadata, data }: Payload): Buffer {
  const fields = Object.entries(metadata ?? {}).map(([name, value]) => [name, Buffer.from(value).toString('base64')]);
  const head = Buffer.from(JSON.stringify(Object.fromEntries(fields)), 'utf8');
  const length = Buffer.alloc(lengthBytes);
  length.writeUInt32BE(head.length);
  // A payload without data, of undefined, comes out of a workflow with an empty list there.
  return Buffer.concat([length, head, Buffer.from(data ?? [])]);
}

function unpack(plain: Buffer): Payload {
  const dataAt = lengthBytes + plain.readUInt32BE();
  const fields = JSON.parse(plain.subarray(lengthBytes, dataAt).toString('utf8')) as Record<string, string>;
  const metadata = Object.entries(fields).map(([name, value]) => [name, Buffer.from(value, 'base64')] as const);
  return { metadata: Object.fromEntries(metadata), data: plain.subarray(dataAt) };
}

function foreign(): WaybillError {
  return new WaybillError('integrity', 'a payload in Temporal belongs to another tenant than its workflow');
}

function unreadable(): WaybillError {
  const message = 'a payload in Temporal cannot be decrypted: it was changed, or the key of its tenant is gone';
  return new WaybillError('integrity', message);
}
