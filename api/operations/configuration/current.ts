import type { TenantTransaction } from '../../../prisma/contract.ts';

/** What is configured now, as far as a comparison needs it. */
export interface CurrentConfiguration {
  /** Removed pipelines too: their names and versions stay. */
  pipelines: Map<string, { id: string; hash: string; live: boolean }>;
  endpoints: Map<string, { id: string; contentHash: string; version: number }>;
  webhooks: Map<string, { id: string; contentHash: string; version: number }>;
  /** Stored secrets and the digests of their values. */
  secrets: Map<string, string>;
}

export async function readCurrent({ db }: TenantTransaction, tenantId: string): Promise<CurrentConfiguration> {
  const versioned = { id: true, name: true, contentHash: true, version: true } as const;
  const where = { tenantId };
  const pipelines = await db.pipeline.findMany({ where });
  const endpoints = await db.connectorEndpoint.findMany({ where, select: versioned });
  const webhooks = await db.webhook.findMany({ where, select: versioned });
  const secrets = await db.secret.findMany({ where, select: { name: true, digest: true } });
  return {
    pipelines: new Map(
      pipelines.map(({ id, name, liveVersionHash, removedAt }) => [
        name,
        { id, hash: liveVersionHash, live: removedAt === null },
      ]),
    ),
    endpoints: new Map(endpoints.map(({ name, ...row }) => [name, row])),
    webhooks: new Map(webhooks.map(({ name, ...row }) => [name, row])),
    secrets: new Map(secrets.map(({ name, digest }) => [name, digest])),
  };
}
