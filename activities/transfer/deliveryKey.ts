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
  sourceEtag: string | null;
  targetEndpoint: string;
  targetPath: string;
}

/**
 * The key under which a delivery is remembered, in hexadecimal. Step ids are not in it: renaming a step resends nothing.
 * `once: version` leaves the target path out. `once: off`, and a server that says neither when a file was modified nor
 * what its version is called, give a key of its own to each delivery: size alone does not tell two versions apart, and a
 * lost file is worse than a file twice. So does `once: content`, until the content is known (`contentKey`).
 */
export function deliveryKey(identity: DeliveryIdentity, once: OnceRule): string {
  const { sourceSize, sourceModified, sourceEtag, targetEndpoint, targetPath } = identity;
  const isKnown = sourceModified !== null || sourceEtag !== null;
  if (once === 'off' || once === 'content' || !isKnown) return randomBytes(32).toString('hex');
  // Only where there is one: the keys of other connectors stay as they are.
  const etag = sourceEtag === null ? [] : [{ etag: sourceEtag }];
  const target = once === 'target' ? [targetEndpoint, targetPath] : [targetEndpoint];
  return digest([...placeOf(identity), sourceSize, sourceModified, ...etag, ...target]);
}

/** The key with `once: content`: the SHA-256 (hexadecimal) stands for the version. */
export function contentKey(identity: DeliveryIdentity, sha256: string): string {
  return digest([...placeOf(identity), { sha256 }, identity.targetEndpoint, identity.targetPath]);
}

function placeOf({ tenantId, pipeline, sourceEndpoint, sourcePath }: DeliveryIdentity): string[] {
  return [tenantId, pipeline, sourceEndpoint, sourcePath];
}

function digest(parts: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}
