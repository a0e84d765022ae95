import { createHash, randomBytes } from 'node:crypto';
import type { OnceRule } from './options.ts';

/** What makes two deliveries the same one. */
export interface DeliveryIdentity {
  tenantId: string;
  pipeline: string;
  sourceEndpoint: string;
  sourcePath: string;
  sourceSize: number;
  sourceModified: string | null;
  targetEndpoint: string;
  targetPath: string;
}

/**
 * The key under which a delivery is remembered, in hexadecimal. Step ids are not in it: renaming a step resends nothing.
 * `once: version` leaves the target path out. `once: off`, and a server that does not say when a file was modified, give
 * a key of its own to each delivery: size alone does not tell two versions apart, and a lost file is worse than a file twice.
 */
export function deliveryKey(identity: DeliveryIdentity, once: OnceRule): string {
  if (once === 'off' || identity.sourceModified === null) return randomBytes(32).toString('hex');
  const { tenantId, pipeline, sourceEndpoint, sourcePath, sourceSize, sourceModified } = identity;
  const source = [tenantId, pipeline, sourceEndpoint, sourcePath, sourceSize, sourceModified];
  const target = once === 'target' ? [identity.targetEndpoint, identity.targetPath] : [identity.targetEndpoint];
  return createHash('sha256')
    .update(JSON.stringify([...source, ...target]))
    .digest('hex');
}
