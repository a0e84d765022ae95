import type { Prisma } from '../../prisma/generated/client.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { Plan } from '../../schema/plan.ts';

/** Hexadecimal digits of a hash that name a version. */
const versionPattern = /^[0-9a-f]{8,64}$/;

/** What a run needs of a version. */
export interface StartedVersion {
  id: string;
  plan: Plan;
  publishedBy: string;
}

/**
 * The live version of a pipeline, or the one whose hash begins so. Throws not-found for a pipeline or a version that is not
 * there, invalid for a text that is no beginning of a hash, conflict when several versions begin so.
 */
export async function findVersion(
  db: Prisma.TransactionClient,
  tenantId: string,
  name: string,
  version: string | null,
): Promise<StartedVersion> {
  const pipeline = await db.pipeline.findFirst({ where: { tenantId, name, removedAt: null } });
  if (pipeline === null)
    throw new WaybillError('not-found', `there is no pipeline ${JSON.stringify(name)}`, { field: 'pipeline' });
  if (version !== null && !versionPattern.test(version))
    throw new WaybillError('invalid', 'a version is named by 8 to 64 hexadecimal digits of its hash', {
      field: 'version',
    });
  const found = await db.pipelineVersion.findMany({
    where: {
      tenantId,
      pipelineId: pipeline.id,
      hash: version === null ? pipeline.liveVersionHash : { startsWith: version },
    },
    take: 2,
    select: { id: true, plan: true, publishedBy: true },
  });
  const [only] = found;
  if (only === undefined)
    throw new WaybillError('not-found', `the pipeline ${name} has no version ${version}`, { field: 'version' });
  if (found.length > 1)
    throw new WaybillError('conflict', `several versions of ${name} begin with ${version}; give more digits`, {
      field: 'version',
    });
  return { ...only, plan: only.plan as unknown as Plan };
}
