import type { Version } from '../../connectors/contract.ts';
import type { DeliveryRow } from '../../prisma/ledger.ts';

/** The source version that a delivery is of. */
export function versionOf({ sourceSize, sourceModified, sourceEtag }: DeliveryRow): Version {
  return { size: sourceSize, modified: sourceModified, ...(sourceEtag !== null && { etag: sourceEtag }) };
}

/** A found file as the version that a delivery is of from now on. */
export function asSourceVersion({
  size,
  modified,
  etag,
}: {
  size: number;
  modified: string | null;
  etag?: string | undefined;
}) {
  return { sourceSize: size, sourceModified: modified, sourceEtag: etag ?? null };
}
