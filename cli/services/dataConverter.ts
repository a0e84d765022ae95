import type { DataConverter } from '@temporalio/common';
import { createPayloadCodec } from '../../identity/keys/payloadCodec.ts';
import type { TenantKeys } from '../../identity/keys/tenantKeys.ts';
import { failureConverterPath } from './workflowBundles.ts';

/** How what goes to Temporal is encrypted: the same for clients and workers. */
export function encryptingConverter(tenantKeys: TenantKeys): DataConverter {
  return { failureConverterPath, payloadCodecs: [createPayloadCodec(tenantKeys)] };
}
